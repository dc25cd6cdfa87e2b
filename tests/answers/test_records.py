"""Encode then decode is the identity; rows fit the schema."""

import numpy as np
import pyarrow as pa

from tlg.answers import records


def test_rle_round_trip():
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (7, 3), (64, 48)):
        mask = rng.random(shape) > 0.5
        assert (records.decode_mask(records.encode_mask(mask)) == mask).all()


def test_answer_row_fits_schema():
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:7] = True
    answer = records.answer_from_mask("fox", 1, mask, 0.9, 0.8, 0.5)
    provenance = records.Provenance("m", "e", "p", "r")
    rows = [
        records.to_row(answer, "a.jpg", "tag", provenance),
        records.error_row("b.jpg", None, "empty", "0 bytes", provenance),
    ]
    table = pa.Table.from_pylist(rows, schema=records.SCHEMA)
    assert table["bbox"][0].as_py() == [3, 2, 4, 2]
    assert table["area"][0].as_py() == 8
    assert table["status"].to_pylist() == ["mask", "error"]


def test_low_score_or_empty_mask_is_absent():
    mask = np.ones((2, 2), bool)
    assert records.answer_from_mask("fox", 1, mask, 0.4, 0.4, 0.5).status == "absent"
    assert records.answer_from_mask("fox", 1, ~mask, 0.9, 0.9, 0.5).status == "absent"
