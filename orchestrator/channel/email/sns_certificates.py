"""The certificates that SNS signs with: fetched once, kept, and left alone for a while where they do not load."""

from __future__ import annotations

import asyncio

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from orchestrator.channel.transport import NoAnswer, Transport
from orchestrator.clock import Clock

MOST = 16
"""Certificates kept; Amazon has one or two a region."""
WAIT_SECONDS = 30.0
"""How long an address that did not load is not asked again: forged messages must not make us fetch for ever."""
LEAST_BITS = 2048


class Certificates:
    """Public keys by the address of their certificate, which the caller has checked. Belongs to one event loop."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._keys: dict[str, rsa.RSAPublicKey] = {}
        self._failed: dict[str, float] = {}
        self._one_at_a_time = asyncio.Lock()

    async def key(self, url: str) -> rsa.RSAPublicKey | None:
        """The key; None when its certificate cannot be had now."""
        if url in self._keys:
            return self._keys[url]
        async with self._one_at_a_time:  # a thousand receipts at once fetch it once
            if url in self._keys:
                return self._keys[url]
            if self._clock.monotonic() < self._failed.get(url, float("-inf")):
                return None
            key = await self._fetch(url)
            if key is None:
                self._failed = dict(list(self._failed.items())[-MOST:])
                self._failed[url] = self._clock.monotonic() + WAIT_SECONDS
                return None
            if len(self._keys) >= MOST:
                self._keys.pop(next(iter(self._keys)))
            self._keys[url] = key
            return key

    async def _fetch(self, url: str) -> rsa.RSAPublicKey | None:
        answer = await self._transport.request("GET", url, headers={})
        if isinstance(answer, NoAnswer) or answer.status != 200 or not answer.whole:  # noqa: PLR2004  # as HTTP has it
            return None
        try:
            key = x509.load_pem_x509_certificate(answer.body).public_key()
        except ValueError:
            return None
        return key if isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_BITS else None
