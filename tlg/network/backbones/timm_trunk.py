"""Any convolutional network or plain vision transformer of timm: `timm/<model>`.

The rule for the pyramid, where nobody chooses taps:
- a convolutional network gives the first and the last block of every run of blocks with one shape, at strides 8, 16
  and 32; a level is a stride;
- a plain vision transformer gives the last block of every sixth of its depth, two to a level: early, middle, late.
In both the deepest map is the map that the model's own classifier reads.

Shapes: B images, H x W pixels, T tokens of which the first few are no places, C channels, I vectors.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.errors import CheckpointError
from tlg.network.backbones.backbone import Backbone, fill_trunk
from tlg.network.backbones.dinov2_names import with_timm_names
from tlg.network.backbones.quick_imports import compiler_on_demand
from tlg.network.features import Features

with compiler_on_demand():
    import timm
    from timm.data import ImageNetInfo, infer_imagenet_subset

LEVEL_STRIDES = (8, 16, 32)
VIT_LEVELS, VIT_TAPS_OF_A_LEVEL = 3, 2
# timm's files of plain transformers whose position embeddings can follow the picture's size.
PLAIN_VITS = ("vision_transformer", "eva")
# These weights were trained on (x - 127) / 128 of bytes; timm writes down another normalisation.
LITE_MODELS = "tf_efficientnet_lite"
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
# Side of the picture that tells what a trunk's blocks give.
TRIAL_SIDE = 128

# Outputs of the pass that runs in this context: threads that share a backbone do not see one another's.
_outputs: ContextVar[dict[str, Tensor] | None] = ContextVar("outputs", default=None)


class Tap:
    """A forward hook that hands a module's output to the pass that is running."""

    def __init__(self, module_name: str) -> None:
        self.module_name = module_name

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        outputs = _outputs.get()
        if outputs is not None and isinstance(output, Tensor):
            outputs[self.module_name] = output


class TimmBackbone(Backbone):
    def __init__(self, model: str, taps: Sequence[Sequence[str]] | None = None) -> None:
        super().__init__()
        self.name = f"timm/{model}"
        self.taps = None if taps is None else tuple(map(tuple, taps))
        # Any: what timm's models share is agreed among them, not written down as a type.
        self.trunk: Any = create_trunk(model).eval()
        for module in self.trunk.modules():
            if getattr(module, "inplace", False):
                module.inplace = False  # a map that was handed out must not be overwritten by the next layer
        config = self.trunk.pretrained_cfg
        self.mean, self.std = tuple(config["mean"]), tuple(config["std"])
        if model.startswith(LITE_MODELS):
            self.mean, self.std = LITE_MEAN, LITE_STD
        # Side of a transformer's patch; None for a convolutional network.
        self.patch = patch_side(self.trunk, self.name)
        levels = self._levels_by_rule() if taps is None else self._levels_of(taps)
        # The tapped modules in the order of their maps; the deepest map comes from no tap.
        self.tapped = tuple(name for level in levels for name in level if name is not None)
        self._levels = positions(levels)
        self._tap(self.tapped)
        outputs, deepest = self._trial()
        maps = [*(outputs[name] for name in self.tapped), deepest]
        self.channels = tuple(plane.shape[1] for plane in maps)
        self.strides = tuple(round(TRIAL_SIDE / plane.shape[2]) for plane in maps)

    @property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        return self._levels

    @cached_property  # read from a file of timm's
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        subset = infer_imagenet_subset(self.trunk) if self.trunk.num_classes else None
        return () if subset is None else tuple(ImageNetInfo(subset).label_descriptions())

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        return self.encode(images_B3HW).maps

    def encode(self, images_B3HW: Tensor) -> Features:
        size = (images_B3HW.shape[-2], images_B3HW.shape[-1])
        images_B3HW = self._in_patches(self.as_trained(images_B3HW))
        outputs, deepest = self._run(images_B3HW)
        maps = [self._map(outputs[name], images_B3HW) for name in self.tapped]
        has_token = self.patch is not None and getattr(self.trunk, "cls_token", None) is not None
        return Features([*maps, self._map(deepest, images_B3HW)], size, deepest[:, 0] if has_token else None)

    def class_logits(self, vectors_IC: Tensor) -> Tensor:
        if not self.class_names:
            return super().class_logits(vectors_IC)
        if self.patch is None:
            return self.trunk.forward_head(vectors_IC[:, :, None, None])
        # A transformer's head reads its class token or the mean of its places: here each of them is the vector.
        return self.trunk.forward_head(vectors_IC[:, None].expand(-1, self.trunk.num_prefix_tokens + 1, -1))

    def load_weights(self, state: Mapping[str, Tensor], source: str) -> None:
        fill_trunk(self.trunk, with_names_of(self.trunk, with_timm_names(state)), self.name, source)

    # ---- pictures in, maps out

    def _run(self, images_B3HW: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """What the tapped modules give, by name, and what the classifier reads."""
        outputs: dict[str, Tensor] = {}
        running = _outputs.set(outputs)
        try:
            return outputs, self.trunk.forward_features(images_B3HW)
        finally:
            _outputs.reset(running)

    def _in_patches(self, images_B3HW: Tensor) -> Tensor:
        """For a transformer: images of the nearest size that patches fill."""
        if self.patch is None:
            return images_B3HW
        size = [max(1, round(side / self.patch)) * self.patch for side in images_B3HW.shape[-2:]]
        if size == list(images_B3HW.shape[-2:]):
            return images_B3HW
        return F.interpolate(images_B3HW, size=size, mode="bilinear", align_corners=False)

    def _map(self, output: Tensor, images_B3HW: Tensor) -> Tensor:
        """A block's output as a map (B, C, h, w)."""
        if self.patch is not None:
            grid = [side // self.patch for side in images_B3HW.shape[-2:]]
            return output[:, self.trunk.num_prefix_tokens :].transpose(1, 2).unflatten(2, grid)
        return output.permute(0, 3, 1, 2) if getattr(self.trunk, "output_fmt", "NCHW") == "NHWC" else output

    # ---- the choice of maps

    def _levels_of(self, taps: Sequence[Sequence[str]]) -> list[list[str | None]]:
        known = dict(self.trunk.named_modules())
        for name in (name for level in taps for name in level):
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=3)
                hint = f"; the nearest are {', '.join(nearest)}" if nearest else ""
                raise CheckpointError(f"backbone {self.name!r} has no module {name!r} to tap{hint}")
        if len(taps) < 2 or not all(taps):
            raise CheckpointError(f"backbone {self.name!r} needs taps of two levels or more, finest first: {taps}")
        levels: list[list[str | None]] = [list(level) for level in taps]
        levels[-1].append(None)
        return levels

    def _levels_by_rule(self) -> list[list[str | None]]:
        names = list(block_names(self.trunk))
        if self.patch is not None:
            sixths = VIT_LEVELS * VIT_TAPS_OF_A_LEVEL
            ends = [names[round((part + 1) * len(names) / sixths) - 1] for part in range(sixths)]
            chosen: list[str | None] = [*ends[:-1], None]
            return [chosen[start : start + VIT_TAPS_OF_A_LEVEL] for start in range(0, sixths, VIT_TAPS_OF_A_LEVEL)]
        self._tap(names)
        outputs, deepest = self._trial()
        levels: dict[int, list[str | None]] = {stride: [] for stride in LEVEL_STRIDES}
        shapes = {name: tuple(outputs[name].shape[1:]) for name in names if name in outputs}
        for shape, run in groupby(shapes, key=shapes.__getitem__):
            first, *others = run
            stride = TRIAL_SIDE // shape[1]
            if stride in levels:
                levels[stride] += [first, *others[-1:]]
        last_stride = TRIAL_SIDE // deepest.shape[2]
        found = [stride for stride in LEVEL_STRIDES if levels[stride]]
        if len(found) < 2 or last_stride not in levels:
            raise CheckpointError(
                f"backbone {self.name!r} gives no pyramid by the rule (blocks at strides {found} of {LEVEL_STRIDES},"
                f" the deepest map at {last_stride}); name the modules to tap, level by level"
            )
        deepest_level = levels[last_stride]
        if deepest_level and shapes[deepest_level[-1]] == tuple(deepest.shape[1:]):  # type: ignore[index]
            deepest_level.pop()  # the last block gives the deepest map itself
        deepest_level.append(None)
        return [levels[stride] for stride in LEVEL_STRIDES if levels[stride]]

    def _tap(self, names: Sequence[str]) -> None:
        """Hooks on these modules and on no others."""
        modules = dict(self.trunk.named_modules())
        for module in modules.values():
            for key in [key for key, hook in module._forward_hooks.items() if isinstance(hook, Tap)]:
                del module._forward_hooks[key]
        for name in names:
            modules[name].register_forward_hook(Tap(name))

    @torch.no_grad()
    def _trial(self) -> tuple[dict[str, Tensor], Tensor]:
        """The maps that tapped modules give of a blank picture, by name, and the deepest map."""
        blank_13HW = self._in_patches(torch.zeros(1, 3, TRIAL_SIDE, TRIAL_SIDE))
        try:
            outputs, deepest = self._run(blank_13HW)
        except (AssertionError, RuntimeError) as error:
            raise CheckpointError(
                f"backbone {self.name!r} takes no picture of {TRIAL_SIDE} x {TRIAL_SIDE} ({error}); expected a"
                " convolutional network or a plain vision transformer"
            ) from error
        dims = 4 if self.patch is None else 3
        maps = {name: self._map(output, blank_13HW) for name, output in outputs.items() if output.dim() == dims}
        return maps, self._map(deepest, blank_13HW)


def create_trunk(model: str) -> Any:
    if not timm.is_model(model):
        nearest = difflib.get_close_matches(model, timm.list_models(), n=3)
        raise CheckpointError(
            f"timm {timm.__version__} has no model {model!r}; the nearest are {', '.join(nearest) or 'none'}"
        )
    plain_vit = timm.models.model_entrypoint(model).__module__.rpartition(".")[2] in PLAIN_VITS
    return timm.create_model(model, dynamic_img_size=True) if plain_vit else timm.create_model(model)


def patch_side(trunk: Any, name: str) -> int | None:
    """The side of a plain transformer's patches; None for a convolutional network."""
    if not hasattr(trunk, "num_prefix_tokens"):
        return None
    height, width = trunk.patch_embed.patch_size
    if height != width:
        raise CheckpointError(f"backbone {name!r} has patches of {height} x {width}; square patches are needed")
    return height


def block_names(module: nn.Module, prefix: str = "") -> Iterator[str]:
    """Dotted names of the modules that follow one another in the trunk's sequences, however these are nested."""
    for name, child in module.named_children():
        if name == "downsample":
            continue  # it belongs to the block that follows
        if is_sequence(child):
            yield from block_names(child, f"{prefix}{name}.")
        elif prefix:
            yield f"{prefix}{name}"


def is_sequence(module: nn.Module) -> bool:
    return type(module) in (nn.Sequential, nn.ModuleList) or type(module).__name__.endswith("Stage")


def positions(levels: Sequence[Sequence[object]]) -> tuple[tuple[int, ...], ...]:
    """The levels with each entry replaced by its place in the whole."""
    starts = [sum(map(len, levels[:depth])) for depth in range(len(levels))]
    return tuple(tuple(range(start, start + len(level))) for start, level in zip(starts, levels, strict=True))


def with_names_of(trunk: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The state dict under the trunk's names, where another port of the same network has its entries in their order."""
    wanted = trunk.state_dict()
    if state.keys() == wanted.keys() or [weights.shape for weights in state.values()] != [
        weights.shape for weights in wanted.values()
    ]:
        return state
    return dict(zip(wanted, state.values(), strict=True))
