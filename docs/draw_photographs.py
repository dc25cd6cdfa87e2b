"""Draws docs/photographs.png, the README's picture, from photographs that anybody may show.

    python docs/draw_photographs.py

They come with scikit-image: coins of Pompeii (Brooklyn Museum, no known copyright restrictions), a cup of coffee
(Rachel Michetti, CC0) and the astronaut Eileen Collins (NASA, public domain). The model is the default one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import skimage.data
import yaml
from PIL import Image, ImageDraw, ImageFont

import tlg

PICTURE = Path(__file__).with_name("photographs.png")
HEIGHT, CAPTION, GAP = 303, 26, 10
# The strip of the coins that is the exemplar, and the boxes [x, y, width, height] drawn on it.
STRIP = 140
COINS = [
    [22, 34, 45, 41], [81, 39, 39, 36], [25, 104, 41, 41], [84, 107, 38, 38],
    [25, 178, 38, 39], [80, 175, 44, 43], [18, 232, 56, 56], [93, 244, 42, 43],
]  # fmt: skip
BOX = (225, 30, 30)


def coins(model: tlg.Model) -> list[tuple[Image.Image, str]]:
    """A strip with boxes, and what they make of the rest of the photograph."""
    whole = Image.fromarray(skimage.data.coins()).convert("RGB")
    strip, rest = whole.crop((0, 0, STRIP, whole.height)), whole.crop((STRIP, 0, *whole.size))
    with tempfile.TemporaryDirectory() as folder:
        strip.save(Path(folder) / "strip.png")
        document = {
            "name": "coins",
            "classes": [{"name": "coin", "exemplars": [{"image": "strip.png", "boxes": COINS}]}],
        }
        (Path(folder) / "coins.yaml").write_text(yaml.safe_dump(document))
        annotator = model.with_exemplars(Path(folder) / "coins.yaml")
        (answered,) = annotator.annotate([rest])
    for x, y, width, height in COINS:
        ImageDraw.Draw(strip).rectangle((x, y, x + width, y + height), outline=BOX, width=2)
    return [(strip, "exemplar: boxes"), (answered.overlay().convert("RGB"), "coin")]


def named(model: tlg.Model) -> list[tuple[Image.Image, str]]:
    """Photographs without any exemplar."""
    annotator = model.with_exemplars(tlg.ExemplarSet.from_names("cup", "rocket"))
    photographs = [Image.fromarray(pixels) for pixels in (skimage.data.coffee(), skimage.data.astronaut())]
    return [
        (image.overlay().convert("RGB"), f"no exemplar: “{answer.class_name}”")
        for image in annotator.annotate(photographs)
        for answer in image.present
    ]


def main() -> None:
    model = tlg.load_model()
    panels = [
        (panel.resize((round(panel.width * HEIGHT / panel.height), HEIGHT)), caption)
        for panel, caption in [*coins(model), *named(model)]
    ]
    width = sum(panel.width for panel, _ in panels) + GAP * (len(panels) - 1)
    sheet = Image.new("RGB", (width, HEIGHT + CAPTION), "white")
    x = 0
    for panel, caption in panels:
        sheet.paste(panel, (x, CAPTION))
        ImageDraw.Draw(sheet).text((x + 2, 4), caption, fill="black", font=ImageFont.load_default(15))
        x += panel.width + GAP
    sheet.save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
