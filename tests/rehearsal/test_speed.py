"""What makes a rehearsal quick changes nothing that it says: it is compared with doing without."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typing_extensions import override

from orchestrator.campaign.version import Bundle
from orchestrator.content.links import Tracked
from orchestrator.dispatch.wordings import Wordings
from orchestrator.ledger.claim import Claimed, Lane
from orchestrator.rehearsal import scratch as scratch_module
from orchestrator.rehearsal.rehearse import rehearse, staged
from orchestrator.rehearsal.responses import DEFAULTS, Responses
from orchestrator.rehearsal.stage import Stage
from orchestrator.store import Store
from tests import world
from tests.rehearsal.theatre import order, town

SPAN = timedelta(days=4)
LIVELY = Responses(DEFAULTS, 0.05, seed=7)
Ledger = dict[int, tuple[str, str | None, int | None]]
"""State, reason and instant of each message."""


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Store]:
    store = world.fresh(tmp_path / "real.db")
    yield town(store, 24)
    store.close()


def campaign() -> Bundle:
    """Two texts of one and of two parts, and a budget that has to be counted from them."""
    what = world.bundle(
        {"schedule": {"days": "every"}, "budget": {"sms_parts": 40}},
        experiment={"arms": [{"name": "short"}, {"name": "long", "template": "long"}]},
    )
    long = {f"long/{channel}": text + "long " * 40 for channel, text in _texts(what.templates)}
    return replace(what, templates={**what.templates, **long})


def _texts(templates: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for path, text in templates.items():
        if path.startswith("lunch/"):
            yield path.removeprefix("lunch/"), text


def played(real: Store, kind: type[Stage] = Stage) -> tuple[Ledger, list[tuple[int, int, int]]]:
    """Every message, and what the SMS came to."""
    with staged(real, order(campaign(), span=SPAN, responses=LIVELY), world.OPENING) as ready:
        ready.stage.__class__ = kind
        ready.stage.play(world.OPENING + SPAN)
        with ready.store.read() as connection:
            sent = connection.exec_driver_sql("SELECT id, state, reason, sent_at FROM message").all()
            spent = connection.exec_driver_sql("SELECT run_id, sms, sms_parts FROM spend ORDER BY run_id").all()
        return {row.id: (row.state, row.reason, row.sent_at) for row in sent}, [(*row,) for row in spent]


class Forgetful(Stage):
    """Renders every message."""

    __slots__ = ()

    @override
    def _open(self) -> None:
        Stage._open(self)
        self._door = replace(self._door, wordings=None)


class Mixed(Wordings):
    """A broken one: what a user got before, whatever it was."""

    __slots__ = ()

    @override
    def of(self, lane: Lane, batch: Sequence[Claimed]) -> dict[int, Tracked]:
        kept = {user: made for shelf in self._shelves.values() for user, made in (shelf or {}).items()}
        return {one.id: kept[one.user_id] for one in batch if one.user_id in kept}


class Confused(Stage):
    """Says on one channel what it said on another."""

    __slots__ = ()

    @override
    def _open(self) -> None:
        Stage._open(self)
        self._door = replace(self._door, wordings=Mixed())


def test_words_that_are_kept_change_nothing(real: Store) -> None:
    found = played(real)
    assert found == played(real, Forgetful)
    assert {state for state, _, _ in found[0].values()} >= {"accepted", "delivered", "skipped"}
    assert any(reason == "budget" for _, reason, _ in found[0].values())
    assert found != played(real, Confused)


def test_one_transaction_says_the_same_as_many(real: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = played(real)
    monkeypatch.setattr(scratch_module, "Store", lambda path, **_: Store(path))
    assert found == played(real)


def test_the_collector_is_left_as_it_was(real: Store) -> None:
    before = gc.get_threshold()
    rehearse(real, order(campaign(), span=timedelta(hours=6)), world.OPENING)
    assert gc.get_threshold() == before
