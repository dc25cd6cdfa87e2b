"""Which masks `with_fiftyone.py` stored in the database: pairs of image and class, as JSON."""

import json

import fiftyone
from with_fiftyone import DATASET, FIELD


def main() -> None:
    pairs = []
    if fiftyone.dataset_exists(DATASET):
        dataset = fiftyone.load_dataset(DATASET)
        if dataset.has_field(FIELD):
            names, labels = dataset.values(["filepath", f"{FIELD}.detections.label"])
            pairs = [
                (name.rsplit("/", 1)[1], label)
                for name, of_picture in zip(names, labels, strict=True)
                for label in of_picture or ()
            ]
    print(json.dumps(pairs))


if __name__ == "__main__":
    main()
