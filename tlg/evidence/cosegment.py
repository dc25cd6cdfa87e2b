"""Pictures of one class explain one another: places vote for the places they resemble, here and elsewhere.

Shapes: B queries, K exemplars of a class, P places of an exemplar, T = K * P, L places of a query, D descriptor width.
Scores are in deviations of one picture; weights are in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Likeness between pictures must be sharp (few places match), within a picture broad (a whole object holds together).
VOTE_TEMPERATURE = 0.07
WALK_TEMPERATURE = 0.12
WALK_STEPS = 3
VOTE_WEIGHT = 2.0
ROUNDS = 3
# How a score becomes a weight: even odds at the threshold, in deviations.
THRESHOLD = 0.4
SLOPE = 3.0


def standardised(score: Tensor) -> Tensor:
    """Mean 0, deviation 1 over the last axis; a constant score becomes 0."""
    centred = score - score.mean(-1, keepdim=True)
    return centred / centred.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)


def as_weight(score: Tensor) -> Tensor:
    return torch.sigmoid(SLOPE * (score - THRESHOLD))


def likeness(from_XD: Tensor, to_YD: Tensor) -> Tensor:
    """exp of the scaled cosine, at most 1: sums of it are what a softmax would divide by."""
    return torch.exp((from_XD @ to_YD.transpose(-2, -1) - 1) / VOTE_TEMPERATURE)


@dataclass(frozen=True)
class Walk:
    """A picture's own affinity; walking along it evens a score out over what belongs together."""

    affinity: Tensor  # (X, L, L)

    @staticmethod
    def within(places_XLD: Tensor) -> Walk:
        return Walk(torch.softmax(places_XLD @ places_XLD.transpose(-2, -1) / WALK_TEMPERATURE, dim=-1))

    def __call__(self, score_XL: Tensor) -> Tensor:
        for _ in range(WALK_STEPS):
            walked_XL = (self.affinity @ score_XL[..., None])[..., 0]
            score_XL = standardised((score_XL + standardised(walked_XL)) / 2)
        return score_XL


@dataclass(frozen=True)
class ClassMemory:
    """The exemplars of one class, already explained by one another; enough to explain queries.

    `pinned` holds the weights of exemplars with a mask (NaN elsewhere): those are known and not voted on.
    """

    places: Tensor  # (K, P, D)
    saliency: Tensor  # (K, P)
    pinned: Tensor  # (K, P)
    walk: Tensor  # (K, P, P)
    between: Tensor  # (T, T): likeness between places of different exemplars
    weight: Tensor  # (K, P)

    @staticmethod
    def of(places_KPD: Tensor, saliency_KP: Tensor, pinned_KP: Tensor) -> ClassMemory:
        walk = Walk.within(places_KPD)
        start_KP = walk(saliency_KP)
        shots, places, _ = places_KPD.shape
        flat_TD = places_KPD.flatten(0, 1)
        between_TT = likeness(flat_TD, flat_TD)
        picture_T = torch.arange(shots, device=flat_TD.device).repeat_interleave(places)
        between_TT = between_TT.masked_fill(picture_T[:, None] == picture_T[None], 0.0)
        total_T = between_TT.sum(1).clamp_min(1e-12)
        weight_KP = known_or(as_weight(start_KP), pinned_KP)
        for _ in range(ROUNDS if shots > 1 else 0):
            vote_KP = (between_TT @ weight_KP.flatten() / total_T).view(shots, places)
            weight_KP = known_or(as_weight(walk(voted(start_KP, vote_KP))), pinned_KP)
        return ClassMemory(places_KPD, start_KP, pinned_KP, walk.affinity, between_TT, weight_KP)

    def explain(self, query_BLD: Tensor, saliency_BL: Tensor, walk: Walk) -> tuple[Tensor, Tensor]:
        """The query's score (B, L), and how much each place resembles the class at all (B, L).

        Query and exemplars vote for one another in rounds: what the query shows of the class also tells which part
        of an exemplar is the class.
        """
        batch, (shots, places, _) = len(query_BLD), self.places.shape
        cross_BLT = likeness(query_BLD, self.places.flatten(0, 1).to(query_BLD))
        query_total_BL = cross_BLT.sum(2).clamp_min(1e-12)
        shot_total_BT = cross_BLT.sum(1) + self.between.sum(1)
        shot_walk = Walk(self.walk)
        weight_BT = self.weight.flatten().expand(batch, -1)
        score_BL = saliency_BL
        for turn in range(ROUNDS):
            vote_BL = (cross_BLT @ weight_BT[:, :, None])[:, :, 0] / query_total_BL
            score_BL = walk(voted(saliency_BL, vote_BL))
            if turn == ROUNDS - 1:
                break
            votes_BT = (as_weight(score_BL)[:, None] @ cross_BLT)[:, 0] + weight_BT @ self.between.T
            vote_BKP = (votes_BT / shot_total_BT.clamp_min(1e-12)).view(batch, shots, places)
            weight_BT = known_or(as_weight(shot_walk(voted(self.saliency, vote_BKP))), self.pinned).flatten(1)
        density_BL = (cross_BLT @ weight_BT[:, :, None])[:, :, 0] / weight_BT.sum(1, keepdim=True).clamp_min(1e-6)
        return score_BL, density_BL

    def explain_own(self, shot: int, places_LD: Tensor, saliency_L: Tensor, walk: Walk) -> Tensor:
        """(L,): the score of an exemplar's own picture, by the votes of the other exemplars; alone, its saliency."""
        start_L = walk(saliency_L)
        others = [row for row in range(len(self.places)) if row != shot]
        if not others:
            return start_L
        cross_LT = likeness(places_LD, self.places[others].flatten(0, 1))
        vote_L = cross_LT @ self.weight[others].flatten() / cross_LT.sum(1).clamp_min(1e-12)
        return walk(voted(start_L, vote_L))


def voted(saliency: Tensor, vote: Tensor) -> Tensor:
    return standardised(saliency + VOTE_WEIGHT * standardised(vote))


def known_or(weight: Tensor, pinned: Tensor) -> Tensor:
    return torch.where(pinned.isnan(), weight, pinned)
