"""`tlg prior IMAGE... --exemplars SET --out DIR`: what the model is fed, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tlg import images, storage
from tlg.exemplars import LoadedExemplars
from tlg.prior.image_prior import ImagePrior

OVERLAY_COLOUR = (255, 32, 96)
OVERLAY_STRENGTH = 0.6


def write_maps(
    uris: Sequence[str],
    exemplars: LoadedExemplars,
    prior: ImagePrior,
    out: Path,
    access: storage.Access = storage.DEFAULT_ACCESS,
) -> list[tuple[str, str, float, Path]]:
    """For every image and class `<image>--<class>.map.png` and `.overlay.png`; returns (uri, class, presence, map)."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for uri in uris:
        pixels = images.decode(storage.read(uri, access)).pixels
        (maps,), presence = prior.of_pictures([pixels], exemplars)
        for class_name, map_hw, probability in zip(exemplars.class_names, maps, presence[0], strict=True):
            stem = f"{Path(uri).stem}--{class_name}".replace("/", "_")
            path = out / f"{stem}.map.png"
            Image.fromarray((map_hw * 255).round().astype(np.uint8)).save(path)
            Image.fromarray(overlaid(pixels, map_hw)).save(out / f"{stem}.overlay.png")
            written.append((uri, class_name, float(probability), path))
    return written


def overlaid(pixels: np.ndarray, map_hw: np.ndarray) -> np.ndarray:
    """The picture, coloured where the map is high."""
    strength = (OVERLAY_STRENGTH * map_hw)[..., None]
    return (pixels * (1 - strength) + np.array(OVERLAY_COLOUR) * strength).round().astype(np.uint8)
