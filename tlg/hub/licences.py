"""Whose licences apply: every package that the product needs, and every file of weights that a known model names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

from tlg.hub.sources.package import stated_licence
from tlg.hub.zoo import described_models

PRODUCT = "tlg"
NOT_STATED = "not stated"


def package_licences() -> dict[str, str]:
    """Name and version of each package that an installation needs -> its licence as the package states it."""
    licences: dict[str, str] = {}
    waiting, seen = [PRODUCT], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # needed on other systems alone
        licences[f"{name} {package.version}"] = stated_licence(package) or NOT_STATED
        waiting += needed(package.requires or [])
    return dict(sorted(licences.items()))


def needed(requirements: list[str]) -> Iterator[str]:
    """Normalised names of what is needed here, without extras."""
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield re.sub(r"[-_.]+", "-", requirement.name).lower()


def model_licences() -> dict[str, str]:
    """Each known model and each file of weights it names -> the licence."""
    licences: dict[str, str] = {}
    for name, written in described_models().items():
        card, record = written.card, written.backbone_record
        licences[name] = NOT_STATED if card is None else card.licence
        if written.backbone_weights is not None:
            stated = (record and record.licence) or (card and card.weights_licence) or NOT_STATED
            licences[f"{name}: {written.backbone} from {written.backbone_weights}"] = stated
        if written.open_clip is not None:
            clip = written.open_clip
            licences[f"{name}: {clip.settings['architecture']} from {clip.weights or clip.file}"] = NOT_STATED
    return licences
