"""What the prior costs per image, in units of one pass of the encoder whose features it reads."""

from __future__ import annotations

import open_clip
import torch
from harness import Row, median_seconds

from tlg.evidence import Background, Prior
from tlg.evidence.open_clip.clip import ClipPrior
from tlg.evidence.open_clip.clip_spec import ClipPriorSpec
from tlg.network.backbones.registry import build_backbone
from tlg.network.features import Features

SIDE = 384
CLIP_TOWER = "ViT-B-16"
CLASS_COUNTS = (1, 20)
REPEATS = 3


def random_images(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def exemplar_rows(backbone_name: str, shots: int) -> list[Row]:
    backbone = build_backbone(backbone_name)  # type: ignore[arg-type]
    image = random_images(1, SIDE)
    with torch.inference_mode():
        encoded = Features(backbone(random_images(8, SIDE)), (SIDE, SIDE))
        background = Background.fit([encoded] * 15)
        one_pass, _ = median_seconds(lambda: backbone(image), REPEATS)
        rows = []
        for classes in CLASS_COUNTS:
            exemplars = [(encoded[[shot]], label, None) for label in range(classes) for shot in range(shots)]
            fitted = Prior(background).fit(exemplars)
            for edges, guide in (("as they are", None), ("refined", image)):
                seconds, spread = median_seconds(
                    lambda fitted=fitted, guide=guide: fitted.maps(encoded[[0]], guide), REPEATS
                )
                rows.append(
                    Row(
                        f"exemplar prior, {backbone_name}, {classes} classes x {shots}, edges {edges}",
                        seconds / one_pass,
                        "encoder passes",
                        aim="< 0.15 for one class" if classes == 1 else "",
                        spread=spread / one_pass,
                        repeats=REPEATS,
                        inputs=f"one {SIDE} px image, a pass takes {one_pass * 1e3:.0f} ms",
                    )
                )
    return rows


def text_rows() -> list[Row]:
    model = open_clip.create_model(CLIP_TOWER, pretrained=None).eval().requires_grad_(False)
    side = model.visual.image_size[0]
    image = random_images(1, side)
    with torch.no_grad():
        one_pass, _ = median_seconds(lambda: model.encode_image(image), REPEATS)
    rows = []
    for family in ("activation", "dense"):
        prior = ClipPrior.of(model, ClipPriorSpec(family=family))
        for classes in CLASS_COUNTS:
            vectors = torch.randn(classes + len(prior.spec.background), model.visual.output_dim)
            texts = prior.texts([str(index) for index in range(classes)], lambda _, vectors=vectors: vectors)
            seconds, spread = median_seconds(lambda prior=prior, texts=texts: prior.maps(image, texts), REPEATS)
            rows.append(
                Row(
                    f"text prior, {CLIP_TOWER}, {family}, {classes} classes (the pass included)",
                    seconds / one_pass,
                    "encoder passes",
                    spread=spread / one_pass,
                    repeats=REPEATS,
                    inputs=f"one {side} px image, a pass takes {one_pass * 1e3:.0f} ms",
                )
            )
    return rows


def measure() -> list[Row]:
    return [
        *exemplar_rows("mobilenet_v2", 1),
        *exemplar_rows("mobilenet_v2", 5),
        *exemplar_rows("resnet50", 5),
        *text_rows(),
    ]


if __name__ == "__main__":
    for row in measure():
        print(f"{row.what}: {row.value:.2f} +- {row.spread:.2f} {row.unit} ({row.inputs})")
