"""A CVAT auto-annotation function: masks from an endpoint, through `cvat-cli`.

    cvat-cli task auto-annotate TASK --function-module deploy.connectors.cvat \\
        -p url=str:http://127.0.0.1:8000 -p exemplars=str:foxes

An agent of CVAT runs the same function for everybody: `cvat-cli function create-native` and `run-agent`.

The API key, where one is needed, is read from TLG_API_KEY: parameters are seen by everyone on the machine.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import cvat_sdk.auto_annotation as cvat
import PIL.Image
from cvat_sdk.masks import encode_mask

from tlg.answers.formats import polygon
from tlg.answers.records import decode_mask
from tlg.client import Client


class ExemplarFunction:
    """One label per class of the exemplar set; a mask (or polygons, where CVAT wants them) per class found."""

    def __init__(self, url: str, exemplars: str):
        self._client, self._exemplars = Client(url), exemplars
        stored = self._client.exemplar_set(exemplars)
        labels = [
            cvat.label_spec(shown_class.name, shown_class.class_id, type="mask") for shown_class in stored.classes
        ]
        self.spec = cvat.DetectionFunctionSpec(labels=labels)

    def detect(
        self, context: cvat.DetectionFunctionContext, image: PIL.Image.Image
    ) -> Sequence[cvat.DetectionAnnotation]:
        stream = io.BytesIO()
        image.convert("RGB").save(stream, "PNG", compress_level=1)
        answers = self._client.annotate(stream.getvalue(), self._exemplars, min_score=context.conf_threshold)
        shapes = []
        for row in answers.rows:
            if row.status != "mask" or row.rle is None:
                continue
            mask_HW = decode_mask({"size": row.rle.size, "counts": row.rle.counts})
            if context.conv_mask_to_poly:
                shapes += [cvat.polygon(row.class_id, ring) for ring in polygon.from_mask(mask_HW)]
            else:
                shapes.append(cvat.mask(row.class_id, encode_mask(mask_HW)))
        return shapes


create = ExemplarFunction
