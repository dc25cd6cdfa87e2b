"""What the others of its class say of each exemplar of a set, asked of a model that is in memory anyway."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass

from deploy.endpoint.problems import ProblemError, problem_of
from tlg.annotators.protocol import LoadedModel
from tlg.annotators.tiled import TiledModel
from tlg.errors import TlgError
from tlg.exemplars import LoadedExemplars

logger = logging.getLogger("tlg.serve")


@dataclass(frozen=True)
class ExemplarCheck:
    """`position` counts from 1 within its class."""

    class_name: str
    position: int
    presence: float | None
    overlap: float | None
    rival: str | None
    warning: str | None


@dataclass(frozen=True)
class Checked:
    """What was found, or why nothing was. An exception would lose its kind on its way between processes."""

    exemplars: list[ExemplarCheck]
    problem: tuple[int, str, str, dict[str, str]] | None = None


def checked(load_model: Callable[[], LoadedModel], load_set: Callable[[], LoadedExemplars]) -> Checked:
    try:
        return Checked(_checks(load_model(), load_set()))
    except (TlgError, ProblemError) as error:
        problem = error if isinstance(error, ProblemError) else problem_of(error)
    except Exception:
        logger.exception("a set could not be checked")
        problem = ProblemError(500, "internal", "the request failed; its id is in the logs")
    return Checked([], (problem.status, problem.kind, problem.detail, problem.headers))


def _checks(loaded: LoadedModel, exemplars: LoadedExemplars) -> list[ExemplarCheck]:
    # A model of the network's has imported its module; for any other the network's libraries are not worth the wait.
    network = sys.modules.get("tlg.annotators.network")
    loaded = loaded.model if isinstance(loaded, TiledModel) else loaded
    if network is None or not isinstance(loaded, network.NetworkModel):
        raise ProblemError(422, "no-check", "this model looks at no exemplars; name a `model` that has a network")
    from tlg.annotators.check import ExemplarChecker

    positions = [number for of_class in exemplars.classes for number in range(1, len(of_class.exemplars) + 1)]
    checks = ExemplarChecker(loaded.model, exemplars).check()
    return [
        ExemplarCheck(check.class_name, position, check.presence, check.overlap, check.rival, check.warning)
        for position, check in zip(positions, checks, strict=True)
    ]
