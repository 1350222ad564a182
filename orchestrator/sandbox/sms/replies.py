"""``replies.jsonl``: what people wrote back, and who has said STOP to which sender, as Twilio itself keeps it."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

import orjson

STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
START_WORDS = frozenset({"START", "YES", "UNSTOP"})


class Replies:
    """All replies, read back at start. A STOP holds between one person and one sender."""

    def __init__(self, path: Path) -> None:
        self._handle = open(path, "a+b", opener=_for_us_alone)  # noqa: SIM115  # closed by ``close``
        self._by_person: dict[str, list[dict[str, Any]]] = {}
        self._stopped: set[tuple[str, str]] = set()
        self.count = 0
        self._read_back()

    def add(self, person: str, sender: str, text: str) -> dict[str, Any]:
        """Keep a reply, on disk before this returns."""
        reply = {"sid": f"SM{secrets.token_hex(16)}", "time": time.time(), "from": person, "to": sender, "text": text}
        self._handle.write(orjson.dumps(reply) + b"\n")
        self._handle.flush()
        os.fdatasync(self._handle.fileno())
        self._take(reply)
        return reply

    def stopped(self, person: str, sender: str) -> bool:
        """Whether that person has told that sender to stop."""
        return (person, sender) in self._stopped

    def stopped_any(self, person: str) -> bool:
        """Whether that person has told any sender to stop."""
        return any(who == person for who, _ in self._stopped)

    def of(self, person: str) -> list[dict[str, Any]]:
        """What that person wrote, oldest first."""
        return self._by_person.get(person, [])

    def close(self) -> None:
        """Give up the file."""
        self._handle.close()

    def _take(self, reply: dict[str, Any]) -> None:
        self.count += 1
        self._by_person.setdefault(reply["from"], []).append(reply)
        word = reply["text"].strip().upper()
        if word in STOP_WORDS:
            self._stopped.add((reply["from"], reply["to"]))
        elif word in START_WORDS:
            self._stopped.discard((reply["from"], reply["to"]))

    def _read_back(self) -> None:
        self._handle.seek(0)
        good = 0
        for line in self._handle:
            if not line.endswith(b"\n"):  # cut short by a crash, so never acknowledged
                self._handle.truncate(good)
                break
            good += len(line)
            self._take(orjson.loads(line))


def _for_us_alone(path: str, flags: int) -> int:
    """People's numbers and words are nobody else's to read."""
    return os.open(path, flags, 0o600)
