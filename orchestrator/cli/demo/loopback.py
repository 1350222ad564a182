"""Speaking JSON with our own processes on this machine, over one kept-alive connection."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any

import orjson

from orchestrator.errors import OrchestratorError

TIMEOUT_SECONDS = 20
_BAD, _BUSY = 400, 503


class UnreachableError(OrchestratorError):
    """Nobody answers there (any more)."""


class BusyError(OrchestratorError):
    """They say: send it again."""


class Loopback:
    """A connection to ``127.0.0.1:port``. For one thread."""

    def __init__(self, port: int, headers: Mapping[str, str] | None = None) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        self._headers = {"Content-Type": "application/json", **(headers or {})}

    def get(self, path: str) -> Any:
        """The answer to a GET.

        Raises:
            OrchestratorError: it was not answered with 2xx.
        """
        return self._ask("GET", path, None)

    def post(self, path: str, content: object) -> Any:
        """The answer to a POST; tried twice when the connection breaks, so the far end must not mind.

        Raises:
            OrchestratorError: it was not answered with 2xx.
        """
        return self._ask("POST", path, orjson.dumps(content))

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        try:
            status, answer = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException):  # a kept-alive connection that the far end had just closed
            self._line.close()
            try:
                status, answer = self._exchange(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                self._line.close()
                raise UnreachableError(f"{self._line.host}:{self._line.port}{path}: {type(error).__name__}") from None
        if status == _BUSY:
            raise BusyError(f"{path} is busy")
        if status >= _BAD:
            raise OrchestratorError(
                f"{path.partition('?')[0]} answered {status}: {answer[:300].decode(errors='replace')}"
            )
        return orjson.loads(answer) if answer else None

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        self._line.request(method, path, body, self._headers)
        response = self._line.getresponse()
        return response.status, response.read()
