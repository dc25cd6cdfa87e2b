"""A plan times a sample for real, and says what the run would say of the collection."""

from jobs.commands.plan import plan
from tests.jobs import collection


def test_the_sample_is_answered_and_what_is_left_out_is_said(tmp_path, exemplar_folder):
    images = collection.write(tmp_path / "images", 10)
    (images / "notes.heic").write_bytes(b"x")
    planned = plan(collection.spec(str(images), exemplar_folder, str(tmp_path / "out"), model="dry-run:0.01"))
    assert (planned.images, planned.sampled) == (10, 10)
    assert planned.seconds_per_image >= 0.01
    assert planned.lines(3600)[-1] == "note      left out: 1 .heic file"
