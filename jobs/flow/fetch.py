"""The first stage, on CPUs: a unit of work -> bytes -> pixels, or a row that says why not.

A store that fails for a while is asked again (tlg/store/retry.py); an image that still cannot be had is `deferred`,
which is no answer: the next run tries it again, until it has been put off for too long. What the store or the decoder
says for certain is an error row at once; credentials that are refused end the run.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa

from jobs.flow import logbook
from jobs.flow.logbook import Logbook, Notes
from jobs.flow.work import Work
from tlg import pictures as images
from tlg import store
from tlg.errors import CredentialsError, InputError, StorageError
from tlg.store.archives import Place

PIXEL_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("height", pa.int32()),  # of the image itself
        ("width", pa.int32()),
        ("pixels_height", pa.int32()),  # of the pixels, scaled down where the image is very large
        ("pixels_width", pa.int32()),
        ("pixels", pa.large_binary()),
        ("error_type", pa.string()),
        ("error_message", pa.string()),
        ("deferred", pa.bool_()),
        ("fetch_seconds", pa.float32()),
        ("decode_seconds", pa.float32()),
    ]
)
# A table of decoded images goes on to the model when it is this large.
TABLE_BYTES = 24 * 2**20
TABLE_IMAGES = 512
# Downloads run ahead of decoding by this much.
AHEAD_IMAGES = 32
AHEAD_BYTES = 64 * 2**20
DOWNLOAD_THREADS = 16
# Small images are decoded together until they are so many or so large.
TOGETHER_IMAGES = 32
TOGETHER_BYTES = 64 * 2**10
# An image that could not be had by runs of so long a time becomes an error: the third night's.
LONGEST_PUT_OFF_SECONDS = 36 * 3600.0
STAGE = "fetch"
NO_MEMORY = "too_large", "decoding needs more memory than the worker has"


@dataclass
class Fetched:
    """One image on its way: pixels, or an error, or deferred."""

    position: int
    uri: str
    etag: str | None
    labels: list[str] | None
    picture: images.Picture | None = None
    error_type: str | None = None
    error_message: str | None = None
    deferred: bool = False
    fetch_seconds: float = 0.0
    decode_seconds: float = 0.0


@dataclass(frozen=True)
class Fetcher:
    """Turns units of work into tables of PIXEL_SCHEMA."""

    work: Work
    access: store.Access
    max_pixels: int
    max_bytes: int | None = None
    clock: Callable[[], float] = time.time
    notes: Notes = field(default_factory=Logbook)

    def fetch(self, start: int, count: int) -> Iterator[pa.Table]:
        """The images at positions `start` to `start + count`."""
        rows = self.work.read(start, count)
        ready: list[Fetched] = []
        ready_bytes = 0
        for image in self._taken(rows.to_pylist()):
            ready.append(image)
            ready_bytes += image.picture.pixels.nbytes if image.picture else 0
            if ready_bytes >= TABLE_BYTES or len(ready) >= TABLE_IMAGES:
                yield to_table(ready)
                ready, ready_bytes = [], 0
        if ready:
            yield to_table(ready)

    def _taken(self, rows: list[dict]) -> Iterator[Fetched]:
        by_position = {row["position"]: row for row in rows}
        for turn in logbook.turns(self.notes, STAGE, list(by_position)):
            some = [by_position[position] for position in turn.positions]
            yield from map(_fatal, some) if turn.is_fatal else self._decoded(some)

    def _decoded(self, rows: list[dict]) -> Iterator[Fetched]:
        """Images are fetched while those before them are decoded, small ones some at a time."""
        begun: _Begun | None = None
        try:
            for some in _together(self._loaded(rows)):
                done, begun = begun.finished() if begun else [], None
                begun = _Begun(some, self.max_pixels)
                yield from done
            done, begun = begun.finished() if begun else [], None
            yield from done
        finally:
            if begun is not None:
                begun.give_up()

    def _loaded(self, rows: list[dict]) -> Iterator[tuple[Fetched, bytes | None]]:
        for row, load in downloads(rows, self.access, self.max_bytes):
            image = Fetched(row["position"], row["uri"], row["etag"], row["labels"])
            yield image, self._content(image, row, load)

    def _content(self, image: Fetched, row: dict, load: Callable[[], tuple[bytes, float]]) -> bytes | None:
        """The image's bytes; where there are none, the image says why."""
        try:
            content, image.fetch_seconds = load()
            return content
        except CredentialsError:
            raise
        except InputError as error:
            image.error_type, image.error_message = error.kind, str(error)
        except StorageError as error:
            image.error_type, image.error_message = error.kind, str(error)
            since = row["put_off_at"]
            may_wait = since is None or self.clock() - since < LONGEST_PUT_OFF_SECONDS
            image.deferred = error.transient and may_wait
        except MemoryError:
            image.error_type, image.error_message = NO_MEMORY
        return None


class _Begun:
    """Images that are being decoded, but for those that could not be had."""

    def __init__(self, loaded: list[tuple[Fetched, bytes | None]], max_pixels: int):
        self._images = [image for image, _ in loaded]
        self._here = [image for image, content in loaded if content is not None]
        contents = [content for _, content in loaded if content is not None]
        self._decoding = images.begin_to_decode(contents, max_pixels) if contents else None

    def finished(self) -> list[Fetched]:
        outcomes = self._decoding.outcomes() if self._decoding else []
        for image, (result, seconds) in zip(self._here, outcomes, strict=True):
            image.decode_seconds = seconds
            if isinstance(result, InputError):
                image.error_type, image.error_message = result.kind, str(result)
            elif isinstance(result, MemoryError):
                image.error_type, image.error_message = NO_MEMORY
            else:
                image.picture = result
        return self._images

    def give_up(self) -> None:
        if self._decoding is not None:
            self._decoding.give_up()


def _together(loaded: Iterable[tuple[Fetched, bytes | None]]) -> Iterator[list[tuple[Fetched, bytes | None]]]:
    some: list[tuple[Fetched, bytes | None]] = []
    size = 0
    for image, content in loaded:
        some.append((image, content))
        size += len(content or b"")
        if size >= TOGETHER_BYTES or len(some) >= TOGETHER_IMAGES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _fatal(row: dict) -> Fetched:
    image = Fetched(row["position"], row["uri"], row["etag"], row["labels"])
    image.error_type, image.error_message = logbook.KIND, logbook.FATAL
    return image


def downloads(
    rows: list[dict], access: store.Access, max_bytes: int | None = None
) -> Iterator[tuple[dict, Callable[[], tuple[bytes, float]]]]:
    """Each row with a call that gives its bytes and the seconds they took; remote ones are read ahead."""

    def load(row: dict) -> tuple[bytes, float]:
        start = time.perf_counter()
        content = _read_whole(row, access, max_bytes)
        return content, time.perf_counter() - start

    if all(store.scheme(row["uri"]) == "file" for row in rows):
        for row in rows:
            yield row, partial(load, row)
        return
    waiting: deque[tuple[dict, Future]] = deque()
    ahead = 0
    with ThreadPoolExecutor(DOWNLOAD_THREADS) as pool:
        for row in rows:
            while waiting and (len(waiting) >= AHEAD_IMAGES or ahead + (row["size"] or 0) > AHEAD_BYTES):
                ready, future = waiting.popleft()
                ahead -= ready["size"] or 0
                yield ready, future.result
            waiting.append((row, pool.submit(load, row)))
            ahead += row["size"] or 0
        while waiting:
            ready, future = waiting.popleft()
            yield ready, future.result


def to_table(fetched: list[Fetched]) -> pa.Table:
    pictures = [image.picture for image in fetched]

    def of_picture(value: Callable[[images.Picture], int]) -> list[int | None]:
        return [None if picture is None else value(picture) for picture in pictures]

    columns = [
        pa.array([image.position for image in fetched], pa.int64()),
        pa.array([image.uri for image in fetched], pa.string()),
        pa.array([image.etag for image in fetched], pa.string()),
        pa.array([image.labels for image in fetched], pa.list_(pa.string())),
        pa.array(of_picture(lambda picture: picture.height), pa.int32()),
        pa.array(of_picture(lambda picture: picture.width), pa.int32()),
        pa.array(of_picture(lambda picture: picture.pixels.shape[0]), pa.int32()),
        pa.array(of_picture(lambda picture: picture.pixels.shape[1]), pa.int32()),
        _joined([np.zeros(0, np.uint8) if picture is None else picture.pixels for picture in pictures]),
        pa.array([image.error_type for image in fetched], pa.string()),
        pa.array([image.error_message for image in fetched], pa.string()),
        pa.array([image.deferred for image in fetched], pa.bool_()),
        pa.array([image.fetch_seconds for image in fetched], pa.float32()),
        pa.array([image.decode_seconds for image in fetched], pa.float32()),
    ]
    return pa.Table.from_arrays(columns, schema=PIXEL_SCHEMA)


def from_table(table: pa.Table) -> list[Fetched]:
    """The inverse of `to_table`; pixels are views into the table, not copies."""
    plain = table.drop_columns(["pixels"]).to_pylist()
    fetched = []
    for row, pixels in zip(plain, table["pixels"], strict=True):
        image = Fetched(row["position"], row["uri"], row["etag"], row["labels"])
        image.error_type, image.error_message, image.deferred = row["error_type"], row["error_message"], row["deferred"]
        image.fetch_seconds, image.decode_seconds = row["fetch_seconds"], row["decode_seconds"]
        if row["height"] is not None:
            values = np.frombuffer(pixels.as_buffer(), np.uint8)
            shaped = values.reshape(row["pixels_height"], row["pixels_width"], 3)
            image.picture = images.Picture(shaped, row["height"], row["width"])
        fetched.append(image)
    return fetched


def _joined(arrays: list[np.ndarray]) -> pa.Array:
    """Binary values from arrays with a single copy."""
    offsets = np.zeros(len(arrays) + 1, np.int64)
    np.cumsum([array.nbytes for array in arrays], out=offsets[1:])
    values = np.empty(offsets[-1], np.uint8)
    for array, start, stop in zip(arrays, offsets[:-1], offsets[1:], strict=True):
        values[start:stop] = array.reshape(-1)
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(arrays), [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    )


def _read_whole(row: dict, access: store.Access, max_bytes: int | None) -> bytes:
    if row["size"] is not None and max_bytes is not None and row["size"] > max_bytes:
        raise InputError(f"{row['size']:,} bytes, more than run.max_bytes ({max_bytes:,})", kind="too_large")
    if row.get("place") is not None:
        return store.read_member(row["uri"], Place.of(row["place"]), row["etag"], access, max_bytes)
    content = store.read(row["uri"], access, max_bytes)
    if row["size"] is not None and len(content) != row["size"] and store.scheme(row["uri"]) != "file":
        # Replaced since it was listed, which says nothing about the image.
        raise StorageError(f"{row['uri']}: {len(content)} bytes, listed with {row['size']}", transient=True)
    return content
