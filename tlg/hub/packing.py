"""One file of a model folder, and the folder out of such a file, trusting nothing that the file says.

The file is a zip of the folder's own files without compression; the same folder always gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tlg.errors import CheckpointError
from tlg.hub.model_file import MODEL_FILE, ModelFile, checked

# Beside the files that `model.json` lists, a folder may hold texts for people.
TEXT_SUFFIX = ".md"
LONGEST_TEXT = 1 << 20
# The earliest time a zip can hold: when a folder was packed changes nothing.
NO_TIME = (1980, 1, 1, 0, 0, 0)


def pack(folder: Path, file: Path) -> list[str]:
    """Writes `file` and gives the names it holds; a folder that is not whole is refused."""
    written = read_local(folder)
    texts = sorted(text.name for text in folder.glob(f"*{TEXT_SUFFIX}") if text.is_file())
    names = [MODEL_FILE, *sorted(written.files | written.carried), *texts]
    check_digests(folder, written)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f"{file.name}.{os.getpid()}.aside")
    with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name, NO_TIME), (folder / name).read_bytes())
    aside.replace(file)
    return names


def unpack(file: Path, folder: Path) -> ModelFile:
    """Makes `folder` out of a packed file; nothing is left behind where the file is not what it should be."""
    if folder.exists():
        raise CheckpointError(f"{folder} is there already; name a folder that is not, or remove it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
        try:
            with zipfile.ZipFile(file) as archive:
                copy_members(archive, Path(aside), str(file))
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
            raise CheckpointError(f"{file} is not a packed model, or it is damaged ({error})") from error
        written = read_local(Path(aside))
        check_digests(Path(aside), written)
        shutil.copytree(aside, folder)
    return written


def copy_members(archive: zipfile.ZipFile, folder: Path, source: str) -> None:
    """The members that `model.json` lists and texts, by plain names alone; anything else refuses the whole file."""
    members = {member.filename: member for member in archive.infolist()}
    if len(members) != len(archive.infolist()):
        raise CheckpointError(f"{source} holds a name twice; pack the model anew")
    if MODEL_FILE not in members or members[MODEL_FILE].file_size > LONGEST_TEXT:
        raise CheckpointError(
            f"{source} holds no {MODEL_FILE} of a sensible length; expected a file of `tlg models pack`"
        )
    try:
        content = json.loads(archive.read(members[MODEL_FILE]))
    except ValueError as error:
        raise CheckpointError(f"{source}: {MODEL_FILE} is not JSON ({error})") from error
    written = checked(content, source)
    check_members(members.values(), {MODEL_FILE, *written.files, *written.carried}, source)
    for name, member in members.items():
        with archive.open(member) as packed, (folder / name).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)


def check_members(members: Iterable[zipfile.ZipInfo], listed: set[str], source: str) -> None:
    for member in members:
        name = member.filename
        if not is_plain(name):
            raise CheckpointError(
                f"{source} holds {name!r}, which leads out of a folder; only plain file names are taken"
            )
        if member.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(f"{source} holds {name!r} compressed; expected a file of `tlg models pack`")
        text = name.endswith(TEXT_SUFFIX) and member.file_size <= LONGEST_TEXT
        if name not in listed and not text:
            raise CheckpointError(f"{source} holds {name!r}, which its {MODEL_FILE} does not list; pack the model anew")
    missing = sorted(listed - {member.filename for member in members})
    if missing:
        raise CheckpointError(f"{source} lacks {', '.join(missing)}; pack the model anew")


def is_plain(name: str) -> bool:
    return bool(name) and not name.startswith(".") and not set(name) & set("/\\:\0")


def read_local(folder: Path) -> ModelFile:
    try:
        content = json.loads((folder / MODEL_FILE).read_text())
    except OSError as error:
        raise CheckpointError(f"{folder} is not a model folder: it has no {MODEL_FILE} that can be read") from error
    except ValueError as error:
        raise CheckpointError(f"{folder}/{MODEL_FILE} is not JSON ({error})") from error
    written = checked(content, str(folder))
    for name in written.files | written.carried:
        if not is_plain(name):
            raise CheckpointError(f"{folder}/{MODEL_FILE} lists {name!r}, which leads out of the folder")
    return written


def check_digests(folder: Path, written: ModelFile) -> None:
    for name, digest in (written.files | written.carried).items():
        try:
            actual = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise CheckpointError(f"{folder} is not whole: {name} cannot be read") from error
        if actual != digest:
            raise CheckpointError(
                f"{folder}/{name} is damaged: its SHA-256 is {actual[:16]}..., {MODEL_FILE} says {digest[:16]}..."
            )
