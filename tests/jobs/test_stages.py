"""The two stages without Ray: patience with stores, and rows that travel."""

import numpy as np
import pyarrow as pa
import pytest

from jobs.flow import fetch, ledger, manifest, segment
from jobs.flow.fetch import Fetched
from jobs.flow.logbook import Logbook
from jobs.flow.progress import Progress, line
from jobs.flow.work import plan_work
from jobs.output.runs import RunSummary, duration, pace
from tlg import exemplars, store
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_model
from tlg.answers import records
from tlg.answers.records import Answer, ImageAnswers, Provenance
from tlg.errors import CredentialsError, StorageError
from tlg.pictures import Picture


def work_of(spec, tmp_path):
    """All images of a spec, nothing answered yet."""
    nothing = ledger.load(str(tmp_path / "none"), Provenance("m", "e", "p", "r"))
    return plan_work(
        manifest.listed(spec.images), nothing, ["fox", "hare"], str(tmp_path / "work"), store.DEFAULT_ACCESS
    )


class Down:
    """A row of work whose store does not answer, fetched at a time of day."""

    def __init__(self, monkeypatch, error):
        def unreachable(uri, access, max_bytes):
            raise error

        monkeypatch.setattr(store, "read", unreachable)

    def fetched(self, put_off_at=None, now=0.0, size=10, max_bytes=None):
        fetcher = fetch.Fetcher(None, store.DEFAULT_ACCESS, 10**6, max_bytes, lambda: now)
        row = {"position": 3, "uri": "s3://b/a.jpg", "etag": "1", "size": size, "labels": None}
        (one,) = fetcher._decoded([row | {"put_off_at": put_off_at}])
        return one


def test_an_unreachable_image_is_deferred_and_no_error(monkeypatch):
    one = Down(monkeypatch, StorageError("s3://b/a.jpg: connection refused", transient=True)).fetched()
    assert (one.deferred, one.error_type, one.position) == (True, "unreachable", 3)


def test_an_image_is_not_deferred_for_ever(monkeypatch):
    down = Down(monkeypatch, StorageError("http://gone/a.jpg: connection refused", transient=True))
    day = 24 * 3600.0
    nights = [down.fetched(put_off_at, now).deferred for put_off_at, now in [(None, 0.0), (0.0, day), (0.0, 2 * day)]]
    assert nights == [True, True, False]


def test_refused_credentials_are_no_property_of_an_image(monkeypatch):
    with pytest.raises(CredentialsError, match="ExpiredToken"):
        Down(monkeypatch, CredentialsError("s3://b/a.jpg: ExpiredToken", denied=True)).fetched()


def test_a_file_that_is_too_large_is_not_read(monkeypatch):
    one = Down(monkeypatch, AssertionError("read")).fetched(size=1001, max_bytes=1000)
    assert (one.error_type, one.deferred) == ("too_large", False)


def test_pixels_travel_unchanged():
    rng = np.random.default_rng(0)
    sent = [
        Fetched(number, f"{number}.jpg", None, None, Picture(rng.integers(0, 255, (h, w, 3), dtype=np.uint8), h * 2, w))
        for number, (h, w) in enumerate([(3, 5), (1, 1), (40, 7)])
    ]
    sent.insert(1, Fetched(9, "bad.jpg", "e", ["fox"], error_type="empty", error_message="0 bytes"))
    received = fetch.from_table(pa.concat_tables([fetch.to_table(sent[:2]), fetch.to_table(sent[2:])]))
    for one, other in zip(sent, received, strict=True):
        assert (one.position, one.uri, one.labels, one.error_type) == (
            other.position,
            other.uri,
            other.labels,
            other.error_type,
        )
        if one.picture:
            assert (one.picture.pixels == other.picture.pixels).all()
            assert (one.picture.height, one.picture.width) == (other.picture.height, other.picture.width)


def test_columnar_rows_equal_single_rows():
    mask = np.eye(6, dtype=bool)
    answers = [records.answer_from_mask("fox", 1, mask, 0.9, 0.8, 0.5), Answer("hare", 2, "absent", 0.1, 0.2, 6, 6)]
    provenance = Provenance("m", "e", "p", "r")
    rows = [records.to_row(one, "a.jpg", "tag", provenance) for one in answers]
    rows.append(records.error_row("b.jpg", None, "empty", "0 bytes", provenance))
    images = [ImageAnswers("a.jpg", "tag", answers), ImageAnswers("b.jpg", None, (), "empty", "0 bytes")]
    assert records.to_table(images, provenance).equals(pa.Table.from_pylist(rows, schema=records.SCHEMA))


def test_eta_follows_the_images_of_the_last_minutes():
    now = [0.0]
    summary = RunSummary("r", "job", "out", images=1000)
    progress = Progress(summary, clock=lambda: now[0])
    for second in range(1, 301):
        now[0] = float(second)
        progress.update(second if second <= 150 else 150 + (second - 150) * 4)
    assert summary.images_per_second == pytest.approx(4.0, rel=0.05)
    assert summary.seconds_left == pytest.approx((1000 - 750) / 4, rel=0.05)
    assert "750 / 1,000 images" in line(summary, 750)


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (600, "10 min"), (12000, "3 h 20 min")])
def test_durations_read_like_speech(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("rate", "text"), [(1234.56, "1,234.6/s"), (0.2, "0.2/s"), (1 / 28, "2.1/min")])
def test_a_slow_pace_does_not_read_as_nothing(rate, text):
    assert pace(rate) == text


def test_all_rows_of_an_image_lie_in_one_table_however_many_classes():
    """512 images of 320 classes are more than Ray hands on whole: it would cut the table inside an image."""
    columns = {"position": np.repeat(np.arange(512), 320), "text": ["x" * 300] * (512 * 320)}
    whole = pa.table(columns)
    assert whole.nbytes > 48 * 2**20
    parts = list(segment.cut_between_images(whole, segment.TABLE_BYTES))
    assert len(parts) > 1
    assert max(part.nbytes for part in parts) <= segment.TABLE_BYTES
    assert pa.concat_tables(parts).equals(whole)
    seen = [set(part["position"].to_pylist()) for part in parts]
    assert sum(map(len, seen)) == 512


def test_an_image_larger_than_a_table_stays_whole():
    parts = list(segment.cut_between_images(pa.table({"position": [1, 1, 2, 2, 3]}), 1))
    assert [part["position"].to_pylist() for part in parts] == [[1, 1], [2, 2], [3]]
    assert [len(part) for part in segment.cut_between_images(pa.table({"position": pa.array([], pa.int64())}), 1)] == [
        0
    ]


def test_quick_pictures_share_a_note_and_slow_ones_do_not(exemplar_folder, monkeypatch):
    noted = []

    class Book(Logbook):
        def take_on(self, stage, positions):
            noted.append(len(positions))
            return super().take_on(stage, positions)

    def worker():
        loaded = exemplars.load(str(exemplar_folder))
        model = load_model("dry-run", "cpu")
        return segment.Segmenter(
            model, loaded, AnnotateParams(), Provenance("m", "e", "p", "r"), batch_size=2, notes=Book()
        )

    shown = Picture(np.zeros((4, 4, 3), np.uint8), 4, 4)
    table = fetch.to_table([Fetched(place, f"{place}.jpg", None, None, shown) for place in range(12)])
    monkeypatch.setattr(segment, "NOTED_SECONDS", 1e9)
    monkeypatch.setattr(segment, "NOTED_IMAGES", 8)
    answers = list(worker()(table))
    assert noted == [2, 8, 2]
    assert {row["position"] for part in answers for row in part.to_pylist()} == set(range(12))
    noted.clear()
    monkeypatch.setattr(segment, "NOTED_SECONDS", 0.0)
    list(worker()(table))
    assert noted == [2] * 6
