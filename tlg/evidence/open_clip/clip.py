"""Where does CLIP see the words? Two families of localisation maps from one encoder pass for all classes.

`activation` (after CLIP-ES): the softmax over classes and background prompts is traced back through the last block
only; a class's channel weights are the gradient's mean over patches, and its map is spread along the trunk's attention.
`dense` (after MaskCLIP, SCLIP, NACLIP, ClearCLIP): the last attention is replaced by one that keeps patches local, and
each patch vector is compared with the texts.

Shapes: B images, N classes, G background prompts, L patches on a grid h x w, C width, E text width, H x W image size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.errors import SpecError
from tlg.evidence.open_clip.clip_spec import ClipPriorSpec
from tlg.evidence.open_clip.clip_tower import ClipTower, TrunkOutput, attention_weights, merge_heads, split_tower

# CLIP's published image statistics.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# Longer than any tokenizer's context, so that nothing is cut off before it is counted.
COUNTING_CONTEXT = 4096
# A class is active where its map is above this share of its own range.
ACTIVE = 0.4
# Standard deviation of a patch's neighbourhood, in patches.
NEIGHBOURHOOD = 5.0

EncodeText = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class ClassTexts:
    """Unit text vectors of the asked classes and of the background prompts: encoded once per exemplar set."""

    classes: Tensor  # (N, E)
    background: Tensor  # (G, E)


@dataclass(frozen=True)
class ClipPrior:
    """Text prior on an open_clip model's image tower."""

    tower: ClipTower
    logit_scale: float
    spec: ClipPriorSpec

    @staticmethod
    def of(model: nn.Module, spec: ClipPriorSpec) -> ClipPrior:
        """From an open_clip CLIP object."""
        scale = model.get_parameter("logit_scale")
        return ClipPrior(split_tower(model.get_submodule("visual")), float(scale.detach().exp()), spec)

    def texts(self, names: Sequence[str], encode: EncodeText) -> ClassTexts:
        prompts = [self.spec.template.format(name) for name in (*names, *self.spec.background)]
        with torch.no_grad():
            vectors = F.normalize(encode(prompts).float(), dim=-1)
        return ClassTexts(vectors[: len(names)], vectors[len(names) :])

    def maps(self, images_B3HW: Tensor, texts: ClassTexts) -> Tensor:
        """(B, N, H, W) in 0..1, averaged over the spec's scales and mirror images. Images are CLIP-normalised."""
        size = images_B3HW.shape[-2:]
        views = []
        for scale in self.spec.scales:
            scaled = self._whole_patches(images_B3HW, scale)
            for mirrored in (False, True) if self.spec.mirrored else (False,):
                view = self._one_view(scaled.flip(3) if mirrored else scaled, texts)
                views.append(F.interpolate(view.flip(3) if mirrored else view, size, mode="bilinear"))
        return torch.stack(views).mean(0)

    @torch.no_grad()
    def presence_evidence(self, images_B3HW: Tensor, texts: ClassTexts) -> Tensor:
        """(B, N): log-odds of each class alone against all background prompts, for the whole image."""
        trunk = self.tower.trunk(self._whole_patches(images_B3HW, 1.0), 0)
        image_BE = F.normalize(self.tower.pooled(trunk, self.tower.project_qkv(trunk, None)).float(), dim=-1)
        classes_BN = self.logit_scale * image_BE @ texts.classes.T.to(image_BE)
        return classes_BN - torch.logsumexp(self.logit_scale * image_BE @ texts.background.T.to(image_BE), 1)[:, None]

    def _whole_patches(self, images_B3HW: Tensor, scale: float) -> Tensor:
        """Resized to `scale`, sides rounded to a whole number of patches."""
        stride = self.tower.stride
        sides = [max(1, round(side * scale / stride)) * stride for side in images_B3HW.shape[-2:]]
        if sides == list(images_B3HW.shape[-2:]):
            return images_B3HW
        return F.interpolate(images_B3HW, sides, mode="bilinear", align_corners=False, antialias=True)

    def _one_view(self, images_B3HW: Tensor, texts: ClassTexts) -> Tensor:
        blocks = self.spec.affinity_blocks if self.spec.family == "activation" else 0
        with torch.no_grad():
            trunk = self.tower.trunk(images_B3HW, blocks)
        if self.spec.family == "dense":
            with torch.no_grad():
                return dense_maps(self.tower, trunk, texts, self.logit_scale, self.spec.dense_attention)
        raw_BNL = activation_maps(self.tower, trunk, texts, self.logit_scale)
        with torch.no_grad():
            spread_BNL = spread(raw_BNL, affinity(self.tower, trunk), trunk.grid, self.spec.affinity_steps)
            return to_unit_range(spread_BNL).unflatten(2, trunk.grid)


def activation_maps(tower: ClipTower, trunk: TrunkOutput, texts: ClassTexts, logit_scale: float) -> Tensor:
    """(B, N, L) class activation: ReLU of the activations weighted by the gradient of each class's probability."""
    activations_BLC = tower.activations(trunk)
    with torch.enable_grad():
        shift_B1C = torch.zeros_like(activations_BLC[:, :1]).requires_grad_()
        image_BE = F.normalize(tower.pooled(trunk, tower.project_qkv(trunk, shift_B1C)), dim=-1)
        words = torch.cat([texts.classes, texts.background]).to(image_BE)
        probability_BN = torch.softmax(logit_scale * image_BE @ words.T, dim=1)[:, : len(texts.classes)]
        one_each = torch.eye(probability_BN.shape[1]).to(probability_BN)[:, None].expand(-1, len(image_BE), -1)
        (weight_NB1C,) = torch.autograd.grad(probability_BN, shift_B1C, one_each, is_grads_batched=True)
    weight_BNC = weight_NB1C[:, :, 0].transpose(0, 1) / activations_BLC.shape[1]
    return (weight_BNC @ activations_BLC.detach().transpose(1, 2)).relu().detach()


def affinity(tower: ClipTower, trunk: TrunkOutput) -> Tensor:
    """(B, L, L) between patches, rows sum to one: the trunk's attention, or the last block's where it has none."""
    if trunk.attention is not None:
        weights_BLL = trunk.attention[:, 1:, 1:]
    else:
        queries, keys, _ = tower.project_qkv(trunk, None)
        weights_BLL = attention_weights(queries, keys).mean(1)[:, 1:, 1:]
    # Alternating row and column sums make it nearly doubly stochastic: no patch can draw all to itself.
    for _ in range(3):
        weights_BLL = weights_BLL / weights_BLL.sum(1, keepdim=True).clamp_min(1e-12)
        weights_BLL = weights_BLL / weights_BLL.sum(2, keepdim=True).clamp_min(1e-12)
    symmetric_BLL = (weights_BLL + weights_BLL.transpose(1, 2)) / 2
    return symmetric_BLL / symmetric_BLL.sum(2, keepdim=True).clamp_min(1e-12)


def spread(raw_BNL: Tensor, affinity_BLL: Tensor, grid: tuple[int, int], steps: int) -> Tensor:
    """Random walk along the affinity, for each class within the box around its own activation."""
    box_BNL = active_box(to_unit_range(raw_BNL).unflatten(2, grid) > ACTIVE).flatten(2)
    for _ in range(steps):
        raw_BNL = torch.einsum("blk,bnk->bnl", affinity_BLL, raw_BNL)
    return raw_BNL * box_BNL


def active_box(active_BNhw: Tensor) -> Tensor:
    """The smallest upright box around the active places, as 0 and 1."""
    rows, columns = active_BNhw.any(3), active_BNhw.any(2)

    def between(line: Tensor) -> Tensor:
        counted = line.float().cumsum(-1)
        return (counted > 0) & (line.float().flip(-1).cumsum(-1).flip(-1) > 0)

    return (between(rows)[..., :, None] & between(columns)[..., None, :]).float()


def to_unit_range(map_BNL: Tensor) -> Tensor:
    """Each map stretched to 0..1; one that is all but constant is not: that would show nothing but rounding."""
    low, high = map_BNL.amin(-1, keepdim=True), map_BNL.amax(-1, keepdim=True)
    return (map_BNL - low) / torch.maximum(high - low, 1e-2 * high.abs()).clamp_min(1e-12)


def dense_maps(tower: ClipTower, trunk: TrunkOutput, texts: ClassTexts, logit_scale: float, kind: str) -> Tensor:
    """(B, N, h, w): probability of each class at each patch, against the other classes and the background prompts."""
    queries, keys, values = (part[:, :, 1:] for part in tower.project_qkv(trunk, None))
    if kind == "maskclip":
        attended = values
    elif kind == "sclip":
        attended = (attention_weights(queries, queries) + attention_weights(keys, keys)) @ values
    elif kind == "clearclip":
        attended = attention_weights(queries, queries) @ values
    else:
        attended = neighbourly_attention(keys, trunk.grid) @ values
    patch_BLE = F.normalize(tower.dense(trunk, merge_heads(attended), keep_block=kind == "sclip").float(), dim=-1)
    words = torch.cat([texts.classes, texts.background]).to(patch_BLE)
    probability_BLN = torch.softmax(logit_scale * patch_BLE @ words.T, dim=2)[:, :, : len(texts.classes)]
    return probability_BLN.transpose(1, 2).unflatten(2, trunk.grid)


def neighbourly_attention(keys: Tensor, grid: tuple[int, int]) -> Tensor:
    """Key-to-key attention with a bump of logits on each patch's own neighbourhood."""
    y, x = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    place_L2 = torch.stack([y.flatten(), x.flatten()], 1).to(keys)
    near_LL = torch.exp(-torch.cdist(place_L2, place_L2).square() / (2 * NEIGHBOURHOOD**2))
    return torch.softmax(keys @ keys.transpose(-2, -1) * keys.shape[-1] ** -0.5 + near_LL, dim=-1)


def check_prompt(prompt: str, tokenize: Callable[..., Tensor], context_length: int, where: str) -> None:
    """Tokenizers cut silently; a prompt that would lose words is an error that names `where` it comes from."""
    ids = tokenize([prompt], context_length=COUNTING_CONTEXT)[0]
    used = int(ids.nonzero().max()) + 1 if bool(ids.any()) else 0
    if used > context_length:
        raise SpecError(
            f"{where}: the text {prompt[:60]!r}... is {used} tokens long, CLIP reads at most {context_length};"
            " shorten the name or its attributes"
        )
