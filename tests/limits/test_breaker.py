"""The breaker: 5xx over half of the last 20 opens it for 30 s, then one probe."""

from __future__ import annotations

import pytest

from orchestrator.limits.breaker import LAST, OPEN_SECONDS, Breaker, BreakerState


class Rig:
    def __init__(self) -> None:
        self.seconds = 1000.0
        self.breaker = Breaker(lambda: self.seconds)

    def record(self, failed: int, fine: int) -> BreakerState:
        for _n in range(fine):
            self.breaker.record("fcm", failed=False)
        for _n in range(failed):
            self.breaker.record("fcm", failed=True)
        return self.breaker.state("fcm")


@pytest.mark.parametrize(
    ("failed", "fine", "state"),
    [(19, 0, "closed"), (10, 10, "closed"), (11, 9, "open"), (20, 0, "open"), (11, 500, "open"), (0, 20, "closed")],
)
def test_more_than_half_of_the_last_twenty(failed: int, fine: int, state: str) -> None:
    assert Rig().record(failed, fine) == state


def test_open_lets_nothing_through_for_thirty_seconds() -> None:
    rig = Rig()
    assert rig.breaker.allow("fcm")
    rig.record(LAST, 0)
    rig.seconds += OPEN_SECONDS - 0.001
    assert not rig.breaker.allow("fcm")
    rig.seconds += 0.001
    assert rig.breaker.state("fcm") is BreakerState.HALF_OPEN


def test_one_probe_decides() -> None:
    rig = Rig()
    rig.record(LAST, 0)
    rig.seconds += OPEN_SECONDS
    assert [rig.breaker.allow("fcm") for _n in range(5)] == [True, False, False, False, False]
    rig.breaker.record("fcm", failed=True)
    assert rig.breaker.state("fcm") is BreakerState.OPEN
    rig.seconds += OPEN_SECONDS
    assert rig.breaker.allow("fcm")
    rig.breaker.record("fcm", failed=False)
    assert rig.breaker.state("fcm") is BreakerState.CLOSED
    assert rig.record(LAST - 1, 0) is BreakerState.CLOSED  # what was before the storm no longer counts


def test_asking_for_the_state_takes_no_probe() -> None:
    rig = Rig()
    rig.record(LAST, 0)
    rig.seconds += OPEN_SECONDS
    assert rig.breaker.state("fcm") is rig.breaker.state("fcm") is BreakerState.HALF_OPEN
    assert rig.breaker.allow("fcm")


def test_a_probe_that_never_answers_makes_room_for_another() -> None:
    rig = Rig()
    rig.record(LAST, 0)
    rig.seconds += OPEN_SECONDS
    assert rig.breaker.allow("fcm")
    rig.seconds += OPEN_SECONDS
    assert rig.breaker.allow("fcm")
    assert not rig.breaker.allow("fcm")


def test_answers_that_come_late_do_not_close_it() -> None:
    rig = Rig()
    rig.record(LAST, 0)
    assert rig.record(0, 50) is BreakerState.OPEN
    rig.seconds += OPEN_SECONDS
    assert rig.record(0, 1) is BreakerState.HALF_OPEN  # nobody has probed yet


def test_trouble_at_one_account_does_not_starve_another() -> None:  # sygnal #104, #116
    rig = Rig()
    rig.record(LAST, 0)
    assert not rig.breaker.allow("fcm")
    assert rig.breaker.allow("apns")


def test_the_storm_s_rate_stays_under_two_percent() -> None:  # promises R6
    rig, sent = Rig(), 0
    for _tick in range(10 * 60 * 10):
        rig.seconds += 0.1
        if rig.breaker.allow("fcm"):
            sent += 1
            rig.breaker.record("fcm", failed=True)
    assert sent <= 10 * 60 * 10 * 0.02
