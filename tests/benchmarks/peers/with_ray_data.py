"""A hand-written Ray Data script: read pictures, map batches through workers that hold the model, write Parquet.

python with_ray_data.py IMAGES EXEMPLARS OUT [--model NAME]
"""

import os

import pyarrow as pa
import ray
import ray.data
from arguments import parsed

import tlg
from tlg.allocation import keep_freed_memory

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("class_name", pa.string()),
        ("status", pa.string()),
        ("score", pa.float32()),
        ("rle", pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])),
    ]
)


class Segmenter:
    def __init__(self, model: str, exemplars: str):
        keep_freed_memory()  # as the workers of `tlg annotate` do
        self.annotator = tlg.load_model(model).with_exemplars(exemplars)

    def __call__(self, batch: dict) -> pa.Table:
        annotated = self.annotator.annotate(list(batch["image"]))
        rows = [
            {
                "path": path,
                "class_name": answer.class_name,
                "status": answer.status,
                "score": answer.score,
                "rle": answer.rle,
            }
            for path, image in zip(batch["path"], annotated, strict=True)
            for answer in image
        ]
        return pa.Table.from_pylist(rows, SCHEMA)


def main() -> None:
    arguments = parsed(__doc__, "images", "exemplars", "out")
    workers = os.cpu_count() or 1
    # Each worker takes a core; reading needs a place beside them.
    ray.init(num_cpus=workers + 1)
    images = ray.data.read_images(str(arguments.images), include_paths=True, mode="RGB")
    answers = images.map_batches(
        Segmenter,
        fn_constructor_kwargs={"model": arguments.model, "exemplars": str(arguments.exemplars)},
        batch_size=8,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    answers.write_parquet(str(arguments.out))


if __name__ == "__main__":
    main()
