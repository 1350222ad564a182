"""Answers that the ledger does not have yet: heard on the event loop, written with the next claim or by themselves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy import Connection

from orchestrator import traces
from orchestrator.channel.base import OutcomeClass
from orchestrator.dispatch.door import Probe
from orchestrator.dispatch.outcome import Answer
from orchestrator.dispatch.settling import Settler
from orchestrator.ledger.lease import Holder
from orchestrator.store import AWAY, Store

SETTLE_BATCH = 500
GATHER, MANY = 0.01, 128
"""Seconds for which an idle worker lets answers come together before it writes them; so many are worth it at once."""


@dataclass(slots=True)
class Answers:
    """Of one worker. ``hear``, ``take`` and ``kept`` belong to its event loop, all that writes to its threads."""

    store: Store
    settler: Settler
    holder: Callable[[], Holder]
    """Who is writing, as of now."""
    probe: Probe
    wake: Callable[[], None]
    refused: Callable[[], None]
    """Told when something else than acceptance is written: its account may be stopped now."""
    _heard: deque[Answer] = field(default_factory=deque)
    _gathering: asyncio.TimerHandle | None = None
    _turn: Lock = field(default_factory=Lock)
    """What is not accepted is written one batch after another: a storm takes back what others called dead before it."""

    def hear(self, answer: Answer, *, urgent: bool) -> None:
        """Keep it until it is written: soon, or when others have come; ``urgent``: the worker is to look at once."""
        self._heard.append(answer)
        if urgent or len(self._heard) >= MANY:
            self.wake()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        self.wake()

    def close(self) -> None:
        """Nobody is woken any more."""
        if self._gathering is not None:
            self._gathering.cancel()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._heard)

    def take(self) -> list[Answer]:
        """The first ones, as many as belong into one transaction."""
        return [self._heard.popleft() for _ in range(min(len(self._heard), SETTLE_BATCH))]

    @contextmanager
    def kept(self, answers: list[Answer]) -> Iterator[list[Answer]]:
        """What the database did not take is an answer still: it is in doubt only once the worker has ended."""
        try:
            yield answers
        except AWAY:
            self.settler.again = True
            self._heard.extend(answers)
            raise

    def in_turn(self, answers: Sequence[Answer]) -> AbstractContextManager[object]:
        """Where what is written depends on what others have written: their commits come first."""
        plain = all(answer.outcome.kind is OutcomeClass.ACCEPTED for answer in answers)
        return nullcontext() if plain else self._turn

    def write(self, answers: list[Answer]) -> None:
        """Settle in a transaction of their own."""
        with self.in_turn(answers), self.store.write() as connection:
            self.settle(answers, connection)
        self.written(answers)

    def settle(self, answers: Sequence[Answer], connection: Connection) -> None:
        """Write them, as of now: a worker that was frozen since the transaction began has no lease any more."""
        self.probe("settling")
        with traces.span("settle", messages=len(answers)):
            self.settler.settle(connection, self.holder(), answers)
        if any(answer.outcome.kind is not OutcomeClass.ACCEPTED for answer in answers):
            self.refused()
        self.probe("written")

    def written(self, answers: list[Answer]) -> None:
        """They are committed: there is nothing to keep."""
        answers.clear()
        self.probe("settled")
