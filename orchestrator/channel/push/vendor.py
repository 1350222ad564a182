"""What the phone makers' own push services have in common: codes in JSON, data for the app, receipts nobody signs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.channel.base import (
    ACK_LENGTH,
    Envelope,
    Finding,
    Health,
    Outcome,
    OutcomeClass,
    Payload,
    PushPayload,
    Scope,
)
from orchestrator.channel.callback import CallbackRequest, Refused, carried_id
from orchestrator.channel.json_text import loaded
from orchestrator.channel.options import FromEnvironment, problem
from orchestrator.channel.push.quotas import MARKETING, NO_QUOTA, DailyQuota, categories, daily_quota, until_tomorrow
from orchestrator.channel.redact import redact
from orchestrator.channel.retry_after import retry_after
from orchestrator.channel.rules import Rule, by_status, uncharted
from orchestrator.channel.secret_hook import knocks
from orchestrator.channel.skew import skew_finding
from orchestrator.channel.transport import Answer, NoAnswer
from orchestrator.errors import ConfigError

HOOK = "report"
SHANGHAI = "Asia/Shanghai"
ANY_TOKEN = "doctor-asks-whether-the-credentials-work"  # noqa: S105  # nobody's address
_OURS = frozenset({"msg_id", "link", "ack"})
_ID_ROOM = 19  # decimal digits of our longest message id
_LONGEST_CODE = 24
_LARGEST_ID = 2**31 - 1

STOP = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)
DROP = Rule(OutcomeClass.DROP_MESSAGE)
DEAD = Rule(OutcomeClass.DROP_ADDRESS)
RETRY = Rule(OutcomeClass.RETRY, scope=Scope.ACCOUNT)
SLOWER = Rule(OutcomeClass.RETRY_AFTER, timedelta(minutes=1), Scope.ACCOUNT)
TOMORROW = Rule(OutcomeClass.RETRY_AFTER, timedelta(hours=1), Scope.ACCOUNT)
"""A daily limit of the app: until the next day begins at the provider."""


class MakerOptions(BaseModel):
    """What accounts at all phone makers need: the secret of receipts, the day's quota, and how long to wait."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    callback_secret_file: Path | None = None
    callback_secret: FromEnvironment = None
    quota: str = MARKETING
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = timedelta(seconds=10)


def custom_data(envelope: Envelope, payload: PushPayload) -> dict[str, str]:
    """What the app finds in the message: its data, where to go, and what to report it with."""
    link = {"link": payload.link} if payload.link else {}
    ack = {"ack": envelope.ack} if envelope.ack else {}
    return {**payload.data, **link, **ack, "msg_id": envelope.message_id}


def widest(payload: PushPayload) -> Envelope:
    """The largest that a message with this payload gets: a payload is judged before its message is known."""
    return Envelope("9" * _ID_ROOM, 1, "", "", payload, timedelta(days=1), "", ack="0" * ACK_LENGTH)


def dumped(value: object) -> str:
    """As compact JSON."""
    return orjson.dumps(value).decode()


def notify_id(collapse_key: str) -> int:
    """A number from 1 to 2³¹-1 for the key: a notification replaces the one with its number."""
    return int.from_bytes(sha256(collapse_key.encode()).digest()[:4]) % _LARGEST_ID + 1


def common_problems(payload: Payload) -> list[str]:
    """Why no phone maker would take this payload."""
    if not isinstance(payload, PushPayload):
        return ["a push account carries push payloads only"]
    texts = [payload.title, payload.body, payload.link, payload.image, *payload.data, *payload.data.values()]
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        return ["half of a character (a lone surrogate) in the text"]
    found = [f"data key {key!r} is reserved" for key in payload.data if key in _OURS]
    found += [f"no {name}" for name in ("title", "body") if not getattr(payload, name).strip()]
    return found


def code_of(value: object) -> str:
    """A code as it stands in JSON, as text; empty for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    text = str(value)
    plain = text.removeprefix("-").isalnum() and text.isascii()
    return text if plain and len(text) <= _LONGEST_CODE else ""


def judged(
    answer: Answer, code: str, words: object, table: Mapping[str, Rule], now: datetime, private: Iterator[str]
) -> Outcome:
    """The outcome of an answer that is no acceptance: by its code, else by its status; unknown codes are counted."""
    detail = redact(words, private) if isinstance(words, str) else ""
    named = retry_after(answer.headers, now)
    rule = table.get(code)
    if rule is TOMORROW and named is None:
        named = until_tomorrow(now, SHANGHAI)
    if rule is not None:
        return rule.outcome(code, detail, named)
    return uncharted(answer.status, code, detail, named) if code else by_status(answer.status, detail, named)


def private(envelope: Envelope, payload: PushPayload) -> Iterator[str]:
    """What must not stand in a ledger's detail."""
    yield from (envelope.address, payload.title, payload.body, payload.link, payload.image, envelope.ack)
    yield from payload.data.values()


def seconds_left(envelope: Envelope, least: int, most: int) -> int:
    """For how long the provider may keep trying; rounded down, never past the window."""
    return min(max(int(envelope.ttl.total_seconds()), least), most)


def quota_for(account: str, provider: str, category: str, on: datetime) -> DailyQuota | None:
    """The quota of an account.

    Raises:
        ConfigError: the provider has no such category.
    """
    known = categories(provider)
    if category not in known:
        hint = f"write one of {', '.join(sorted(known))}"
        raise ConfigError([problem(account, "quota", f"unknown category {category!r}", hint)])
    return None if category == NO_QUOTA else daily_quota(provider, on.date(), category)


def callback_of(account: str, callback_url: str, secret: str, most: int) -> str:
    """Where receipts are to be posted; empty when the account hears none.

    Raises:
        ConfigError: it is longer than the provider takes.
    """
    url = f"{callback_url}/{HOOK}/{secret}" if callback_url and secret else ""
    if len(url) > most:
        told = f"its callback address has {len(url)} characters; the provider takes {most}"
        raise ConfigError([problem(account, "", told, "shorten public_url, the account's name or callback_secret")])
    return url


def read_hook(request: CallbackRequest, secret: str) -> Any:
    """The JSON of a callback on the secret path, MALFORMED where it is none; FORGED for another path."""
    if not knocks(request.hook, HOOK, secret):
        return Refused.FORGED
    read = loaded(request.body)
    return Refused.MALFORMED if read is None else read


def told_of(said: Mapping[str, Any], targets_field: str = "targets") -> tuple[int | None, str]:
    """Whom a receipt is about: our message's id out of ``param``, and its address if it is one."""
    param, targets = said.get("param"), said.get(targets_field)
    address = targets if isinstance(targets, str) and "," not in targets else ""
    return carried_id(param) if isinstance(param, str) else None, address


def moment(milliseconds: object, otherwise: datetime) -> datetime:
    """The instant of a Unix time in milliseconds, as text or number."""
    text = str(milliseconds)
    if not text.isascii() or not text.isdigit() or len(text) > 14:  # noqa: PLR2004  # 14 digits: the year 5138
        return otherwise
    return datetime.fromtimestamp(int(text) / 1000, UTC)


def examined(answer: Answer | NoAnswer | Outcome, outcome: Outcome | None, now: datetime) -> Sequence[Finding]:
    """What ``doctor`` says of a message that nobody gets. ``outcome``: what is wrong with it; None: nothing is."""
    if isinstance(answer, NoAnswer):
        return [Finding(Health.BROKEN, f"no answer ({answer.failure})", "check base_url and the way out")]
    found = [] if isinstance(answer, Outcome) else [skew_finding(answer.headers, now)]
    told = [each for each in found if each is not None]
    if outcome is None:
        return [Finding(Health.FINE, "the provider takes the credentials"), *told]
    health = Health.BROKEN if outcome.kind is OutcomeClass.STOP_CHANNEL else Health.WARNING
    what = f"the provider answers {outcome.code}: {outcome.kind}"
    return [Finding(health, what, "compare app id and secrets with the provider's console"), *told]
