"""What a backbone is: a frozen trunk that gives a pyramid of feature maps, shallow to deep.

Shapes: B images, H x W pixels, C channels of the deepest map, N classes of the trunk's own classifier, I vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from torch import Tensor, nn

from tlg.errors import CheckpointError
from tlg.network.features import Features
from tlg.pictures import IMAGENET_MEAN, IMAGENET_STD

# What torchvision's checkpoints hold beside the trunk.
CLASSIFIER_PREFIXES = ("fc.", "classifier.")


class Backbone(nn.Module):
    """A frozen trunk: in eval mode for good, without a trainable parameter.

    `forward` takes ImageNet-normalised images (B, 3, H, W), as `tlg.pictures.to_network_input` makes them, and gives
    maps (B, channels[i], ~H / strides[i], ~W / strides[i]). A trunk that was trained on another normalisation names it
    in `mean` and `std` and passes its images through `as_trained`.
    Maps are raw where the trunk allows it: taken before the activation that follows.
    """

    name: str
    # The modules a caller chose to tap, level by level; None where the maps are the backbone's own choice.
    taps: tuple[tuple[str, ...], ...] | None = None
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    # The normalisation that the weights were trained on, for values in 0..1.
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    # Names of the classes of the trunk's own classifier; a trunk without a classifier has none.
    class_names: tuple[str, ...] = ()

    def freeze(self) -> Backbone:
        self.requires_grad_(False)
        return self.train(False)

    def train(self, mode: bool = True) -> Backbone:
        """Stays in eval mode whatever is asked: frozen statistics are part of the contract."""
        return super().train(False)

    @property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the maps by level, finest level first: maps of one stride, where strides differ."""
        indexed = groupby(range(len(self.strides)), key=lambda index: self.strides[index])
        return tuple(tuple(indices) for _, indices in indexed)

    def as_trained(self, images_B3HW: Tensor) -> Tensor:
        """ImageNet-normalised images in the normalisation that the weights were trained on."""
        if (self.mean, self.std) == (IMAGENET_MEAN, IMAGENET_STD):
            return images_B3HW
        mean, std, own_mean, own_std = (
            images_B3HW.new_tensor(values)[:, None, None]
            for values in (IMAGENET_MEAN, IMAGENET_STD, self.mean, self.std)
        )
        return images_B3HW * (std / own_std) + (mean - own_mean) / own_std

    def encode(self, images_B3HW: Tensor) -> Features:
        """One pass: the pyramid, and the class token of a trunk that has one."""
        return Features(self(images_B3HW), (images_B3HW.shape[-2], images_B3HW.shape[-1]))

    def descriptor(self, features: Features) -> Tensor:
        """One vector (B, C) an image: the class token, or the mean of the deepest map."""
        return features.maps[-1].mean(dim=(2, 3)) if features.token is None else features.token

    def classify(self, features: Features) -> Tensor:
        """Logits (B, N) of the trunk's own classifier, in the order of `class_names`."""
        return self.class_logits(self.descriptor(features))

    def class_maps(self, features: Features) -> Tensor:
        """Logits (B, N, h, w): what the trunk's own classifier says of every place of the deepest map alone."""
        places_BhwC = features.maps[-1].permute(0, 2, 3, 1)
        return self.class_logits(places_BhwC.flatten(0, 2)).unflatten(0, places_BhwC.shape[:3]).permute(0, 3, 1, 2)

    def class_logits(self, vectors_IC: Tensor) -> Tensor:
        """Logits (I, N) of descriptors, or of places of the deepest map."""
        raise CheckpointError(
            f"backbone {self.name!r} has no classifier; choose a backbone whose `class_names` are not empty"
        )

    def load_weights(self, state: Mapping[str, Tensor], source: str) -> None:
        """Fills the backbone from the state dict of its published trunk; `source` is named in errors."""
        fill_trunk(self, state, self.name, source)


def fill_trunk(trunk: nn.Module, state: Mapping[str, Tensor], name: str, source: str) -> None:
    """Fills a trunk from a state dict of the same names, ignoring a classifier that the trunk lacks, nothing else."""
    wanted = trunk.state_dict()
    given = {key: value for key, value in state.items() if key in wanted or not key.startswith(CLASSIFIER_PREFIXES)}
    # Very old torchvision files lack the batch counters, which nothing reads in eval mode.
    missing = [key for key in wanted if key not in given and not key.endswith("num_batches_tracked")]
    unknown = [key for key in given if key not in wanted]
    if missing or unknown:
        raise CheckpointError(
            f"{source} is not a {name} state dict: {len(missing)} of {len(wanted)} entries are missing"
            f" (such as {missing[:2]}), {len(unknown)} are unknown (such as {unknown[:2]})"
        )
    for key, value in given.items():
        if value.shape != wanted[key].shape:
            raise CheckpointError(
                f"{source}: {key} has shape {tuple(value.shape)}, {name} needs {tuple(wanted[key].shape)}"
            )
    trunk.load_state_dict(given, strict=False)
