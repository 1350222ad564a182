"""Our message ids in the addresses and headers that come back, signed, so that a forged bounce says nothing to us.

A token is ``<message id>.<20 hex digits of an HMAC>``: it survives mail servers that change the case of an address, and
leaves room in the 64 octets of a local part.
"""

from __future__ import annotations

import hmac
import re

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from orchestrator.channel.callback import Postmark, Purpose

_DIGITS = 20
_TOKEN = re.compile(rf"(?<![0-9A-Za-z])([0-9]{{1,19}})\.([0-9a-f]{{{_DIGITS}}})(?![0-9A-Za-z])", re.IGNORECASE)


class Signer:
    """Signs message ids for one account; without a key it signs nothing and believes nothing."""

    def __init__(self, key: bytes | None) -> None:
        self._begun = {} if key is None else {purpose: _begun(key, purpose) for purpose in Purpose}

    def token(self, purpose: Purpose, message_id: str) -> str:
        """The token of a message for one purpose: one made for a header is no use as an address."""
        return f"{message_id}.{self._digest(purpose, message_id)}" if self._begun else message_id

    def tagged(self, purpose: Purpose, mailbox: str, message_id: str) -> str:
        """``bounce@b.example`` as ``bounce+TOKEN@b.example``."""
        local, _, domain = mailbox.rpartition("@")
        return f"{local}+{self.token(purpose, message_id)}@{domain}"

    def find(self, text: str) -> list[Postmark]:
        """Every message named in a text by a token of ours, in order."""
        if not self._begun:
            return []
        return [mark for found in _TOKEN.finditer(text) for mark in self._read(found[1], found[2].lower())]

    def _read(self, message_id: str, digest: str) -> list[Postmark]:
        return [
            Postmark(purpose, int(message_id))
            for purpose in Purpose
            if hmac.compare_digest(self._digest(purpose, message_id), digest)
        ]

    def _digest(self, purpose: Purpose, message_id: str) -> str:
        digesting = self._begun[purpose].copy()
        digesting.update(message_id.encode())
        return digesting.finalize().hex()[:_DIGITS]


def _begun(key: bytes, purpose: Purpose) -> HMAC:
    """The digest as far as it is the same for all messages: the key and the purpose are hashed once."""
    begun = HMAC(key, hashes.SHA256())
    begun.update(f"{purpose}:".encode())
    return begun
