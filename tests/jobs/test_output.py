"""What a run leaves behind: complete or made again, untouched where nothing changed, and nothing of the dead."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools.coco import COCO

import tlg
from jobs import annotate as job
from jobs import receiver
from jobs.commands import prune, status
from jobs.flow import execution, pipeline
from jobs.flow.logbook import Logbook
from jobs.flow.progress import Progress
from jobs.flow.segment import Worker
from jobs.output import catalogue, exports, index, leftovers, runs, shards
from jobs.output.formats import coco
from jobs.output.lease import Lease
from jobs.output.writer import ShardWriter
from tests.jobs import collection
from tlg import store
from tlg.annotators.registry import load_model
from tlg.answers import records
from tlg.answers.records import ImageAnswers, Provenance
from tlg.errors import ClusterError, EmptyCollectionError, LeaseHeldError, SpecError, StorageError


class InThisProcess:
    """The stages run here: what is tested does not depend on where they run."""

    def __init__(self, spec, *_):
        self.spec = spec

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def expect(self, count):
        pass

    def prepare(self):
        pass

    def introduce(self, stages):
        self.stages = stages

    def executor(self, work):
        return self

    def receipts(self, work, units):
        model = load_model(self.spec.model, self.spec.workers.device)
        fetcher = self.stages.fetcher(work, Logbook())
        worker = Worker(notes=Logbook(), model=model, **self.stages.worker_arguments())
        for start, count in units:
            for table in fetcher.fetch(int(start), int(count)):
                yield from worker(table)

    def call(self, action, *arguments):
        return action(*arguments)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(job, "Execution", InThisProcess)


@pytest.fixture
def images(tmp_path):
    return collection.write(tmp_path / "images", 8)


@pytest.fixture
def spec(images, exemplar_folder, tmp_path):
    output = {"uri": str(tmp_path / "out"), "formats": ["parquet", "coco", "label_studio", "overlay"]}
    return collection.spec(str(images), exemplar_folder, output["uri"], output=output)


def changed(spec, group, **values):
    return spec.model_copy(update={group: getattr(spec, group).model_copy(update=values)})


def contents(out, *folders):
    """Every file of some folders with its time of change: untouched means untouched."""
    paths = [path for folder in folders for path in (Path(out) / folder).rglob("*") if path.is_file()]
    return {str(path): path.stat().st_mtime_ns for path in paths}


def coco_file(out):
    return json.loads((Path(out) / "coco" / "instances.json").read_text())


MADE = ["coco", "label_studio", "overlay", "report"]


@pytest.mark.parametrize("name", MADE)
def test_outputs_of_a_killed_run_are_made_again(spec, images, monkeypatch, name):
    """The second night commits and dies while it writes; the third finds nothing to do, and mends."""
    job.annotate(spec)
    (images / "new.png").write_bytes(collection.picture(99))
    upload, write = store.upload, store.write

    def dies(uri):
        if f"/{name}/" in uri:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "upload", lambda file, uri, *rest: dies(uri) or upload(file, uri, *rest))
        patch.setattr(store, "write", lambda uri, *rest: dies(uri) or write(uri, *rest))
        with pytest.raises(KeyboardInterrupt):
            job.annotate(spec)
    assert job.annotate(spec).images == 0
    assert len(coco_file(spec.output.uri)["images"]) == 9
    assert "<b>9</b>images answered" in (Path(spec.output.uri) / "report" / "index.html").read_text()
    tasks = json.loads((Path(spec.output.uri) / "label_studio" / "tasks.json").read_text())
    assert len(tasks) == 9
    assert len(list((Path(spec.output.uri) / "overlay").glob("*.png"))) == 9


def test_a_run_with_nothing_to_do_writes_no_output_again(spec):
    job.annotate(spec)
    before = contents(spec.output.uri, *MADE, "quarantine", "annotations", "_index", "_outputs")
    assert before
    job.annotate(spec)
    assert contents(spec.output.uri, *MADE, "quarantine", "annotations", "_index", "_outputs") == before


def test_what_is_asked_differently_is_written_without_new_images(spec):
    job.annotate(changed(spec, "output", formats=["parquet"]))
    out = Path(spec.output.uri)
    assert not (out / "coco").exists()
    job.annotate(spec)
    assert isinstance(coco_file(out)["annotations"][0]["segmentation"], dict)
    job.annotate(changed(spec, "output", masks="polygon"))
    assert isinstance(coco_file(out)["annotations"][0]["segmentation"], list)
    before = (out / "report" / "index.html").read_text()
    job.annotate(changed(spec, "run", price_per_hour=3.0))
    assert "cost" in (out / "report" / "index.html").read_text() != before


def test_only_what_changed_is_written_again(spec, images, monkeypatch):
    """Beyond one file's worth of images, a night's answers make a file of their own and leave the others alone."""
    monkeypatch.setattr(coco, "IMAGES_PER_FILE", 4)
    monkeypatch.setattr(receiver, "ROWS_PER_COMMIT", 8)
    for number in range(20, 40):
        (images / f"{number}.png").write_bytes(collection.picture(number))
    job.annotate(spec)
    out = Path(spec.output.uri)
    before = contents(out, "coco")
    (images / "new.png").write_bytes(collection.picture(99))
    job.annotate(spec)
    after = contents(out, "coco")
    assert len(before.items() & after.items()) >= len(before) - 1
    documents = [COCO(file) for file in after]
    names = [image["file_name"] for document in documents for image in document.imgs.values()]
    assert sorted(names) == sorted({*names}) == sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))
    (images / "0" / "0000.png").write_bytes(collection.picture(100))
    job.annotate(spec)
    names = [image["file_name"] for file in contents(out, "coco") for image in COCO(file).imgs.values()]
    assert sorted(names) == sorted({*names})
    assert len(names) == 29


def test_many_nights_do_not_leave_many_files(spec, images, monkeypatch):
    monkeypatch.setattr(coco, "IMAGES_PER_FILE", 8)
    spec = changed(spec, "output", formats=["coco"])
    for night in range(16):
        (images / f"night{night}.png").write_bytes(collection.picture(200 + night))
        job.annotate(spec)
    files = contents(spec.output.uri, "coco")
    assert sum(len(COCO(file).imgs) for file in files) == 24
    assert len(files) <= 6


def test_a_night_reads_indexes_and_not_the_answers(tmp_path, exemplar_folder, monkeypatch):
    """The bytes read grow with what is new; the masks of former nights stay where they are."""
    images = collection.write(tmp_path / "images", 4)
    out = str(tmp_path / "out")
    spec = collection.spec(str(images), exemplar_folder, out)
    job.annotate(spec)
    rng = np.random.default_rng(0)
    with Lease(out, "filling") as lease:
        writer = ShardWriter(catalogue.load(out), lease)
        for part in range(5):
            filling = [
                ImageAnswers(f"/elsewhere/{part}-{number}.jpg", "1", [noisy(rng, class_id) for class_id in (1, 2)])
                for number in range(400)
            ]
            writer.commit(records.to_table(filling, Provenance("m", "e", "p", "filling")))
    monkeypatch.setattr(coco, "IMAGES_PER_FILE", 500)
    job.annotate(spec)
    (images / "new.png").write_bytes(collection.picture(99))
    size = sum(shard.size for shard in shards.committed(out))
    seen = watch_reads(monkeypatch)
    job.annotate(spec)
    of_output = {uri: count for uri, count in seen.items() if uri.startswith(out)}
    assert sum(of_output.values()) < 0.1 * size


def noisy(rng, class_id):
    return records.answer_from_mask(("fox", "hare")[class_id - 1], class_id, rng.random((40, 40)) < 0.5, 0.9, 0.9, 0.5)


def watch_reads(monkeypatch):
    """uri -> bytes read, by any way into the store."""
    seen: dict[str, int] = {}
    read, open_input = store.read, store.open_input

    def count(uri, number):
        seen[uri] = seen.get(uri, 0) + number

    class Counted:
        def __init__(self, uri, file):
            self._uri, self._file = uri, file

        def read(self, *given):
            content = self._file.read(*given)
            count(self._uri, len(content))
            return content

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

    def counted_read(uri, *given):
        content = read(uri, *given)
        count(uri, len(content))
        return content

    monkeypatch.setattr(store, "read", counted_read)
    monkeypatch.setattr(store, "open_input", lambda uri, *given: Counted(uri, open_input(uri, *given)))
    return seen


def test_outputs_of_older_versions_have_no_index_and_get_one(spec, images):
    job.annotate(spec)
    before = collection.answers(spec.output.uri)
    for folder in ("_index", "_outputs"):
        store.delete_folder(f"{spec.output.uri}/{folder}")
    assert any("8 images answered" in line for line in status.status(spec.output.uri))
    assert not (Path(spec.output.uri) / "_index").exists()
    assert job.annotate(spec).images == 0
    assert collection.answers(spec.output.uri).equals(before)
    assert len(list((Path(spec.output.uri) / "_index").glob("part-*.parquet"))) == len(
        shards.committed(spec.output.uri)
    )


@pytest.mark.parametrize("harm", ["cut", "of another shard"])
def test_an_index_that_does_not_fit_is_made_again(spec, images, harm):
    job.annotate(spec)
    uri = index.index_uri(spec.output.uri, 1)
    good = store.read(uri)
    store.write(uri, good[:100] if harm == "cut" else good)
    if harm != "cut":
        (shard,) = shards.committed(spec.output.uri)
        rest = shards.read(shard, None).slice(0, 4)
        store.write(shard.uri, shards.encode(rest))
    (found,) = catalogue.load(spec.output.uri).shards
    assert len(found.numbers) == (8 if harm == "cut" else 2)


def test_an_index_says_what_its_shard_says(spec, images):
    (images / "bad.png").write_bytes(b"no picture")
    job.annotate(changed(spec, "run", max_error_rate=1.0))
    read = catalogue.load(spec.output.uri).shards
    store.delete_folder(f"{spec.output.uri}/_index")
    built = catalogue.load(spec.output.uri).shards
    for one, other in zip(read, built, strict=True):
        assert (one.shard, one.rows, one.origins, one.error_types, one.classes) == (
            (other.shard, other.rows, other.origins, other.error_types, other.classes)
        )
        for name in ("numbers", "answers", "masks", "absent", "error_type", "origin"):
            assert (getattr(one, name) == getattr(other, name)).all()
    assert sum(one.rows for one in read) == 8 * 2 + 1


# --- receipts on their way


def cut_anywhere(table, rng):
    while len(table):
        count = int(rng.integers(1, 4))
        yield table.slice(0, count)
        table = table.slice(count)


def in_pieces(receipts, repeated=False):
    """The tables of `receipts` cut anywhere and shuffled; where that is asked, of two attempts at each task."""
    rng = np.random.default_rng(0)

    def shuffled(*given):
        tables = [*receipts(*given), *(receipts(*given) if repeated else ())]
        pieces = [piece for table in tables for piece in cut_anywhere(table, rng)]
        yield from [pieces[place] for place in rng.permutation(len(pieces))]
        if repeated:
            yield from tables

    return shuffled


def test_an_image_counts_once_however_its_receipts_come(spec, monkeypatch):
    calm = job.annotate(spec)
    expected = collection.answers(spec.output.uri)
    monkeypatch.setattr(receiver, "FIRST_COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(receiver, "COMMIT_GROWTH", 1.0)
    monkeypatch.setattr(InThisProcess, "receipts", in_pieces(InThisProcess.receipts, repeated=True))
    out = f"{spec.output.uri}-pieces"
    summary = job.annotate(changed(spec, "output", uri=out))
    assert (summary.done, summary.rows, summary.masks) == (calm.done, calm.rows, calm.masks)
    assert collection.answers(out).equals(expected)


def test_what_was_written_aside_and_not_told_is_asked_again(spec, monkeypatch):
    whole, rounds = InThisProcess.receipts, []

    def first_loses_rows(*given):
        rounds.append(len(given[2]))
        for table in whole(*given):
            yield table.slice(0, len(table) - 1) if len(rounds) == 1 else table

    monkeypatch.setattr(InThisProcess, "receipts", first_loses_rows)
    assert job.annotate(spec).done == 8
    assert len(rounds) == 2
    assert len(collection.answers(spec.output.uri)) == 16


# --- what belongs to whom


def test_work_of_a_living_run_is_left_alone(spec, tmp_path):
    """A holder that slept wakes up and finds itself replaced before it removes anything."""
    out = spec.output.uri
    sleeper = Lease(out, "sleeper").__enter__()
    store.write(leftovers.work_folder(out, 2) + "/000000.parquet", b"of the new holder")
    store.create(f"{out}/_lease/00000002.json", sleeper._content())
    run = job._Job(spec, None, store.DEFAULT_ACCESS, runs.begin(spec, "sleeper"), None, None)
    with pytest.raises(LeaseHeldError):
        run.run(sleeper, False, False)
    assert store.exists(leftovers.work_folder(out, 2) + "/000000.parquet")
    leftovers.remove_older_work(out, 1, store.DEFAULT_ACCESS)
    assert store.exists(leftovers.work_folder(out, 2) + "/000000.parquet")
    sleeper.__exit__()


def test_what_the_dead_left_goes(spec):
    """A full disk's temporaries, work of killed runs in every version's naming, a record that says `running`."""
    job.annotate(spec)
    out = Path(spec.output.uri)
    left = [
        out / "annotations" / f".part-00000009.parquet.{'a' * 32}",
        out / "_work" / "20200101T000000Z" / "0.parquet",
    ]
    left += [out / "runs" / f".x.json.{'b' * 32}", out / "_work" / "00000001" / "0.parquet"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left")
    record = runs.recorded(str(out), last=1)[0] | {"run_id": "killed", "state": "running"}
    (out / "runs" / "0killed.json").write_text(json.dumps(record | {"run_id": "0killed"}))
    summary = job.annotate(spec)
    assert not any(path.exists() for path in left)
    assert not (out / "_work").exists()
    closed = json.loads((out / "runs" / "0killed.json").read_text())
    assert (closed["state"], summary.run_id in closed["message"]) == ("failed", True)


# --- damaged and foreign files


@pytest.mark.parametrize("harm", ["cut", "empty", "a column less", "flipped"])
def test_a_damaged_shard_is_named_with_its_way_out(spec, tmp_path, harm):
    job.annotate(spec)
    (shard,) = shards.committed(spec.output.uri)
    content = store.read(shard.uri)
    if harm == "a column less":
        pq.write_table(pq.read_table(shard.uri).drop_columns(["image_etag", "score"]), shard.uri)
    else:
        middle = 200
        flipped = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
        store.write(shard.uri, {"cut": content[:-20], "empty": b"", "flipped": flipped}[harm])
    with pytest.raises(StorageError, match=r"part-00000001\.parquet: damaged or not a shard.*run the job again"):
        exports.export(spec.output.uri, "coco", str(tmp_path / "e"))
    store.delete(shard.uri)
    assert job.annotate(spec).done == 8


def test_foreign_files_are_ignored_with_a_word(spec, caplog):
    job.annotate(spec)
    out = Path(spec.output.uri)
    (out / "annotations" / "part-00000001 (copy).parquet").write_bytes(b"a copy")
    (out / "_lease" / "notes.json").write_text("notes")
    (out / "runs" / "0-cut.json").write_text('{"run_id": ')
    with caplog.at_level(logging.WARNING):
        assert job.annotate(spec).images == 0
        assert any("8 images answered" in line for line in status.status(str(out)))
    assert "part-00000001 (copy).parquet" in caplog.text
    assert "0-cut.json" in caplog.text


# --- classes, exports


def test_no_category_id_has_two_names(spec, images, exemplar_folder, tmp_path):
    """An answered image leaves the collection, then a class gets another name: its old rows stay."""
    folder = tmp_path / "set"
    for name in ("fox", "hare"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.png").write_bytes((exemplar_folder / name / "1.png").read_bytes())
    spec = spec.model_copy(update={"exemplars": str(folder)})
    job.annotate(spec)
    (images / "0" / "0000.png").unlink()
    (folder / "fox").rename(folder / "bear")
    job.annotate(spec)
    categories = coco_file(spec.output.uri)["categories"]
    assert {one["name"] for one in categories} == {"bear", "hare", "fox"}
    assert len({one["id"] for one in categories}) == 3
    rows = collection.answers(spec.output.uri).to_pylist()
    document = COCO(str(Path(spec.output.uri) / "coco" / "instances.json"))
    for row in rows:
        if row["status"] == "mask":
            of_image = [one for one in document.imgs.values() if one["coco_url"] == row["image_uri"]]
            (annotation,) = document.imgToAnns[of_image[0]["id"]]
            assert document.cats[annotation["category_id"]]["name"] == row["class_name"]
    assert "bear" in (Path(spec.output.uri) / "report" / "index.html").read_text()


def test_answers_of_images_that_left_are_counted_left_out_and_pruned(spec, images, tmp_path):
    (images / "bad.png").write_bytes(b"no picture")
    spec = changed(spec, "run", max_error_rate=1.0)
    job.annotate(spec)
    out = spec.output.uri
    (images / "0" / "0000.png").unlink()
    (images / "bad.png").unlink()
    assert job.annotate(spec).departed == 2
    assert any("2 of them have left the collection" in line for line in status.status(out))
    exports.export(out, "coco", str(tmp_path / "e"), listed_only=True)
    assert len(COCO(str(tmp_path / "e" / "coco" / "instances.json")).imgs) == 7
    before = collection.answers(out)
    lines = list(prune.prune(out, remove=False))
    assert lines[0].startswith("2 of 9 answered images")
    assert any("0000.png" in line for line in lines)
    assert collection.answers(out).equals(before)
    assert "2 images removed (3 rows)" in next(prune.prune(out, remove=True))
    assert len(collection.answers(out)) == 14
    assert not (Path(out) / "quarantine" / "errors.parquet").exists()
    assert job.annotate(spec).images == 0
    assert len(coco_file(out)["images"]) == 7
    assert not any("left the collection" in line for line in status.status(out))


def test_a_collection_that_seems_empty_prunes_nothing(spec, images):
    job.annotate(spec)
    with pytest.raises(EmptyCollectionError, match="no images: found 8 files that do not match"):
        job.annotate(changed(spec, "images", pattern="nothing/*"))
    list(prune.prune(spec.output.uri, remove=True))
    assert len(collection.answers(spec.output.uri)) == 16


@pytest.mark.parametrize("place", ["annotations", "annotations/below", "_index", "quarantine", "runs"])
def test_an_export_never_writes_where_the_output_keeps_its_own(spec, place):
    job.annotate(spec)
    before = collection.answers(spec.output.uri)
    with pytest.raises(SpecError, match="the output keeps its own files there"):
        exports.export(spec.output.uri, "parquet", f"{spec.output.uri}/{place}")
    assert collection.answers(spec.output.uri).equals(before)


def test_an_export_never_writes_into_the_answers_of_another_output(spec, tmp_path):
    job.annotate(spec)
    other = str(tmp_path / "other")
    job.annotate(changed(spec, "output", uri=other))
    with pytest.raises(SpecError, match="lies in the output of a job"):
        exports.export(spec.output.uri, "parquet", f"{other}/annotations")


def test_a_smaller_parquet_export_leaves_nothing_of_a_larger_one(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(receiver, "ROWS_PER_COMMIT", 1)
    job.annotate(spec)
    to = tmp_path / "e"
    assert len(exports.export(spec.output.uri, "parquet", str(to)).uris) == 1
    (to / "part-00000002.parquet").write_bytes(b"of an earlier export")
    (to / "mine.parquet").write_bytes(b"a user's own")
    exported = exports.export(spec.output.uri, "parquet", str(to))
    assert exported.remark == "masks only: 8 absent and 0 error rows are left out"
    assert sorted(path.name for path in to.iterdir()) == ["mine.parquet", "part-00000001.parquet"]


def test_what_an_export_cannot_mean_is_refused(spec, tmp_path):
    job.annotate(spec)
    with pytest.raises(SpecError, match="--class nope: no answer is of this class; there are fox, hare"):
        exports.export(spec.output.uri, "coco", str(tmp_path / "e"), chosen=exports.Filter(classes=("nope",)))
    with pytest.raises(SpecError, match="--min-score 2: scores lie between 0 and 1"):
        exports.Filter(min_score=2.0)


def test_an_export_into_the_output_itself_is_made_whole_by_the_next_run(spec):
    job.annotate(spec)
    exports.export(spec.output.uri, "coco", spec.output.uri, chosen=exports.Filter(classes=("hare",)))
    assert len(coco_file(spec.output.uri)["categories"]) == 1
    job.annotate(spec)
    assert len(coco_file(spec.output.uri)["categories"]) == 2


def test_nothing_failed_is_not_everything_answered(spec, images):
    job.annotate(spec)
    (images / "new.png").write_bytes(collection.picture(99))
    assert "none has failed" in runs.ending(job.annotate(spec, only_failed=True))
    assert "nothing to do" not in runs.ending(job.annotate(spec))


def test_no_time_is_promised_before_a_rate_was_seen():
    """The first answers come in one go, after half a minute of start-up: what follows from them is nonsense."""
    now = [0.0]
    summary = runs.RunSummary("r", "job", "out", images=100)
    progress = Progress(summary, io.StringIO(), clock=lambda: now[0])
    now[0] = 40.0
    progress.update(1)
    progress.update(8)
    assert (summary.seconds_left, summary.images_per_second) == (None, 0.0)
    now[0] = 50.0
    progress.update(21)
    assert summary.seconds_left == pytest.approx(79 / 2)


def test_a_missing_spec_file_is_a_mistake_in_the_call(tmp_path):
    command = [sys.executable, "-m", "jobs.annotate", str(tmp_path / "none.yaml")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, "none.yaml: there is no such spec file" in ended.stderr) == (2, True)


def lost_in_ray(*_):
    """An error as Ray raises it where it is not there any more: from inside of it, of no type of its own."""
    import ray

    ray.remote(5)
    yield


def on_ray(monkeypatch, receipts):
    """A job that asks for Ray, which is not started."""
    monkeypatch.setattr(job, "Execution", execution.Execution)
    monkeypatch.setattr(execution, "fits_here", lambda *_: False)
    monkeypatch.setattr(pipeline, "ray_session", lambda *_: pipeline.losses_explained())
    monkeypatch.setattr(pipeline, "receipts", receipts)


def test_a_lost_ray_is_an_error_of_the_cluster_and_closes_the_record(spec, monkeypatch):
    on_ray(monkeypatch, lost_in_ray)
    with pytest.raises(ClusterError, match=r"the pipeline stopped: .*what is committed stays, run again") as caught:
        job.annotate(spec)
    assert caught.value.exit_code == 8
    assert runs.recorded(spec.output.uri)[0]["state"] == "failed"


def test_a_defect_of_our_own_is_no_lost_ray(spec, monkeypatch):
    on_ray(monkeypatch, lambda *_: [][0])
    with pytest.raises(IndexError):
        job.annotate(spec)


def test_the_entrypoint_imports_no_command_line():
    script = "import jobs.annotate, sys; print([name for name in sys.modules if name.split('.')[0] == 'typer'"
    script += " or name.startswith(('tlg.cli', 'jobs.commands'))])"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


# --- objects


def two_discs(seed):
    """Two bright discs that do not touch."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :60]
    pixels = rng.integers(0, 40, (40, 60, 3), dtype=np.uint8)
    for x in (15, 44):
        pixels[(rows - 20) ** 2 + (columns - x) ** 2 < 90] += 150
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def discs(tmp_path):
    folder = tmp_path / "discs"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.png").write_bytes(two_discs(number))
    return folder


def asks_for_objects(spec, discs):
    return changed(changed(spec, "images", uri=str(discs)), "output", objects=True)


def test_objects_have_rows_and_annotations_of_their_own_and_count_once(spec, discs):
    spec = asks_for_objects(spec, discs)
    summary = job.annotate(spec)
    assert (summary.done, summary.masks, summary.absent, summary.rows) == (6, 6, 6, 24)
    rows = collection.answers(spec.output.uri).to_pylist()
    assert [row["part"] for row in rows[:4]] == [None, 1, 2, None]
    assert sum(row["area"] for row in rows[1:3]) == rows[0]["area"]
    assert any("6 images answered: 6 masks, 6 absent" in line for line in status.status(spec.output.uri))
    annotations = coco_file(spec.output.uri)["annotations"]
    assert len(annotations) == len({one["id"] for one in annotations}) == 12
    tasks = json.loads((Path(spec.output.uri) / "label_studio" / "tasks.json").read_text())
    regions = [region["id"] for task in tasks for region in task["predictions"][0]["result"]]
    assert len(regions) == len(set(regions)) == 12
    assert job.annotate(spec).images == 0
    (first, *_) = tlg.read_answers(spec.output.uri)
    assert [len(answer.parts) for answer in first] == [2, 0]
    assert job.annotate(changed(spec, "output", objects=False)).images == 6


def test_objects_arrive_whole_however_their_receipts_come(spec, discs, monkeypatch):
    spec = asks_for_objects(spec, discs)
    job.annotate(spec)
    expected = collection.answers(spec.output.uri)
    monkeypatch.setattr(InThisProcess, "receipts", in_pieces(InThisProcess.receipts))
    out = f"{spec.output.uri}-pieces"
    job.annotate(changed(spec, "output", uri=out))
    assert collection.answers(out).sort_by(ROW_ORDER).equals(expected.sort_by(ROW_ORDER))


ROW_ORDER = [("image_uri", "ascending"), ("class_id", "ascending"), ("part", "ascending")]


def test_answers_of_a_version_that_knew_no_parts_are_read_and_stay(spec, tmp_path):
    job.annotate(spec)
    (shard,) = shards.committed(spec.output.uri)
    pq.write_table(pq.read_table(shard.uri).drop_columns(["part"]), shard.uri)
    store.delete_folder(f"{spec.output.uri}/_index")
    before = Path(shard.uri).read_bytes()
    assert job.annotate(spec).images == 0
    assert Path(shard.uri).read_bytes() == before
    assert len(list(tlg.read_answers(spec.output.uri))) == 8
    exports.export(spec.output.uri, "parquet", str(tmp_path / "e"))
    assert pq.read_table(tmp_path / "e")["part"].null_count == 8
    assert len(coco_file(spec.output.uri)["annotations"]) == 8


def test_a_threshold_leaves_out_objects_one_by_one_and_with_their_class(spec, discs, tmp_path):
    spec = asks_for_objects(spec, discs)
    job.annotate(spec)
    (shard,) = shards.committed(spec.output.uri)
    rows = shards.read(shard, None).to_pylist()
    scores = {(1, None): 0.9, (1, 1): 0.8, (1, 2): 0.6}
    for row in rows:
        row["score"] = scores.get((row["class_id"], row["part"]), 0.1)
    store.write(shard.uri, shards.encode(pa.Table.from_pylist(rows, schema=records.SCHEMA)))
    for min_score, count in ((0.5, 12), (0.7, 6), (0.85, 0), (0.95, 0)):
        exports.export(spec.output.uri, "coco", str(tmp_path), chosen=exports.Filter(min_score))
        assert len(coco_file(tmp_path)["annotations"]) == count
