"""Ways to answer few-shot episodes: the network, and the baselines it is compared with.

Only those that say so in `reads_support_masks` are handed a way to read a support's mask; none can read a query's.
Shapes: B episodes, S shots, H x W the input size, h x w a map's grid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.datasets.episodes import Episode, Photo, open_image
from tlg.errors import SpecError
from tlg.evidence import Prior
from tlg.evidence.episode_priors import episode_priors
from tlg.evidence.names.evidence import NameEvidence, looks_at_pictures, taught_names
from tlg.evidence.names.said import borne_out
from tlg.evidence.own_maps import Shown
from tlg.evidence.text_encoder import ClassText, TextEncoder
from tlg.network.backbones.backbone import Backbone
from tlg.network.features import Features
from tlg.network.text import TextVectors
from tlg.network.tlg import TLG
from tlg.pictures import to_network_input
from tlg.training.batches.feature_bank import keep, weights_digest

REMEMBERED_PHOTOS = 400
MaskReader = Callable[[Photo, int], np.ndarray]


class Answerer(Protocol):
    """Answers a batch of episodes with equally many shots: one mask per query, at the query's own size."""

    reads_support_masks: bool

    def answer(self, episodes: Sequence[Episode], names: Sequence[str]) -> list[np.ndarray]: ...


class AllForeground:
    """Everything is the class."""

    reads_support_masks = False

    def answer(self, episodes: Sequence[Episode], names: Sequence[str]) -> list[np.ndarray]:
        return [np.ones(open_image(episode.query.image).shape[:2], bool) for episode in episodes]


class PhotoFeatures:
    """Features of photographs, remembered: queries and supports of an evaluation repeat.

    With a folder they are also kept there, for other evaluations of the same photographs and backbone.
    """

    def __init__(self, backbone: Backbone, side: int, device: torch.device, folder: Path | None = None) -> None:
        self.backbone, self.side, self.device, self.folder = backbone, side, device, folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._weights = weights_digest(backbone)
        self._one = lru_cache(REMEMBERED_PHOTOS)(self._kept)
        self.size = lru_cache(None)(photo_size)

    def _kept(self, photo: Photo, mirrored: bool) -> Features:
        if self.folder is None:
            return self._compute(photo, mirrored)
        name = f"{self._weights}, {photo.image.resolve()}, side {self.side}, mirrored {mirrored}"
        file = self.folder / f"{hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}.pt"
        if not file.exists():
            keep(file, [level.cpu().clone() for level in self._compute(photo, mirrored).maps])
        maps = torch.load(file, weights_only=True)
        return Features([level.to(self.device) for level in maps], (self.side, self.side))

    def _compute(self, photo: Photo, mirrored: bool) -> Features:
        image = self._image(photo, mirrored).contiguous(memory_format=torch.channels_last)
        # On most processors a backbone is many times slower in half precision; a GPU is faster.
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")
        with torch.inference_mode(), half:
            maps = self.backbone(image)
        return Features([level.half() for level in maps], (self.side, self.side))

    def of(self, photos: Sequence[Photo], mirrored: bool = False) -> Features:
        return Features.cat([self._one(photo, mirrored) for photo in photos]).to(torch.float32)

    def images(self, photos: Sequence[Photo], mirrored: bool = False) -> Tensor:
        """(B, 3, H, W): the photographs themselves, as the backbone read them."""
        images = [self._image(photo, mirrored) for photo in photos]
        return torch.cat(images)

    def seen_by(self, source: NameEvidence, photos: Sequence[Photo], mirrored: bool = False) -> Any:
        """Photographs are opened for a source that looks at them."""
        features = self.of(photos, mirrored)
        is_shown = looks_at_pictures(source)
        return source.see(self.images(photos, mirrored) if is_shown else features.maps[0].new_empty(0), features)

    def answers(self, margin_BHW: Tensor, episodes: Sequence[Episode]) -> list[np.ndarray]:
        """Masks of the queries, each at its own size."""
        return [
            at_own_size(margin_HW, self.size(episode.query)).cpu().numpy() > 0
            for margin_HW, episode in zip(margin_BHW, episodes, strict=True)
        ]

    def _image(self, photo: Photo, mirrored: bool) -> Tensor:
        image = to_network_input(open_image(photo.image), self.side)[None].to(self.device)
        return image.flip(-1) if mirrored else image


class Network:
    """TLG that decodes, batch by batch. `masks` gives the supports' true masks in place of their pseudo-masks, to see
    what these cost; `source` says who knows a name."""

    def __init__(
        self,
        net: TLG,
        prior: Prior | None,
        text: TextEncoder | None,
        features: PhotoFeatures,
        mirrored: bool,
        masks: MaskReader | None,
        source: Callable[[str], NameEvidence | None],
    ) -> None:
        self.net, self.prior, self.text, self.features = net.eval(), prior, text, features
        self.mirrored, self.masks, self.source = mirrored, masks, source
        self.reads_support_masks = masks is not None

    def answer(self, episodes: Sequence[Episode], names: Sequence[str]) -> list[np.ndarray]:
        text = None if self.text is None else self.text.encode([ClassText(name) for name in names])
        text = None if text is None else text.to(self.features.device)
        margin_BHW = self._margin(episodes, names, text, mirrored=False)
        if self.mirrored:
            margin_BHW = margin_BHW + self._margin(episodes, names, text, mirrored=True).flip(-1)
        return self.features.answers(margin_BHW, episodes)

    @torch.inference_mode()
    def _margin(
        self, episodes: Sequence[Episode], names: Sequence[str], text: TextVectors | None, mirrored: bool
    ) -> Tensor:
        query = self.features.of([episode.query for episode in episodes], mirrored)
        support = self.features.of([photo for episode in episodes for photo in episode.supports], mirrored)
        query_prior: Tensor | None = None
        inside: Tensor | None = None
        if self.prior is not None and self.net.spec.prior:
            query_prior, prior_BKHW = episode_priors(self.prior, query, support, len(support) // len(query))
            inside = self._pseudo_masks(episodes, names, prior_BKHW, mirrored)
        if self.masks is not None:
            truth = [true_masks(self.masks, episode, self.features, mirrored) for episode in episodes]
            inside = torch.stack(truth)
        logits_B2HW = self.net.episode(query, support, query_prior, inside, text).query
        return logits_B2HW[:, 1] - logits_B2HW[:, 0]

    def _pseudo_masks(
        self, episodes: Sequence[Episode], names: Sequence[str], prior_BKHW: Tensor, mirrored: bool
    ) -> Tensor:
        """(B, K, H, W) of the supports, by likeness and by their class's name."""
        maps_BKHW = []
        for episode, name, prior_KHW in zip(episodes, names, prior_BKHW, strict=True):
            source = believed(self.source(name), episode, self.features, mirrored)
            pairs = zip(episode.supports, prior_KHW, strict=True)
            shown = [shown_map(source, photo, map_HW, self.features, mirrored) for photo, map_HW in pairs]
            maps_BKHW.append(torch.stack([exemplar.likely for exemplar in shown]))
        return torch.stack(maps_BKHW)


def believed(
    source: NameEvidence | None, episode: Episode, features: PhotoFeatures, mirrored: bool
) -> NameEvidence | None:
    """Whoever knows the class's name; None where nobody does, or the exemplars deny it."""
    if source is None:
        return None
    odds_K1 = source.odds(features.seen_by(source, episode.supports, mirrored))
    return source if borne_out(source, odds_K1, [0] * len(episode.supports))[0] else None


def shown_map(
    source: NameEvidence | None, photo: Photo, map_HW: Tensor, features: PhotoFeatures, mirrored: bool
) -> Shown:
    """What likeness and, where somebody knows it, the class's name say of an exemplar without a drawing."""
    if source is None:
        return Shown(map_HW)
    by_name_HW = source.map(features.seen_by(source, [photo], mirrored), 0)
    return Shown(map_HW, by_name=by_name_HW, is_taught=taught_names(source)[0])


def true_masks(masks: MaskReader, episode: Episode, features: PhotoFeatures, mirrored: bool) -> Tensor:
    """(K, H, W) of an episode's supports."""
    truth = [mask_at(masks(photo, episode.class_id), features.side) for photo in episode.supports]
    mask_KHW = torch.stack(truth).to(features.device)
    return mask_KHW.flip(-1) if mirrored else mask_KHW


class Swapped:
    """Asks another answerer the same queries with the exemplars, and the name, of another class."""

    def __init__(self, answerer: Answerer, episodes: Sequence[Episode], names: Mapping[int, str]) -> None:
        self.answerer, self.names = answerer, names
        self.reads_support_masks = answerer.reads_support_masks
        self._swapped = dict(zip(map(id, episodes), swapped(episodes), strict=True))

    def answer(self, episodes: Sequence[Episode], names: Sequence[str]) -> list[np.ndarray]:
        others = [self._swapped[id(episode)] for episode in episodes]
        return self.answerer.answer(others, [self.names[other.class_id] for other in others])


def swapped(episodes: Sequence[Episode]) -> list[Episode]:
    """Every episode with the class and the exemplars of the next episode that asks for another class."""
    swaps = []
    for start, episode in enumerate(episodes):
        following = (episodes[(start + step) % len(episodes)] for step in range(1, len(episodes)))
        other = next((candidate for candidate in following if candidate.class_id != episode.class_id), None)
        if other is None:
            raise SpecError("swapped exemplars need episodes of two classes; all of these ask for one")
        swaps.append(replace(episode, class_id=other.class_id, supports=other.supports))
    return swaps


class PriorAlone:
    """The exemplar prior, from image-level labels alone."""

    reads_support_masks = False

    def __init__(self, prior: Prior, features: PhotoFeatures) -> None:
        self.prior, self.features = prior, features

    def answer(self, episodes: Sequence[Episode], names: Sequence[str]) -> list[np.ndarray]:
        query = self.features.of([episode.query for episode in episodes])
        support = self.features.of([photo for episode in episodes for photo in episode.supports])
        maps_BHW, _ = episode_priors(self.prior, query, support, len(support) // len(query))
        return [
            at_own_size(map_HW - 0.5, self.features.size(episode.query)).cpu().numpy() > 0
            for map_HW, episode in zip(maps_BHW, episodes, strict=True)
        ]


class Prototypes:
    """Nearest of two mean vectors, inside and outside the supports' true masks."""

    reads_support_masks = True

    def __init__(self, features: PhotoFeatures, masks: MaskReader) -> None:
        self.features, self.masks = features, masks

    @torch.inference_mode()
    def answer(self, episodes: Sequence[Episode], names: Sequence[str]) -> list[np.ndarray]:
        return [self._answer(episode) for episode in episodes]

    def _answer(self, episode: Episode) -> np.ndarray:
        support_SCP = self._vectors(episode.supports)
        mask_SP = self._masks(episode, support_SCP)
        inside = F.normalize(torch.einsum("scp,sp->c", support_SCP, mask_SP), dim=0)
        outside = F.normalize(torch.einsum("scp,sp->c", support_SCP, 1 - mask_SP), dim=0)
        margin_P = (inside - outside) @ self._vectors([episode.query])[0]
        side = round(margin_P.numel() ** 0.5)
        return at_own_size(margin_P.view(side, side), self.features.size(episode.query)).cpu().numpy() > 0

    def _vectors(self, photos: Sequence[Photo]) -> Tensor:
        """Unit vectors (S, C, P) of the deeper half of the pyramid on the middle level's grid."""
        backbone = self.features.backbone
        grid = self.features.of(photos).maps[backbone.levels[1][-1]].shape[-2:]
        maps = [self.features.of(photos).maps[level[-1]] for level in backbone.levels[1:]]
        resized = [F.interpolate(F.normalize(plane, dim=1), size=grid, mode="bilinear") for plane in maps]
        return F.normalize(torch.cat(resized, dim=1).flatten(2), dim=1)

    def _masks(self, episode: Episode, like_SCP: Tensor) -> Tensor:
        side = round(like_SCP.shape[-1] ** 0.5)
        masks = [mask_at(self.masks(photo, episode.class_id), side) for photo in episode.supports]
        return torch.stack(masks).flatten(1).to(like_SCP)


def photo_size(photo: Photo) -> tuple[int, int]:
    """The photograph's own (H, W)."""
    height, width = open_image(photo.image).shape[:2]
    return height, width


def at_own_size(margin_HW: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(margin_HW[None, None].float(), size, mode="bilinear", align_corners=False)[0, 0]


def mask_at(mask_HW: np.ndarray, side: int) -> Tensor:
    """A mask (H, W) as the share of each of side x side cells that it covers."""
    return F.adaptive_avg_pool2d(torch.from_numpy(mask_HW.astype(np.float32))[None], side)[0]
