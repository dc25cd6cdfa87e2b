"""The model as a stage of one's own Ray Data pipeline; a door to `jobs`, which know Ray. The library does not.

import ray, tlg.ray

images = ray.data.read_images("photographs/", include_paths=True, mode="RGB")
stage, arguments = tlg.ray.segmenter("tlg-photo", "exemplars/")
answers = images.map_batches(stage, fn_constructor_kwargs=arguments, batch_size=8, concurrency=2)
"""

from __future__ import annotations

from pathlib import Path

from jobs.own_pipeline import ImageSegmenter
from tlg.annotators.protocol import AnnotateParams
from tlg.api.exemplar_set import ExemplarSet

__all__ = ["segmenter"]


def segmenter(
    model: str, exemplars: ExemplarSet | str | Path, min_score: float = 0.5, device: str | None = None
) -> type[ImageSegmenter]:
    """What `Dataset.map_batches` takes: a class, of which each worker of the pool makes one.

    Exemplars are read here, once; `device` None takes a worker's GPU where it has one.
    """
    loaded = ExemplarSet.read(exemplars).loaded
    params = AnnotateParams(min_score=min_score)

    class Segmenter(ImageSegmenter):
        def __init__(self) -> None:
            super().__init__(model, loaded, params, device)

    return Segmenter
