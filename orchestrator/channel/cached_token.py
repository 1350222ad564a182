"""One access token for all messages of an account: minted once for all who wait, replaced early, never in a loop.

What mints it differs by provider and is given; when it is minted, and when not, is the same for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt, wait_random_exponential

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.json_text import loaded, mapping
from orchestrator.channel.retry_after import retry_after
from orchestrator.channel.rules import Rule, by_status, unanswered
from orchestrator.channel.transport import Answer, NoAnswer
from orchestrator.clock import Clock

MINT_LIMIT = timedelta(seconds=10)
"""All tries of one minting together."""
EARLY = timedelta(minutes=5)
FORCED_APART = timedelta(minutes=20)
"""A refused token is replaced at once; when the new one never worked either, not again within this time."""
BREATH = timedelta(seconds=10)
"""A token that worked and is then refused was revoked: replaced as well, but not in a loop."""
_FAILURE_HOLDS = timedelta(seconds=5)  # a token server in trouble is not asked once per message
_TRIES = 3
_LONGEST = 4096
_REFUSED = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, when it should be replaced, and when it ends."""

    value: str
    refresh_at: datetime
    ends_at: datetime


Mint = Callable[[], Awaitable[Token | Outcome]]
"""One request for a token. What it cannot have is an outcome of the message that needed it: that was not sent."""


def lasting(value: object, life: timedelta, asked_at: datetime) -> Token | None:
    """A token that ends ``life`` after it was asked for; None for what cannot stand in a header."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not 0 < len(value) <= _LONGEST:
        return None
    if life <= timedelta():
        return None
    return Token(value, asked_at + life - min(EARLY, life / 6), asked_at + life)


def unminted(answer: Answer | NoAnswer, now: datetime, code: str = "", rule: Rule | None = None) -> Outcome:
    """Why there is no token: by ``rule`` where a table knows the ``code``; else a refusal stops, and trouble passes."""
    if isinstance(answer, NoAnswer):
        return unsent(unanswered(answer))
    named = retry_after(answer.headers, now)
    if rule is not None:
        return unsent(rule.outcome(code, "", named))
    passing = answer.status in {408, 425, 429} or answer.status >= 500  # noqa: PLR2004
    if not passing and (code or answer.status >= 400):  # noqa: PLR2004
        return unsent(_REFUSED.outcome(code or str(answer.status), "the token server refused the credentials"))
    return unsent(by_status(answer.status, "", named))


def unsent(outcome: Outcome) -> Outcome:
    """The message was not on its way yet, whatever became of the minting: nothing is ambiguous about it."""
    kind = OutcomeClass.RETRY if outcome.kind is OutcomeClass.AMBIGUOUS else outcome.kind
    return replace(outcome, kind=kind, code=f"token:{outcome.code}", may_have_left=False)


def json_object(answer: Answer) -> Mapping[str, Any]:
    """The JSON object of an answer; empty for HTML, for nothing, and for what was cut short."""
    return mapping(loaded(answer.body)) if answer.whole else {}


class CachedToken:
    """The account's current token. Safe for many tasks of one loop; raises nothing but cancellation."""

    def __init__(self, mint: Mint, clock: Clock) -> None:
        self._mint = mint
        self._clock = clock
        self._token: Token | None = None
        self._flight: asyncio.Task[Token | Outcome] | None = None
        self._failed: tuple[datetime, Outcome] | None = None
        self._forced_at: datetime | None = None
        self._proven = ""

    async def use(
        self, post: Callable[[str], Awaitable[Answer | NoAnswer]], refused: Callable[[Answer], bool]
    ) -> Answer | NoAnswer | Outcome:
        """``post`` with the token; once more with another one when the provider ``refused`` the first."""
        token = await self.token()
        if isinstance(token, Outcome):
            return token
        answer = await post(token)
        if isinstance(answer, Answer) and refused(answer):
            another = await self.instead_of(token)
            if another is None or isinstance(another, Outcome):
                return another or answer
            token, answer = another, await post(another)
        if isinstance(answer, Answer) and answer.status == 200 and not refused(answer):  # noqa: PLR2004
            self._proven = token
        return answer

    async def token(self) -> str | Outcome:
        """The token to use now; minted when there is none, by one task for all who wait."""
        now, token = self._clock.machine(), self._token
        if token is not None and now < token.ends_at:
            if now >= token.refresh_at and not self._recently_failed(now):
                self._flight = self._minting()  # in the background; this message goes with the token at hand
            return token.value
        if self._failed is not None and self._recently_failed(now):
            return self._failed[1]
        got = await asyncio.shield(self._minting())
        return got.value if isinstance(got, Token) else got

    async def instead_of(self, refused: str) -> str | Outcome | None:
        """Another token than the refused one; None when the refusal is not the token's fault."""
        now = self._clock.machine()
        if self._token is not None and self._token.value == refused:
            since = FORCED_APART if self._forced_at is None else now - self._forced_at
            if self._proven != refused and since < FORCED_APART:
                return None
            if since < BREATH:
                rule = Rule(OutcomeClass.RETRY, BREATH - since, Scope.ACCOUNT)
                return replace(rule.outcome("token:refused"), may_have_left=False)
            self._forced_at, self._token = now, None
        return await self.token()

    async def close(self) -> None:
        """Give up a minting under way."""
        if self._flight is not None and not self._flight.done():
            self._flight.cancel()
            await asyncio.wait([self._flight])

    def _recently_failed(self, now: datetime) -> bool:
        return self._failed is not None and now < self._failed[0]

    def _minting(self) -> asyncio.Task[Token | Outcome]:
        if self._flight is None or self._flight.done():
            self._flight = asyncio.get_running_loop().create_task(self._keep())
        return self._flight

    async def _keep(self) -> Token | Outcome:
        got = await _patiently(self._mint)
        if isinstance(got, Token):
            self._token, self._failed = got, None
        else:
            self._failed = (self._clock.machine() + max(_FAILURE_HOLDS, got.retry_after or timedelta()), got)
        return got


async def _patiently(mint: Mint) -> Token | Outcome:
    """A few tries when the token server is in passing trouble. No message hangs on it."""

    def last(state: RetryCallState) -> Token | Outcome:
        assert state.outcome is not None
        result: Token | Outcome = state.outcome.result()
        return result

    tries = AsyncRetrying(
        stop=stop_after_attempt(_TRIES),
        wait=wait_random_exponential(multiplier=0.2, max=1),
        retry=retry_if_result(lambda got: isinstance(got, Outcome) and got.kind is OutcomeClass.RETRY),
        retry_error_callback=last,
    )
    try:
        async with asyncio.timeout(MINT_LIMIT.total_seconds()):
            got: Token | Outcome = await tries(mint)
    except TimeoutError:
        return Outcome(OutcomeClass.RETRY, "token:timeout", may_have_left=False)
    return got
