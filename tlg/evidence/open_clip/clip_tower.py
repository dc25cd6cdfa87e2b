"""An open_clip image encoder taken apart: the trunk, and a last block whose attention can be looked at or replaced.

Shapes: B images, C width, L patches on a grid h x w, heads split C; token 0 is the pooled one (class token or mean).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from tlg.errors import SpecError


@dataclass(frozen=True)
class TrunkOutput:
    """Everything before the last block, of one pass: shared by all classes."""

    tokens: Tensor  # (B, 1 + L, C) as the last block receives them
    grid: tuple[int, int]
    attention: Tensor | None  # (B, 1 + L, 1 + L) mean over heads of the blocks before the last that were asked for


class ClipTower(Protocol):
    """What the priors need of an image encoder."""

    @property
    def stride(self) -> int:
        """Pixels per patch."""
        ...

    def trunk(self, images_B3HW: Tensor, attention_blocks: int) -> TrunkOutput: ...

    def project_qkv(self, trunk: TrunkOutput, shift_B1C: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, 1 + L, c); `shift` is added to every patch the block reads."""
        ...

    def pooled(self, trunk: TrunkOutput, qkv: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """(B, E): the image vector."""
        ...

    def dense(self, trunk: TrunkOutput, attended_BLC: Tensor, keep_block: bool) -> Tensor:
        """(B, L, E): patch vectors, given what replaces the attention's output; `keep_block` keeps residual and MLP."""
        ...

    def activations(self, trunk: TrunkOutput) -> Tensor:
        """(B, L, C): what the last block's attention reads, where class activation is measured."""
        ...


def split_tower(visual: nn.Module) -> ClipTower:
    """The tower of `open_clip_model.visual`."""
    if isinstance(visual, ModifiedResNet):
        return ResNetTower(visual)
    if isinstance(visual, VisionTransformer):
        plain = all(type(block) is ResidualAttentionBlock for block in visual.transformer.resblocks)
        if plain and visual.attn_pool is None and visual.pool_type in ("tok", "avg"):
            return TransformerTower(visual)
    raise SpecError(
        f"the CLIP image tower is a {type(visual).__name__} with blocks or pooling the text prior cannot take apart;"
        " use an OpenAI-style ViT (such as ViT-B-16) or ResNet (such as RN50) tower of open_clip,"
        " or leave the text prior out"
    )


@dataclass(frozen=True)
class TransformerTower:
    visual: VisionTransformer

    @property
    def stride(self) -> int:
        return int(self.visual.conv1.stride[0])

    def trunk(self, images_B3HW: Tensor, attention_blocks: int) -> TrunkOutput:
        visual = self.visual
        patches = visual.conv1(images_B3HW)
        grid = (patches.shape[2], patches.shape[3])
        patches_BLC = patches.flatten(2).transpose(1, 2)
        first_B1C = visual.class_embedding.to(patches_BLC).expand(len(patches_BLC), 1, -1)
        x = torch.cat([first_B1C, patches_BLC], 1)
        x = visual.ln_pre(x + resized_positions(visual.positional_embedding, visual.grid_size, grid).to(x))
        *blocks, _ = visual.transformer.resblocks
        seen = []
        for index, block in enumerate(blocks):
            if index >= len(blocks) - attention_blocks:
                queries, keys, _ = block_qkv(block, block.ln_1(x))
                seen.append(attention_weights(queries, keys).mean(1))
            x = block(x)
        return TrunkOutput(x, grid, torch.stack(seen).mean(0) if seen else None)

    @property
    def last(self) -> ResidualAttentionBlock:
        return self.visual.transformer.resblocks[-1]

    def project_qkv(self, trunk: TrunkOutput, shift_B1C: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        qkv = block_qkv(self.last, self.last.ln_1(trunk.tokens))
        if shift_B1C is None:
            return qkv
        # The projections are linear: shifting their input by one vector shifts every patch's output alike, so the
        # gradient of the shift is the sum over patches and no (L, C) gradient is ever made.
        weight = self.last.attn.in_proj_weight
        moved = [split_heads(F.linear(shift_B1C, part), self.last.attn.num_heads) for part in weight.chunk(3)]
        return tuple(patches_shifted(part, by) for part, by in zip(qkv, moved, strict=True))  # type: ignore[return-value]

    def pooled(self, trunk: TrunkOutput, qkv: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        queries, keys, values = qkv
        read = slice(0, 1) if self.visual.pool_type == "tok" else slice(None)
        attended = merge_heads(attention_weights(queries[:, :, read], keys) @ values)
        x = self._after_attention(trunk.tokens[:, read], attended)
        if self.visual.pool_type == "avg" and self.visual.final_ln_after_pool:
            x = self.visual.ln_post(x[:, 1:].mean(1))
        elif self.visual.pool_type == "avg":
            x = self.visual.ln_post(x)[:, 1:].mean(1)
        else:
            x = self.visual.ln_post(x[:, 0])
        return x if self.visual.proj is None else x @ self.visual.proj

    def dense(self, trunk: TrunkOutput, attended_BLC: Tensor, keep_block: bool) -> Tensor:
        if keep_block:
            x = self._after_attention(trunk.tokens[:, 1:], attended_BLC)
        else:
            x = self.last.ls_1(self.last.attn.out_proj(attended_BLC))
        x = self.visual.ln_post(x)
        return x if self.visual.proj is None else x @ self.visual.proj

    def _after_attention(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.last.ls_1(self.last.attn.out_proj(attended))
        return x + self.last.ls_2(self.last.mlp(self.last.ln_2(x)))

    def activations(self, trunk: TrunkOutput) -> Tensor:
        return self.last.ln_1(trunk.tokens)[:, 1:]


@dataclass(frozen=True)
class ResNetTower:
    """The attention pool plays the part of the last block; its mean token is the pooled one."""

    visual: ModifiedResNet

    @property
    def stride(self) -> int:
        return 32

    @property
    def pool(self) -> AttentionPool2d:
        return self.visual.attnpool

    def trunk(self, images_B3HW: Tensor, attention_blocks: int) -> TrunkOutput:
        x = self.visual.stem(images_B3HW)
        for layer in (self.visual.layer1, self.visual.layer2, self.visual.layer3, self.visual.layer4):
            x = layer(x)
        grid = (x.shape[2], x.shape[3])
        x_BLC = x.flatten(2).transpose(1, 2)
        # A residual network has no attention before its pool, whatever was asked for.
        return TrunkOutput(torch.cat([x_BLC.mean(1, keepdim=True), x_BLC], 1), grid, None)

    def _with_positions(self, trunk: TrunkOutput) -> Tensor:
        side = round((len(self.pool.positional_embedding) - 1) ** 0.5)
        return trunk.tokens + resized_positions(self.pool.positional_embedding, (side, side), trunk.grid).to(
            trunk.tokens
        )

    def project_qkv(self, trunk: TrunkOutput, shift_B1C: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        x = self._with_positions(trunk)
        if shift_B1C is not None:
            x = x + shift_B1C  # the mean token moves with the patches
        layers = (self.pool.q_proj, self.pool.k_proj, self.pool.v_proj)
        return tuple(split_heads(layer(x), self.pool.num_heads) for layer in layers)  # type: ignore[return-value]

    def pooled(self, trunk: TrunkOutput, qkv: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        queries, keys, values = qkv
        return self.pool.c_proj(merge_heads(attention_weights(queries[:, :, :1], keys) @ values)[:, 0])

    def dense(self, trunk: TrunkOutput, attended_BLC: Tensor, keep_block: bool) -> Tensor:
        return self.pool.c_proj(attended_BLC)

    def activations(self, trunk: TrunkOutput) -> Tensor:
        return trunk.tokens[:, 1:]


def block_qkv(block: ResidualAttentionBlock, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    merged = F.linear(x, block.attn.in_proj_weight, block.attn.in_proj_bias)
    queries, keys, values = (split_heads(part, block.attn.num_heads) for part in merged.chunk(3, dim=-1))
    return queries, keys, values


def attention_weights(queries: Tensor, keys: Tensor) -> Tensor:
    """(B, heads, from, to): rows sum to one."""
    return torch.softmax(queries @ keys.transpose(-2, -1) * queries.shape[-1] ** -0.5, dim=-1)


def split_heads(x_BLC: Tensor, heads: int) -> Tensor:
    return x_BLC.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x_BHLc: Tensor) -> Tensor:
    return x_BHLc.transpose(1, 2).flatten(2)


def patches_shifted(x_BHLc: Tensor, by_BH1c: Tensor) -> Tensor:
    """Everything but token 0 moved."""
    return torch.cat([x_BHLc[:, :, :1], x_BHLc[:, :, 1:] + by_BH1c], dim=2)


def resized_positions(positions_LC: Tensor, trained: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """The position embedding for another grid than the tower was trained on; token 0 keeps its own."""
    if tuple(trained) == grid:
        return positions_LC
    first_1C, patches_LC = positions_LC[:1], positions_LC[1:]
    plane = patches_LC.T.reshape(1, -1, *trained)
    plane = F.interpolate(plane.float(), size=grid, mode="bicubic", align_corners=False)
    return torch.cat([first_1C, plane[0].flatten(1).T.to(first_1C)])
