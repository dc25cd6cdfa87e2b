"""Label Studio's API for one address, with a legacy token or a personal access token.

A personal access token is a JWT that refreshes: Label Studio gives a short-lived access token for it.
"""

from __future__ import annotations

import os
import re
import threading
from functools import lru_cache

from tlg.errors import CredentialsError, StorageError
from tlg.store import web
from tlg.store.tool_api import ToolApi

VARIABLE = "LABEL_STUDIO_API_KEY"
EXCHANGE_PATH = "/api/token/refresh/"  # with the slash: Label Studio adds none
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


class Studio(ToolApi):
    """The token comes from the environment, so it may change there."""

    tool = "Label Studio"
    way_out = f"put a token of Account & Settings into {VARIABLE}"

    def __init__(self, address: str):
        super().__init__(address)
        self._access: tuple[str, str] | None = None  # a personal token, and what was given for it
        self._exchanging = threading.Lock()

    def headers(self, refused: dict[str, str] | None = None) -> dict[str, str]:
        token = os.environ.get(VARIABLE, "").strip()
        if not token:
            raise self._no_token()
        if not JWT.fullmatch(token):
            return {"Authorization": f"Token {token}"}
        with self._exchanging:
            known = self._access[1] if self._access and self._access[0] == token else None
            if known is None or refused == {"Authorization": f"Bearer {known}"}:
                known = self._exchanged(token)
                self._access = (token, known)
        return {"Authorization": f"Bearer {known}"}

    def _exchanged(self, token: str) -> str:
        uri = f"{self.address}{EXCHANGE_PATH}"
        with web.explained(uri):
            answer = web.client().post(uri, json={"refresh": token})
        if answer.status_code in (400, 401, 403):
            raise CredentialsError(
                f"{uri}: Label Studio takes no such personal access token ({answer.status_code}); {self.way_out}",
                denied=True,
            )
        web.check(uri, answer)
        try:
            return str(answer.json()["access"])
        except (ValueError, KeyError, TypeError):
            raise StorageError(f"{uri}: found an answer without `access`, expected Label Studio's exchange") from None


@lru_cache(maxsize=16)
def studio(address: str) -> Studio:
    """One for each address, so that an access token is exchanged once."""
    return Studio(address)
