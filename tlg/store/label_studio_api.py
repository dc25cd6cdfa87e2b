"""Label Studio's API for one address: JSON and files, with a legacy token or a personal access token.

A personal access token is a JWT that refreshes: Label Studio gives a short-lived access token for it.
"""

from __future__ import annotations

import os
import re
import threading
from functools import lru_cache
from typing import Any

import httpx

from tlg.errors import CredentialsError, StorageError
from tlg.store import bodies, web

VARIABLE = "LABEL_STUDIO_API_KEY"
EXCHANGE_PATH = "/api/token/refresh/"  # with the slash: Label Studio adds none
JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
WAY_OUT = f"put a token of Account & Settings into {VARIABLE}"


class Studio:
    """One attempt at each thing, like a store's; the token comes from the environment, so it may change there."""

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        self._access: tuple[str, str] | None = None  # a personal token, and what was given for it
        self._exchanging = threading.Lock()

    def get(self, path: str, **parameters: Any) -> Any:
        return self._json("GET", path, params=parameters)

    def post(self, path: str, content: Any) -> Any:
        return self._json("POST", path, json=content)

    def read(self, path: str, max_bytes: int | None = None) -> bytes:
        """A file that Label Studio keeps."""
        return self._asked("GET", path, max_bytes)

    def _json(self, method: str, path: str, **content: Any) -> Any:
        body = self._asked(method, path, **content)
        try:
            return httpx.Response(200, content=body).json()
        except ValueError:
            raise StorageError(f"{self.address}{path}: found no JSON, expected Label Studio's API") from None

    def _asked(self, method: str, path: str, max_bytes: int | None = None, **content: Any) -> bytes:
        """The answer's body; an access token that has run out is exchanged for another, once."""
        uri = f"{self.address}{path}"
        headers = self._headers()
        for is_last in (False, True):
            with web.explained(uri), web.client().stream(method, uri, headers=headers, **content) as answer:
                if answer.status_code == 401:
                    renewed = headers if is_last else self._headers(refused=headers)
                    if renewed != headers:
                        headers = renewed
                        continue
                    raise CredentialsError(f"{uri}: Label Studio refuses access (status 401); {WAY_OUT}", denied=True)
                if answer.status_code in (200, 201):
                    return bodies.whole(uri, answer.iter_bytes(), max_bytes)
                web.check(uri, answer)
        raise AssertionError("two attempts end in an answer or an error")

    def _headers(self, refused: dict[str, str] | None = None) -> dict[str, str]:
        """`refused`: the headers that were just answered 401; others are given where there can be others."""
        token = os.environ.get(VARIABLE, "").strip()
        if not token:
            raise CredentialsError(f"{self.address}: Label Studio wants a token; {WAY_OUT}", denied=True)
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
                f"{uri}: Label Studio takes no such personal access token ({answer.status_code}); {WAY_OUT}",
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
