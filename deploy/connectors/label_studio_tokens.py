"""What Label Studio wants in `Authorization`: a legacy token as it is, a personal access token in exchange.

A personal access token is a JWT that refreshes: Label Studio gives a short-lived access token for it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx

from tlg.errors import StorageError
from tlg.store.label_studio_api import EXCHANGE_PATH, JWT, VARIABLE

SECONDS = 10.0


class Tokens:
    """Headers for one Label Studio; the token itself comes from the environment, so it may change there."""

    def __init__(self, url: str):
        self._url = url
        self._access: tuple[str, str] | None = None  # a personal token, and what was given for it
        self._exchanging = asyncio.Lock()

    async def headers(self, refused: dict[str, str] | None = None) -> dict[str, str]:
        """`refused`: the headers that were just answered 401; others are given where there can be others."""
        token = os.environ.get(VARIABLE, "").strip()
        if not token:
            return {}
        if not JWT.fullmatch(token):
            return {"Authorization": f"Token {token}"}
        async with self._exchanging:
            known = self._access[1] if self._access and self._access[0] == token else None
            if known is None or refused == _bearer(known):
                known = await self._exchanged(token)
                self._access = (token, known)
        return _bearer(known)

    async def _exchanged(self, token: str) -> str:
        uri = f"{self._url}{EXCHANGE_PATH}"
        try:
            async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as client:
                answer = await asyncio.wait_for(client.post(uri, json={"refresh": token}), SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL, asyncio.TimeoutError) as error:
            raise StorageError(f"{uri}: {type(error).__name__} while exchanging the token", transient=True) from None
        if answer.status_code in (400, 401, 403):
            raise StorageError(
                f"{uri}: Label Studio takes no such personal access token ({answer.status_code}); "
                f"make a new one under Account & Settings and put it into {VARIABLE}",
                denied=True,
            )
        try:
            content: Any = answer.raise_for_status().json()
            return str(content["access"])
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError):
            raise StorageError(
                f"{uri}: found an answer {answer.status_code} without `access`, expected Label Studio's token exchange",
                transient=answer.status_code >= 500,
            ) from None


def _bearer(access: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access}"}
