"""The two towers of the small CLIP, with the weights' names and the arithmetic of open_clip, which takes seconds to
import and is needed for training alone.

Shapes: B images or texts, T tokens, W width of the text tower, D dimensions of the common space, h x w cells.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.errors import CheckpointError
from tlg.network.backbones.tiny import TinyTrunk

TOWER = "tlg_tiny_image_tower"


class TinyImageTower(nn.Module):
    """`TinyTrunk` as timm knows a model: `forward_features` gives a map at stride 8, `forward` its mean."""

    fine, coarse = 4, 7
    num_features = TinyTrunk.channels[fine] + TinyTrunk.channels[coarse]

    def __init__(self) -> None:
        super().__init__()
        self.trunk = TinyTrunk()
        self.default_cfg = {"pool_size": None}

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        """Part of timm's interface; this tower never has a classifier and always pools by the mean."""

    def forward_features(self, images_B3HW: Tensor) -> Tensor:
        maps = self.trunk(images_B3HW)
        fine_BChw = torch.relu(maps[self.fine])
        coarse_BChw = F.interpolate(torch.relu(maps[self.coarse]), fine_BChw.shape[-2:], mode="bilinear")
        return torch.cat([fine_BChw, coarse_BChw], 1)

    def forward(self, images_B3HW: Tensor) -> Tensor:
        return self.forward_features(images_B3HW).mean((2, 3))


class ImageSide(nn.Module):
    """The tower and the projection into the common space."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.trunk = TinyImageTower()
        self.head = nn.Sequential(OrderedDict(proj=nn.Linear(TinyImageTower.num_features, embed_dim, bias=False)))

    def forward(self, images_B3HW: Tensor) -> Tensor:
        return self.head(self.trunk(images_B3HW))


class Block(nn.Module):
    """Attention, then two layers, each added to what comes in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        layers = OrderedDict(c_fc=nn.Linear(width, 4 * width), gelu=nn.GELU(), c_proj=nn.Linear(4 * width, width))
        self.mlp = nn.Sequential(layers)

    def forward(self, tokens_BTW: Tensor, mask_TT: Tensor) -> Tensor:
        normed_BTW = self.ln_1(tokens_BTW)
        tokens_BTW = (
            tokens_BTW + self.attn(normed_BTW, normed_BTW, normed_BTW, need_weights=False, attn_mask=mask_TT)[0]
        )
        return tokens_BTW + self.mlp(self.ln_2(tokens_BTW))


class Blocks(nn.Module):
    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def forward(self, tokens_BTW: Tensor, mask_TT: Tensor) -> Tensor:
        for block in self.resblocks:
            tokens_BTW = block(tokens_BTW, mask_TT)
        return tokens_BTW


class TinyTowers(nn.Module):
    """What `open_clip.CLIP(**config)` is for the configs that the recipe writes."""

    attn_mask: Tensor

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        text, tower = config["text_cfg"], config["vision_cfg"].get("timm_model_name")
        if tower != TOWER:
            raise CheckpointError(f"the model's CLIP has an image tower {tower!r}; expected {TOWER!r}")
        width, embed_dim = text["width"], config["embed_dim"]
        self.context_length = text["context_length"]
        self.visual = ImageSide(embed_dim)
        self.token_embedding = nn.Embedding(text["vocab_size"], width)
        self.positional_embedding = nn.Parameter(torch.empty(self.context_length, width))
        self.transformer = Blocks(width, text["heads"], text["layers"])
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(float(config["init_logit_scale"])))
        self.logit_bias = nn.Parameter(torch.tensor(float(config["init_logit_bias"])))
        later_TT = torch.full((self.context_length, self.context_length), float("-inf")).triu(1)
        self.register_buffer("attn_mask", later_TT, persistent=False)

    def encode_image(self, images_B3HW: Tensor) -> Tensor:
        return self.visual(images_B3HW)

    def encode_text(self, tokens_BT: Tensor) -> Tensor:
        """The vector at the end token, which is the highest."""
        states_BTW = self.token_embedding(tokens_BT) + self.positional_embedding
        states_BTW = self.ln_final(self.transformer(states_BTW, self.attn_mask))
        ends_B = tokens_BT.argmax(dim=-1)
        return states_BTW[torch.arange(len(states_BTW), device=states_BTW.device), ends_B] @ self.text_projection
