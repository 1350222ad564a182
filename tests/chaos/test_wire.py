"""What is held against the far end's log can fail: each kind of trouble is told, and what is right is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.ledger.ids import message_id
from tests.chaos import wire
from tests.chaos.ground import SEED, Experiment, Ground, NotPossibleHereError, Size, Told, held, play
from tests.postgres import Postgres


def record(user: int, at: float, *, run: int = 1, provider: str = "fcm") -> dict[str, object]:
    return {"message_id": str(message_id(run, user, 1)), "time": at, "provider": provider}


def test_a_second_too_full_is_told_and_a_full_one_is_not() -> None:
    limit = wire.Limit(50, 50)
    full = [10 + n / 100 for n in range(100)]
    assert list(wire.over_rate(full, limit)) == []
    [said] = wire.over_rate(sorted([*full, *([10.5] * 11)]), limit)
    assert said.startswith("I6 111 requests within 1 s, 100 are allowed")


def test_a_minute_too_full_is_told_where_no_second_is() -> None:
    minute = [n / 60 for n in range(3_600)]
    [said] = wire.over_rate(minute, wire.Limit(50, 50))
    assert "within 60 s" in said


def test_the_most_in_a_span_is_half_open() -> None:
    assert wire.most_in([0.0, 1.0, 1.5, 2.0], 1.0) == 2
    assert wire.most_in([], 1.0) == 0


def test_who_is_sent_to_after_a_refusal_is_told() -> None:
    taken = [record(1, 10.0), record(2, 18.0), record(3, 18.0), record(2, 30.0, provider="twilio")]
    refused = {(1, "push"): 12.0, (2, "push"): 12.0, (3, "sms"): 12.0}
    assert list(wire.after_refusal(taken, refused, 6.5)) == []
    [said] = wire.after_refusal(taken, refused, 5.0)
    assert said == "I5 user 2 was sent to by push 6.00 s after they had refused it"


def test_who_gets_too_many_is_told_and_a_push_in_place_is_one() -> None:
    taken = [record(1, 1.0), record(1, 2.0), record(1, 3.0, run=2), record(2, 1.0), record(2, 1.0, run=2)]
    assert list(wire.over_cap(taken, 2)) == []
    assert list(wire.over_cap([*taken, record(2, 9.0, run=3)], 2)) == ["I7 user 2 got 3, 2 are allowed"]


def test_whoever_does_not_wait_is_told() -> None:
    assert list(wire.too_early([1.0, 5.0, 8.1], 5.0, 3.0)) == []
    [said] = wire.too_early([1.0, 7.5, 8.1], 5.0, 3.0)
    assert said == "I8 1 requests within a Retry-After of 3 s, the first after 2.50 s"


@pytest.mark.parametrize("said", ["token-p17-xxx", "to +4915100000012", "s3@mail.example", "Lunch is ready, P1."])
def test_a_log_that_says_too_much_is_told(tmp_path: Path, said: str) -> None:
    log = tmp_path / "daemon.log"
    log.write_text('{"event": "ready"}\n')
    assert list(wire.canaries([log])) == []
    log.write_text(f'{{"event": "{said}"}}\n')
    [line] = wire.canaries([log])
    assert line.startswith("I11 daemon.log says")


def _kept(_: Ground) -> Told:
    return Told("1")


def _broken(_: Ground) -> Told:
    held(["I3 twice"])
    return Told("1")


def _absent(_: Ground) -> Told:
    raise NotPossibleHereError("no history")


def _raises(_: Ground) -> Told:
    raise OSError("gone")


@pytest.mark.parametrize(
    ("run", "catches", "verdict", "problem"),
    [
        (_kept, "", "holds", ""),
        (_kept, "I3", "broken", "the broken variant was not caught"),
        (_broken, "", "broken", "1 broken promises:\nI3 twice"),
        (_broken, "I3", "caught", "I3 twice"),
        (_broken, "I4", "broken", "1 broken promises:\nI3 twice"),
        (_absent, "", "not run", "no history"),
        (_absent, "I3", "not run", "no history"),
    ],
)
def test_a_row_says_what_happened(tmp_path: Path, run: object, catches: str, verdict: str, problem: str) -> None:
    one = Experiment("R0", "name", "what", "asked", run, catches)  # type: ignore[arg-type]
    row = play(one, Ground(tmp_path, Size.SHORT, SEED, Postgres("", iter(()))))
    assert (row.verdict, row.problem) == (verdict, problem)


def test_an_experiment_that_fails_otherwise_is_broken_and_says_where(tmp_path: Path) -> None:
    one = Experiment("R0", "name", "what", "asked", _raises, "I3")
    row = play(one, Ground(tmp_path, Size.SHORT, SEED, Postgres("", iter(()))))
    assert row.verdict == "broken"
    assert row.problem.startswith("OSError: gone\n")
    assert "in _raises" in row.problem
