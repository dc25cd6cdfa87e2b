"""autodistill's loop over a folder, `DetectionBaseModel.label`, with our model behind it: out comes a YOLO data set.

python with_autodistill.py IMAGES EXEMPLARS OUT [--model NAME]
"""

import numpy as np
import supervision as sv
from arguments import parsed
from autodistill.detection import CaptionOntology, DetectionBaseModel
from autodistill.helpers import load_image

import tlg
from tlg.allocation import keep_freed_memory


class ExemplarModel(DetectionBaseModel):
    def __init__(self, model: str, exemplars: str):
        keep_freed_memory()  # as the workers of `tlg annotate` do
        self.annotator = tlg.load_model(model).with_exemplars(exemplars)
        self.ontology = CaptionOntology({name: name for name in self.annotator.class_names})

    def predict(self, input) -> sv.Detections:
        # OpenCV has colours in the other order.
        pixels = np.ascontiguousarray(load_image(input, return_format="cv2")[:, :, ::-1])
        (image,) = self.annotator.annotate([pixels])
        if not image.present:
            return sv.Detections.empty()
        masks = np.stack([answer.mask for answer in image.present])
        return sv.Detections(
            xyxy=sv.mask_to_xyxy(masks),
            mask=masks,
            confidence=np.array([answer.score for answer in image.present]),
            class_id=np.array([self.annotator.class_names.index(answer.class_name) for answer in image.present]),
        )


def main() -> None:
    arguments = parsed(__doc__, "images", "exemplars", "out")
    model = ExemplarModel(arguments.model, str(arguments.exemplars))
    model.label(str(arguments.images), extension=".jpg", output_folder=str(arguments.out))


if __name__ == "__main__":
    main()
