"""An image's bytes as an answer that no browser can take for anything else."""

from __future__ import annotations

import io

from fastapi.responses import Response
from PIL import Image

from deploy.endpoint.problems import ProblemError

# Nothing in such an answer runs, whatever the bytes say.
SEALED = {"content-security-policy": "default-src 'none'; sandbox", "content-disposition": "inline"}
DAY = 86_400


def image_response(content: bytes, lasting: bool = False) -> Response:
    """`lasting`: the address names these very bytes, so a browser may keep them."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            media_type = Image.MIME.get(image.format or "", "")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        media_type = ""
    if not media_type.startswith("image/"):
        raise ProblemError(422, "image-not-an-image", "what lies there is not an image; expected JPEG, PNG, TIFF, ...")
    caching = f"private, max-age={DAY}, immutable" if lasting else "private, max-age=60"
    return Response(content, media_type=media_type, headers=SEALED | {"cache-control": caching})
