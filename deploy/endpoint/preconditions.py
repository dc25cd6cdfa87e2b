"""`If-Match` and `If-None-Match` of a change -> what the name must mean just now."""

from __future__ import annotations

import re

from deploy.endpoint.problems import ProblemError
from deploy.exemplar_store import NO_CONTENT


def if_unchanged(if_match: str | None, if_none_match: str | None = None) -> str | None:
    """The digest that is expected, NO_CONTENT for a new name, None without a condition."""
    if if_match is not None and if_none_match is not None:
        raise ProblemError(422, "invalid", "found If-Match and If-None-Match; send one of them")
    if if_none_match is not None:
        if if_none_match.strip() != "*":
            raise ProblemError(422, "invalid", "If-None-Match is not `*`, which means: only if the name is new")
        return NO_CONTENT
    if if_match is None:
        return None
    match = re.fullmatch(r'\s*"?([0-9a-f]{32})"?\s*', if_match)
    if not match:
        raise ProblemError(422, "invalid", 'If-Match is not the digest of a set, like "0123456789abcdef..." of 32')
    return match.group(1)
