"""DINOv2's weights under timm's names, from a file of its publisher: `hf://facebook/dinov2-small/model.safetensors`.

The hub's files follow the transformers library; timm keeps query, key and value in one matrix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# What every such file holds, whatever it is wrapped in.
SIGN = "embeddings.patch_embeddings.projection.weight"
WRAPPER = "dinov2."
# A hub's name -> timm's, tried in this order.
NAMES = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.(weight|bias)", r"patch_embed.proj.\1"),
    (r"encoder\.layer\.(\d+)\.(norm[12]\.(?:weight|bias))", r"blocks.\1.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(weight|bias)", r"blocks.\1.attn.proj.\2"),
    (r"encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
    (r"encoder\.layer\.(\d+)\.(mlp\.fc[12]\.(?:weight|bias))", r"blocks.\1.\2"),
    (r"encoder\.layer\.(\d+)\.mlp\.weights_in\.(weight|bias)", r"blocks.\1.mlp.fc1.\2"),
    (r"encoder\.layer\.(\d+)\.mlp\.weights_out\.(weight|bias)", r"blocks.\1.mlp.fc2.\2"),
    (r"layernorm\.(weight|bias)", r"norm.\1"),
)
QUERY = re.compile(r"encoder\.layer\.(\d+)\.attention\.attention\.query\.(weight|bias)")
# Of training alone: what stood in for patches that were hidden.
UNUSED = "embeddings.mask_token"


def with_timm_names(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The state dict under timm's names, where it has the hub's; any other comes back as it is."""
    bare = {name.removeprefix(WRAPPER): value for name, value in state.items()}
    if SIGN not in bare:
        return state
    renamed: dict[str, Tensor] = {}
    for name, value in bare.items():
        if found := QUERY.fullmatch(name):
            parts = [bare.get(name.replace(".query.", f".{part}.")) for part in ("query", "key", "value")]
            joined = [part for part in parts if part is not None]
            renamed[f"blocks.{found[1]}.attn.qkv.{found[2]}"] = torch.cat(joined)
        elif not re.search(r"\.attention\.attention\.(key|value)\.", name) and name != UNUSED:
            renamed[timm_name(name)] = value
    return renamed


def timm_name(name: str) -> str:
    """An entry that nobody knows keeps its name, so that an error can tell it."""
    for pattern, instead in NAMES:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, instead, name)
    return name
