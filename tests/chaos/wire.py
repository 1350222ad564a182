"""What the providers saw, held against what was promised of rates, refusals, caps, waits and pauses (I5 to I8, I11).

Works on the far end's log alone: what it took, and when. Each function yields what is wrong, a line each.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.ledger.ids import parts

Taken = Sequence[Mapping[str, Any]]
CHANNELS = {"fcm": "push", "twilio": "sms", "smtp": "email"}
ON_THE_WAY = 0.2
"""Seconds by which requests may differ in how long they take from their permission to their arrival: what was let
through within a second arrives within so much more or less."""
CANARIES = re.compile(r"token-[a-z]+\d|\+49151\d{4}|@mail\.example|Lunch is ready")
"""Addresses and words of messages, as this suite's people have them."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What an account may send: in any second, in any minute."""

    per_second: float
    burst: int

    def most(self, seconds: float) -> float:
        """The promise of ``seconds`` in a row."""
        return self.per_second * seconds + self.burst


def times(taken: Taken, provider: str) -> list[float]:
    """When a provider accepted something, in order."""
    return sorted(record["time"] for record in taken if record["provider"] == provider)


def most_in(instants: Sequence[float], seconds: float) -> int:
    """The most in any span of so many seconds."""
    most = first = 0
    for last, at in enumerate(instants):
        while instants[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def over_rate(instants: Sequence[float], limit: Limit) -> Iterator[str]:
    """I6: no second and no minute has more than was promised, counted where requests arrive."""
    for seconds in (1.0, 60.0):
        most = most_in(instants, seconds)
        if most > limit.most(seconds + ON_THE_WAY):
            yield f"I6 {most} requests within {seconds:g} s, {limit.most(seconds):g} are allowed"


def after_refusal(taken: Taken, refused: Mapping[tuple[int, str], float], bound: float) -> Iterator[str]:
    """I5: nothing to somebody later than ``bound`` seconds after their refusal was committed."""
    for user, channel, late in lateness(taken, refused):
        if late > bound:
            yield f"I5 user {user} was sent to by {channel} {late:.2f} s after they had refused it"


def lateness(taken: Taken, refused: Mapping[tuple[int, str], float]) -> Iterator[tuple[int, str, float]]:
    """Who was sent to after their refusal, on what channel, and how many seconds after."""
    for record in taken:
        user, channel = int(parts(int(record["message_id"])).user), CHANNELS[record["provider"]]
        committed = refused.get((user, channel))
        if committed is not None and record["time"] > committed:
            yield user, channel, record["time"] - committed


def over_cap(taken: Taken, most: int) -> Iterator[str]:
    """I7: nobody got more than ``most`` messages; a push that was sent again in place counts once."""
    got: dict[int, set[str]] = defaultdict(set)
    for record in taken:
        got[int(parts(int(record["message_id"])).user)].add(record["message_id"])
    yield from (
        f"I7 user {user} got {len(those)}, {most} are allowed" for user, those in got.items() if len(those) > most
    )


def too_early(instants: Iterable[float], told: float, seconds: float) -> Iterator[str]:
    """I8: nothing arrives between the answer that names a wait and the wait's end."""
    early = [at for at in instants if told < at < told + seconds]
    if early:
        first = min(early) - told
        yield f"I8 {len(early)} requests within a Retry-After of {seconds:g} s, the first after {first:.2f} s"


def canaries(logs: Iterable[Path]) -> Iterator[str]:
    """I11: no log says an address or the words of a message."""
    for path in logs:
        found = CANARIES.search(path.read_text(errors="replace"))
        if found:
            yield f"I11 {path.name} says {found[0]!r}"
