"""Bodies as the API page shows them: instances of the models, so that none can become wrong."""

from __future__ import annotations

import base64
import io

from PIL import Image, ImageDraw

from deploy.endpoint.schema import AnnotateRequest, BatchRequest, Content, Exemplar, InlineClass, InlineSet
from tlg.spec import AnnotateSpec, ImagesSpec, OutputSpec


def _drawn(left: int) -> Content:
    """A small picture of an orange disc, so that trying an example works anywhere."""
    image = Image.new("RGB", (48, 32), (24, 60, 36))
    ImageDraw.Draw(image).ellipse((left, 8, left + 16, 24), fill=(235, 150, 60))
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return Content(data=base64.b64encode(stream.getvalue()).decode(), name=f"disc-{left}.png")


INLINE_SET = InlineSet(
    classes=[
        InlineClass(
            name="orange disc",
            exemplars=[Exemplar(image=_drawn(4), boxes=[(4, 8, 17, 17)]), Exemplar(image=_drawn(20))],
        )
    ]
)
ANNOTATE = AnnotateRequest(image=_drawn(28), exemplars=INLINE_SET, format="rle")
BATCH = BatchRequest(images=[_drawn(10), _drawn(28)], exemplars=INLINE_SET)
JOB = AnnotateSpec(
    name="camera-traps",
    images=ImagesSpec(uri="s3://traps/2026/", pattern="**/*.jpg"),
    exemplars="foxes",
    output=OutputSpec(uri="s3://annotations/traps/"),
)
