"""Archives as tools write them."""

import io
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def picture(number: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (12, 16, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def pictures(count=6, folder="a"):
    return {f"{folder}/{number}.png": picture(number) for number in range(count)}


class Unseekable(io.RawIOBase):
    """What a zip is written to as a stream: sizes follow the members."""

    def __init__(self, stream):
        self.stream = stream

    def writable(self):
        return True

    def write(self, content):
        return self.stream.write(content)


def zipped(files, method=zipfile.ZIP_DEFLATED, streamed=False) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(Unseekable(stream) if streamed else stream, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files, form=tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def as_parquet(files, column="image", rows_in_group=4, plain=False) -> bytes:
    """As `datasets` writes it: structs of bytes and path; or `plain` bytes."""
    kind = pa.binary() if plain else pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = [content if plain else {"bytes": content, "path": name} for name, content in files.items()]
    table = pa.table({"label": list(range(len(files))), column: pa.array(values, kind)})
    stream = io.BytesIO()
    pq.write_table(table, stream, row_group_size=rows_in_group)
    return stream.getvalue()
