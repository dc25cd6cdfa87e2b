"""FiftyOne's `apply_model` with our model behind its interface: masks are stored in FiftyOne's database.

python with_fiftyone.py IMAGES EXEMPLARS [--model NAME]

FIFTYONE_DATABASE_DIR says where the database lies. Run again, the script goes on with the data set that is there.
"""

import fiftyone
import fiftyone.core.models
from arguments import parsed

import tlg
from tlg.allocation import keep_freed_memory

DATASET = "annotated"
FIELD = "predictions"


class ExemplarModel(fiftyone.core.models.Model):
    media_type = "image"
    ragged_batches = False  # pictures of any sizes go together
    transforms = None
    preprocess = False

    def __init__(self, model: str, exemplars: str):
        keep_freed_memory()  # as the workers of `tlg annotate` do
        self.annotator = tlg.load_model(model).with_exemplars(exemplars)

    def predict(self, arg) -> fiftyone.Detections:
        return self.predict_all([arg])[0]

    def predict_all(self, args) -> list[fiftyone.Detections]:
        return [
            fiftyone.Detections(
                detections=[
                    fiftyone.Detection.from_mask(answer.mask, label=answer.class_name, confidence=answer.score)
                    for answer in image.present
                ]
            )
            for image in self.annotator.annotate(args)
        ]


def main() -> None:
    arguments = parsed(__doc__, "images", "exemplars")
    if fiftyone.dataset_exists(DATASET):
        dataset = fiftyone.load_dataset(DATASET)
    else:
        dataset = fiftyone.Dataset.from_images_dir(str(arguments.images), name=DATASET, persistent=True)
    model = ExemplarModel(arguments.model, str(arguments.exemplars))
    dataset.apply_model(model, label_field=FIELD, batch_size=8)


if __name__ == "__main__":
    main()
