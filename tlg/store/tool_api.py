"""The API of a labelling tool at one address: JSON and files, by a token out of the environment."""

from __future__ import annotations

from typing import Any, ClassVar

import httpx

from tlg.errors import CredentialsError, StorageError
from tlg.store import bodies, web


class ToolApi:
    """One attempt at each thing, like a store's."""

    tool: ClassVar[str]
    way_out: ClassVar[str]

    def __init__(self, address: str):
        self.address = address.rstrip("/")

    def get(self, path: str, **parameters: Any) -> Any:
        return self._json("GET", path, params=parameters)

    def post(self, path: str, content: Any) -> Any:
        return self._json("POST", path, json=content)

    def patch(self, path: str, content: Any, **parameters: Any) -> Any:
        return self._json("PATCH", path, json=content, params=parameters)

    def read(self, path: str, max_bytes: int | None = None, **parameters: Any) -> bytes:
        """A file that the tool keeps."""
        return self._asked("GET", path, max_bytes, **({"params": parameters} if parameters else {}))

    def headers(self, refused: dict[str, str] | None = None) -> dict[str, str]:
        """`refused`: the headers that were just answered 401; others are given where there can be others."""
        raise NotImplementedError

    def _json(self, method: str, path: str, **content: Any) -> Any:
        body = self._asked(method, path, **content)
        try:
            return httpx.Response(200, content=body).json()
        except ValueError:
            raise StorageError(f"{self.address}{path}: found no JSON, expected {self.tool}'s API") from None

    def _asked(self, method: str, path: str, max_bytes: int | None = None, **content: Any) -> bytes:
        """The answer's body; a token that has run out is exchanged for another, once."""
        uri = f"{self.address}{path}"
        headers = self.headers()
        for is_last in (False, True):
            with web.explained(uri), web.client().stream(method, uri, headers=headers, **content) as answer:
                if answer.status_code == 401:
                    renewed = headers if is_last else self.headers(refused=headers)
                    if renewed != headers:
                        headers = renewed
                        continue
                    raise CredentialsError(
                        f"{uri}: {self.tool} refuses access (status 401); {self.way_out}", denied=True
                    )
                if answer.status_code in (200, 201):
                    return bodies.whole(uri, answer.iter_bytes(), max_bytes)
                web.check(uri, answer)
        raise AssertionError("two attempts end in an answer or an error")

    def _no_token(self) -> CredentialsError:
        return CredentialsError(f"{self.address}: {self.tool} wants a token; {self.way_out}", denied=True)
