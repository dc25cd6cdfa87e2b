"""The summary of a run, for whoever listens: JSON that Slack and its like understand."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

log = logging.getLogger(__name__)

# A webhook's address often is its only secret, so it may come from the environment instead of the spec.
ENVIRONMENT_NAME = "TLG_WEBHOOK"
TIMEOUT_SECONDS = 10


def address(written_in_spec: str | None) -> str | None:
    return os.environ.get(ENVIRONMENT_NAME) or written_in_spec


def message(name: str, outcome: str, facts: Mapping[str, object]) -> dict[str, str]:
    """`*name*: outcome` and one line of facts."""
    line = ", ".join(f"{key} {value}" for key, value in facts.items())
    return {"text": f"*{name}*: {outcome}" + (f"\n{line}" if line else "")}


def notify(written_in_spec: str | None, name: str, outcome: str, facts: Mapping[str, object]) -> bool:
    """Send the summary where an address is given. A webhook that fails is logged and never fails the run."""
    url = address(written_in_spec)
    if url is None:
        return False
    import httpx  # most runs tell nobody

    try:
        answer = httpx.post(url, json=message(name, outcome, facts), timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # The address stays out of the log.
        reason = (
            f"status {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else type(error).__name__
        )
        log.warning("the webhook of %s did not take the summary: %s", name, reason)
        return False
    return True
