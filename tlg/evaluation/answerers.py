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
from tlg.evidence.names.said import borne_out, said
from tlg.evidence.own_maps import OwnMaps, Shown, own_maps
from tlg.evidence.reach import Witnesses
from tlg.evidence.readiness import readiness
from tlg.evidence.text_encoder import ClassText, TextEncoder
from tlg.network.backbones.backbone import Backbone
from tlg.network.features import Features
from tlg.network.named import Named
from tlg.network.text import TextVectors
from tlg.network.tlg import TLG
from tlg.pictures import to_network_input
from tlg.training.batches.feature_bank import keep, weights_digest
from tlg.training.spec import Part

REMEMBERED_PHOTOS = 400
# What becomes of a class's readiness where a part of it is left out.
LEFT_OUT: dict[Part | None, dict[str, Any]] = {
    "extent": {"extent": 0.0},
    "reach": {"asks_picture": False},
}
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

    def _image(self, photo: Photo, mirrored: bool) -> Tensor:
        image = to_network_input(open_image(photo.image), self.side)[None].to(self.device)
        return image.flip(-1) if mirrored else image


class Network:
    """TLG. `masks` gives the supports' true masks in place of their pseudo-masks, to see what these cost; `source` says
    who knows a name."""

    def __init__(
        self,
        net: TLG,
        prior: Prior | None,
        text: TextEncoder | None,
        features: PhotoFeatures,
        mirrored: bool,
        masks: MaskReader | None,
        source: Callable[[str], NameEvidence | None],
        without: Part | None = None,
    ) -> None:
        self.net, self.prior, self.text, self.features = net.eval(), prior, text, features
        self.mirrored, self.masks, self.source, self.without = mirrored, masks, source, without
        self.reads_support_masks = masks is not None

    def answer(self, episodes: Sequence[Episode], names: Sequence[str]) -> list[np.ndarray]:
        text = None if self.text is None else self.text.encode([ClassText(name) for name in names])
        text = None if text is None else text.to(self.features.device)
        margin_BHW = self._margin(episodes, names, text, mirrored=False)
        if self.mirrored:
            margin_BHW = margin_BHW + self._margin(episodes, names, text, mirrored=True).flip(-1)
        return [
            at_own_size(margin_HW, self.features.size(episode.query)).cpu().numpy() > 0
            for margin_HW, episode in zip(margin_BHW, episodes, strict=True)
        ]

    @torch.inference_mode()
    def _margin(
        self, episodes: Sequence[Episode], names: Sequence[str], text: TextVectors | None, mirrored: bool
    ) -> Tensor:
        query = self.features.of([episode.query for episode in episodes], mirrored)
        supports = [(episode.class_id, photo) for episode in episodes for photo in episode.supports]
        support = self.features.of([photo for _, photo in supports], mirrored)
        sources = self._sources(episodes, names, mirrored)

        def shots_of(row: int, shots: int) -> Features:
            return support[slice(row * shots, (row + 1) * shots)]

        query_prior: Tensor | None = None
        own: list[OwnMaps] = []
        # Given masks stand in for the exemplars' own maps, so that a network that reads no others needs no prior.
        if self.prior is not None and self.net.spec.prior and (self.masks is None or self.net.reads_query_prior):
            query_prior, prior_BKHW = episode_priors(self.prior, query, support, len(support) // len(query))
            own = self._own_maps(episodes, support, prior_BKHW, sources, mirrored)
        if self.masks is not None:
            truth = [mask_at(self.masks(photo, class_id), self.features.side) for class_id, photo in supports]
            stacked = torch.stack(truth).to(self.features.device)
            masks_BKHW = (stacked.flip(-1) if mirrored else stacked).view(len(episodes), -1, *stacked.shape[-2:])
            drawn = [[Shown(mask_HW, is_drawn=True) for mask_HW in masks_KHW] for masks_KHW in masks_BKHW]
            own = [own_maps(self.net, shots_of(row, len(shown)), shown) for row, shown in enumerate(drawn)]
        is_shown = bool(own) and self.without != "own maps"
        inside = torch.stack([maps.inside for maps in own]) if is_shown else None
        outside = torch.stack([maps.outside for maps in own]) if is_shown else None
        named = self._said(episodes, query, sources, mirrored)
        logits_B2HW = self.net.episode(query, support, query_prior, inside, text, named, outside).query
        margin_BHW = logits_B2HW[:, 1] - logits_B2HW[:, 0]
        if not own or not self.net.takes_extent:
            return margin_BHW
        shots = len(support) // len(query)
        return torch.stack(
            [
                self._as_shown(
                    episode,
                    margin_HW,
                    query[[row]],
                    shots_of(row, shots),
                    maps,
                    source,
                    self.source(names[row]),
                    named.place[row, 0],
                    mirrored,
                )
                for row, (episode, margin_HW, maps, source) in enumerate(
                    zip(episodes, margin_BHW, own, sources, strict=True)
                )
            ]
        )

    def _as_shown(
        self,
        episode: Episode,
        margin_HW: Tensor,
        query: Features,
        shots: Features,
        own: OwnMaps,
        source: NameEvidence | None,
        asked: NameEvidence | None,
        place_HW: Tensor,
        mirrored: bool,
    ) -> Tensor:
        """(H, W): log-odds as an annotator has them of a class with these exemplars. `asked` knows the class's name,
        and so does `source`, unless the exemplars deny it."""
        drawn = [None if self.masks is None else mask_HW for mask_HW in own.inside]

        def named(shot: int) -> Named:
            return self._said([replace(episode, query=episode.supports[shot])], shots[[shot]], [source], mirrored)

        def prior_map() -> Tensor:
            assert self.prior is not None
            return self.prior.fit([(shots[[k]], 0, mask_HW) for k, mask_HW in enumerate(drawn)]).maps(query)[0, 0]

        def name_odds() -> float:
            if asked is None:
                return 0.0
            return float(asked.odds(self.features.seen_by(asked, [episode.query], mirrored))[0, 0])

        by_name_HW = None if source is None else place_HW.sigmoid()
        witnesses = Witnesses(self.net.finest(query)[0], prior_map, by_name_HW, name_odds)
        told = readiness(self.net, self.prior, shots, own, drawn, named)
        return replace(told, **LEFT_OUT.get(self.without, {})).applied(margin_HW, witnesses)

    def _sources(self, episodes: Sequence[Episode], names: Sequence[str], mirrored: bool) -> list[NameEvidence | None]:
        """For every episode whoever knows its class's name; None where nobody does, or its exemplars deny it."""
        sources: list[NameEvidence | None] = []
        for episode, name in zip(episodes, names, strict=True):
            source = self.source(name)
            if source is not None:
                odds_K1 = source.odds(self.features.seen_by(source, episode.supports, mirrored))
                source = source if borne_out(source, odds_K1, [0] * len(episode.supports))[0] else None
            sources.append(source)
        return sources

    def _said(
        self, episodes: Sequence[Episode], query: Features, sources: Sequence[NameEvidence | None], mirrored: bool
    ) -> Named:
        """What each query's own name says of it."""
        place_BHW, picture_B = query.maps[0].new_zeros((len(query), *query.size)), query.maps[0].new_zeros(len(query))
        taught_B = torch.zeros_like(picture_B)
        for row, (episode, source) in enumerate(zip(episodes, sources, strict=True)):
            if source is not None:
                seen_1 = self.features.seen_by(source, [episode.query], mirrored)
                of_row = said(source, seen_1, [0], source.known, query.size)
                place_BHW[row], picture_B[row], taught_B[row] = (
                    of_row.place[0, 0],
                    of_row.picture[0, 0],
                    of_row.taught[0, 0],
                )
        return Named(place_BHW[:, None], picture_B[:, None], taught_B[:, None])

    def _own_maps(
        self,
        episodes: Sequence[Episode],
        support: Features,
        prior_BKHW: Tensor,
        sources: Sequence[NameEvidence | None],
        mirrored: bool,
    ) -> list[OwnMaps]:
        """The exemplars' own maps, with what is known of the classes' names."""
        own = []
        for row, (episode, prior_KHW, source) in enumerate(zip(episodes, prior_BKHW, sources, strict=True)):
            names: list[Tensor | None] = [None] * len(prior_KHW)
            if source is not None:
                names = [source.map(self.features.seen_by(source, [photo], mirrored), 0) for photo in episode.supports]
            is_taught = source is not None and taught_names(source)[0]
            shown = [Shown(map_HW, False, name, is_taught) for map_HW, name in zip(prior_KHW, names, strict=True)]
            shots = support[slice(row * len(shown), (row + 1) * len(shown))]
            own.append(own_maps(self.net, shots, shown))
        return own


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
