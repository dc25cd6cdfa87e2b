"""Cuts an object out of a window of a picture where little is known: some places are it for sure, some are not.

A linear classifier of features and colours is fitted in closed form to what is known and, in rounds, to its own answer
for the rest; a threshold is found in the answer; colours and edges then decide together.

Shapes: S x S the places of a window, L = S * S of them, C channels, D width of a description, P colours of a palette.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tlg.evidence.neighbours import neighbour_weights, neighbours

COLOUR_WEIGHT, BIAS = 1.0, 0.5
RIDGE, STEEPNESS = 7.0, 4.0
DECIDING_ROUNDS, COLOURS_SAY, NEIGHBOURS_SAY, EDGE_CONTRAST = 5, 1.0, 1.0, 0.05
# What was known of places beforehand counts so much beside what the fitted classifier says of them.
LEANING_KEPT = 0.5
# Of a part that the object reaches, this share may be background and lie above the object's own odds.
REACHING = 0.9
THRESHOLDS = (0.05, 0.95)
PALETTE, PALETTE_ROUNDS = 32, 6
# Colours alone are never surer than this, in logits.
COLOUR_LIMIT = 3.0
ALMOST_CERTAIN = 1e-3


@dataclass(frozen=True)
class Known:
    """What is known of every place (L,): where the object may be, where it is for sure, and what says nothing.

    A place that is neither possible nor ignored is background for sure. Each of the `reached` parts holds some of it.
    """

    possible: Tensor  # bool
    certain: Tensor  # bool
    ignored: Tensor  # bool
    reached: Sequence[Tensor] = ()  # bool

    def held(self, object_L: Tensor) -> Tensor:
        """An answer made to agree with what is known."""
        return torch.where(self.certain, 1.0, object_L * self.possible)


def cut_out(
    known: Known, start_L: Tensor, leaning_L: Tensor, features_1CSS: Tensor, colours_13SS: Tensor, rounds: int
) -> Tensor:
    """(S, S): the odds that a place is the object; `start_L` says what to believe first, and `leaning_L`, log-odds,
    where the object rather is, whatever the picture's own places say."""
    places_LD = descriptions(features_1CSS, colours_13SS)
    object_L = known.held(torch.sigmoid(torch.logit(start_L, ALMOST_CERTAIN) + leaning_L))
    for _ in range(rounds):
        said_L = STEEPNESS * separation(places_LD, object_L, ~known.ignored)
        object_L = known.held(torch.sigmoid(said_L + LEANING_KEPT * leaning_L))
    return decide(known, object_L, colours_13SS).unflatten(0, features_1CSS.shape[-2:])


def descriptions(features_1CSS: Tensor, colours_13SS: Tensor) -> Tensor:
    """(L, D): features, and colours with their squares and products, each of them as long as its weight says."""
    features_LC = features_1CSS.flatten(2)[0].T
    colour_L3 = colours_13SS.flatten(2)[0].T
    colour_L3 = colour_L3 - colour_L3.mean(0)
    colour_L3 = colour_L3 / colour_L3.std().clamp_min(1e-6)
    red, green, blue = colour_L3.T
    products_L3 = torch.stack([red * green, green * blue, red * blue], 1)
    colours_L9 = torch.cat([colour_L3, colour_L3.square() - 1, products_L3], 1)
    bias_L1 = torch.full_like(red[:, None], BIAS)
    centred_LC = features_LC - features_LC.mean(0)
    return torch.cat([of_length_one(centred_LC), of_length_one(colours_L9) * COLOUR_WEIGHT**0.5, bias_L1], 1)


def of_length_one(rows_LD: Tensor) -> Tensor:
    """Rows scaled together, so that their mean square length is 1."""
    return rows_LD / rows_LD.square().sum(1).mean().sqrt().clamp_min(1e-6)


def separation(places_LD: Tensor, object_L: Tensor, counted_L: Tensor) -> Tensor:
    """(L,) about -1 on the background to 1 on the object: ridge regression, both sides of the same weight in all."""
    weight_L = counted_L * (
        object_L / (object_L * counted_L).sum().clamp_min(1.0)
        + (1 - object_L) / ((1 - object_L) * counted_L).sum().clamp_min(1.0)
    )
    weighed_LD = places_LD * weight_L[:, None]
    gram_DD = places_LD.T @ weighed_LD
    gram_DD.diagonal().add_(RIDGE * weight_L.sum() / gram_DD.shape[0])
    return places_LD @ torch.linalg.solve(gram_DD, weighed_LD.T @ (2 * object_L - 1))


def decide(known: Known, object_L: Tensor, colours_13SS: Tensor) -> Tensor:
    """(L,): even odds moved to the threshold, then rounds in which colours and alike neighbours have their say."""
    logit_L = torch.logit(object_L, ALMOST_CERTAIN) - torch.logit(threshold(known, object_L))
    weight_KSS = neighbour_weights(colours_13SS, EDGE_CONTRAST)[0]
    colour_L = palette(colours_13SS.flatten(2)[0].T)
    object_L = known.held(torch.sigmoid(logit_L))
    for _ in range(DECIDING_ROUNDS):
        background_L = (1 - object_L) * ~known.ignored
        leaning_11SS = (2 * object_L - 1).view(1, 1, *colours_13SS.shape[-2:])
        around_L = (neighbours(leaning_11SS)[0, 0] * weight_KSS).sum(0).flatten()
        said_L = COLOURS_SAY * colour_odds(colour_L, object_L, background_L) + NEIGHBOURS_SAY * around_L
        object_L = known.held(torch.sigmoid(logit_L + said_L))
    return object_L


def threshold(known: Known, object_L: Tensor) -> Tensor:
    """Where the answer falls into two, and not above what the parts that the object reaches can show."""
    reached = [object_L[part_L].quantile(REACHING) for part_L in known.reached if part_L.any()]
    return torch.stack([otsu(object_L[known.possible]), *reached]).amin().clamp(*THRESHOLDS)


def otsu(values_L: Tensor) -> Tensor:
    """The threshold that leaves the two sides most alike within."""
    ranked = values_L.sort().values
    below = torch.arange(1, len(ranked), device=ranked.device)
    if not len(below):
        return ranked.new_tensor(0.5)
    lower, upper = ranked.cumsum(0)[:-1] / below, (ranked.sum() - ranked.cumsum(0)[:-1]) / (len(ranked) - below)
    best = (below * (len(ranked) - below) * (upper - lower).square()).argmax()
    return (ranked[best] + ranked[best + 1]) / 2


def palette(colour_L3: Tensor) -> Tensor:
    """(L,) the number of each place's colour among PALETTE of the window's: k-means from places spread evenly."""
    spread = (torch.arange(PALETTE, dtype=torch.float64) * 0.6180339887498949 + 0.5) % 1.0
    centre_P3 = colour_L3[(spread * len(colour_L3)).long().to(colour_L3.device)]
    for _ in range(PALETTE_ROUNDS):
        nearest_L = torch.cdist(colour_L3, centre_P3).argmin(1)
        count_P = torch.bincount(nearest_L, minlength=PALETTE).clamp_min(1)
        centre_P3 = torch.zeros_like(centre_P3).index_add_(0, nearest_L, colour_L3) / count_P[:, None]
    return torch.cdist(colour_L3, centre_P3).argmin(1)


def colour_odds(colour_L: Tensor, object_L: Tensor, background_L: Tensor) -> Tensor:
    """(L,): how much likelier the colour is on the object than beside it, as logits."""
    share = [
        (torch.zeros(PALETTE, device=colour_L.device).index_add_(0, colour_L, weight_L) + 1)
        / (weight_L.sum() + PALETTE)
        for weight_L in (object_L, background_L)
    ]
    return (share[0] / share[1]).log()[colour_L].clamp(-COLOUR_LIMIT, COLOUR_LIMIT)
