"""One token for all: minted once for all who wait, replaced early, revoked and replaced, and never minted in a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from typing_extensions import override

from orchestrator.channel.base import Outcome, OutcomeClass
from orchestrator.channel.cached_token import CachedToken, Token, lasting, unminted
from orchestrator.channel.rules import Rule
from orchestrator.channel.transport import Answer, Failure, NoAnswer
from orchestrator.clock import ManualClock

K = OutcomeClass
HOUR = timedelta(hours=1)


class Mint:
    """A token server in the same process; ``gate`` holds it back."""

    def __init__(self, clock: ManualClock, life: timedelta = HOUR) -> None:
        self.clock, self.life, self.asked = clock, life, 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.refusal: Outcome | None = None

    async def __call__(self) -> Token | Outcome:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        made = lasting(f"t-{number}", self.life, self.clock.machine())
        assert made is not None
        return self.refusal or made


Kind = Callable[[Mint, ManualClock], CachedToken]


class Careless(CachedToken):
    """A broken variant: everybody who waits asks."""

    @override
    def _minting(self) -> asyncio.Task[Token | Outcome]:
        return asyncio.get_running_loop().create_task(self._keep())


async def minted_by_fifty(kind: Kind, clock: ManualClock) -> int:
    mint = Mint(clock)
    tokens = kind(mint, clock)
    mint.gate.clear()
    waiting = [asyncio.create_task(tokens.token()) for _ in range(50)]
    await asyncio.sleep(0.01)
    mint.gate.set()
    assert all(isinstance(got, str) for got in await asyncio.gather(*waiting))
    return mint.asked


@pytest.mark.parametrize(("kind", "asked"), [(CachedToken, 1), (Careless, 50)])
def test_fifty_who_wait_share_one_minting(kind: Kind, asked: int, clock: ManualClock) -> None:
    assert asyncio.run(minted_by_fifty(kind, clock)) == asked


def test_who_gives_up_waiting_takes_nobody_along(clock: ManualClock) -> None:
    async def main() -> None:
        mint = Mint(clock)
        tokens = CachedToken(mint, clock)
        mint.gate.clear()
        first, second = (asyncio.create_task(tokens.token()) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        mint.gate.set()
        assert await second == "t-1"

    asyncio.run(main())


def test_replaced_early_in_the_background(clock: ManualClock) -> None:
    async def main() -> None:
        mint = Mint(clock)
        tokens = CachedToken(mint, clock)
        assert await tokens.token() == "t-1"
        clock.advance(HOUR - timedelta(minutes=4))
        mint.gate.clear()
        assert [await tokens.token() for _ in range(5)] == ["t-1"] * 5  # nobody waits
        mint.gate.set()
        await asyncio.sleep(0.01)
        assert (await tokens.token(), mint.asked) == ("t-2", 2)
        clock.advance(2 * HOUR)
        assert (await tokens.token(), mint.asked) == ("t-3", 3)

    asyncio.run(main())


def test_a_token_that_worked_and_was_revoked(clock: ManualClock) -> None:
    async def main() -> None:
        mint = Mint(clock)
        tokens = CachedToken(mint, clock)
        good: set[str] = set()

        async def post(token: str) -> Answer:
            return Answer(200 if token in good else 401, {}, b"")

        async def used() -> object:
            got = await tokens.use(post, lambda answer: answer.status == 401)
            return got.status if isinstance(got, Answer) else got

        good.update({"t-1", "t-2", "t-3"})
        assert await used() == 200
        good.discard("t-1")
        assert (await used(), mint.asked) == (200, 2)
        good.discard("t-2")
        breathing = await used()  # revoked again, at once: not in a loop
        assert isinstance(breathing, Outcome)
        assert (breathing.kind, breathing.retry_after) == (K.RETRY, timedelta(seconds=10))
        assert not breathing.may_have_left
        clock.advance(timedelta(seconds=10))
        assert (await used(), mint.asked) == (200, 3)

    asyncio.run(main())


def test_a_failure_holds_for_a_while_and_then_heals(clock: ManualClock) -> None:
    async def main() -> None:
        mint = Mint(clock)
        tokens = CachedToken(mint, clock)
        mint.refusal = Outcome(K.RETRY_AFTER, "token:429", retry_after=timedelta(seconds=30), may_have_left=False)
        for _ in range(10):
            assert await tokens.token() is mint.refusal
        assert mint.asked == 1
        clock.advance(timedelta(seconds=31))
        mint.refusal = None
        assert await tokens.token() == "t-2"

    asyncio.run(main())


def test_closing_gives_up_what_is_under_way(clock: ManualClock) -> None:
    async def main() -> None:
        mint = Mint(clock)
        tokens = CachedToken(mint, clock)
        mint.gate.clear()
        waiting = asyncio.create_task(tokens.token())
        await asyncio.sleep(0.01)
        await tokens.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await tokens.close()

    asyncio.run(main())


@pytest.mark.parametrize("value", [None, 7, "", "ä", "a\nb", "x" * 5000])
def test_what_is_no_token(value: object, clock: ManualClock) -> None:
    assert lasting(value, HOUR, clock.machine()) is None
    assert lasting("t", timedelta(), clock.machine()) is None


def test_a_token_of_a_minute_is_replaced_before_it_ends(clock: ManualClock) -> None:
    token = lasting("t", timedelta(minutes=1), clock.machine())
    assert token is not None
    assert token.ends_at - token.refresh_at == timedelta(seconds=10)


@pytest.mark.parametrize(
    ("answer", "code", "rule", "kind"),
    [
        (NoAnswer(Failure.TIMEOUT, left=True), "", None, K.RETRY),
        (NoAnswer(Failure.CONNECT, left=False), "", None, K.RETRY),
        (Answer(400, {}, b""), "", None, K.STOP_CHANNEL),
        (Answer(200, {}, b""), "16", None, K.STOP_CHANNEL),
        (Answer(200, {}, b""), "", None, K.RETRY),
        (Answer(200, {}, b""), "-1", Rule(K.RETRY), K.RETRY),
        (Answer(302, {}, b""), "", None, K.STOP_CHANNEL),
        (Answer(408, {}, b""), "", None, K.RETRY),
        (Answer(429, {"retry-after": "7"}, b""), "", None, K.RETRY_AFTER),
        (Answer(503, {}, b""), "boom", None, K.RETRY),
    ],
)
def test_why_there_is_no_token(
    answer: Answer | NoAnswer, code: str, rule: Rule | None, kind: OutcomeClass, clock: ManualClock
) -> None:
    outcome = unminted(answer, clock.machine(), code, rule)
    assert (outcome.kind, outcome.may_have_left) == (kind, False)
    assert outcome.code.startswith("token:")
