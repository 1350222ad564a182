"""SMS through Aliyun (阿里云短信), dysmsapi 2017-05-25: a template and a signature that Aliyun has approved.

There is no idempotency: ``OutId`` comes back in receipts and records, and hinders nothing. So a message whose answer
was lost is held (``Ambiguity.HOLD``) until ``reconcile`` finds it in Aliyun's records, or finds that it never arrived.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.channel.base import (
    Ambiguity,
    Channel,
    Envelope,
    Finding,
    Health,
    Inquiry,
    Outcome,
    OutcomeClass,
    Payload,
    SmsPayload,
)
from orchestrator.channel.beijing import BEIJING
from orchestrator.channel.callback import CallbackRequest, Heard, Refused
from orchestrator.channel.json_text import loaded, mapping, text
from orchestrator.channel.options import FromEnvironment, read_options, safe_url, secret_of
from orchestrator.channel.rules import unanswered, unsendable
from orchestrator.channel.secret_hook import secret_if_given
from orchestrator.channel.skew import skew_finding
from orchestrator.channel.sms.aliyun_callbacks import hear
from orchestrator.channel.sms.aliyun_details import KEPT_DAYS, details
from orchestrator.channel.sms.aliyun_errors import classify, error_code
from orchestrator.channel.sms.aliyun_message import problems
from orchestrator.channel.sms.aliyun_numbers import to_aliyun
from orchestrator.channel.sms.aliyun_signature import encoded, signed
from orchestrator.channel.transport import Answer, Http, NoAnswer
from orchestrator.channel.wire import Wire
from orchestrator.clock import Clock, SystemClock

BASE_URL = "https://dysmsapi.aliyuncs.com"
_REQUEST_TIMEOUT = timedelta(seconds=15)
_DETAILS_LIMIT = 512 * 1024  # fifty long texts
_NOBODY = "10000000000"  # no such number is ever given out
_RECORDED_AFTER = timedelta(minutes=10)
"""A text that is not in the records so long after it was sent never arrived; before, they may be behind."""
_CLOCKS_APART = timedelta(minutes=2)  # between Aliyun and us, generously
_ID_LIMIT = 64


class AliyunOptions(BaseModel):
    """What an account at Aliyun needs: a key that may send, and an approved signature."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    access_key_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{4,64}$")]
    access_key_secret_file: Path | None = None
    access_key_secret: FromEnvironment = None
    signature: Annotated[str, Field(min_length=1, max_length=40)]
    extend_code: Annotated[str, Field(pattern=r"^\d{0,10}$")] = ""
    parameter_length: Annotated[int, Field(ge=1, le=1000)] = 35
    callback_secret_file: Path | None = None
    callback_secret: FromEnvironment = None
    base_url: str = BASE_URL
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = _REQUEST_TIMEOUT


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: an Aliyun account from its options. Where receipts go is told to Aliyun's console."""
    del callback_url
    given = read_options(AliyunOptions, account, options)
    return AliyunChannel(
        given.model_copy(update={"base_url": safe_url(account, "base_url", given.base_url)}),
        secret_of(account, given, "access_key_secret"),
        Wire(given.timeout),
        SystemClock(),
        callback_secret=secret_if_given(account, given, "callback_secret"),
    )


class AliyunChannel:
    """One account at Aliyun; also hears its receipts, and what people write back."""

    channel = "sms"
    provider = "aliyun"
    kinds = frozenset({"phone"})
    ambiguity = Ambiguity.HOLD

    def __init__(
        self,
        options: AliyunOptions,
        access_key_secret: str,
        transport: Http,
        clock: Clock,
        *,
        callback_secret: str = "",
    ) -> None:
        self.timeout = transport.timeout + timedelta(seconds=3)  # waiting for a connection comes on top
        self._options = options
        self._secret = access_key_secret
        self._transport = transport
        self._clock = clock
        self._callback_secret = callback_secret

    async def send(self, envelope: Envelope) -> Outcome:
        """One request."""
        payload = envelope.payload
        if (reasons := self.problems(payload)) or not isinstance(payload, SmsPayload):
            return unsendable(reasons)
        answer = await self._call(self._message(envelope, payload), begin_by=envelope.begin_by)
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        body = mapping(loaded(answer.body)) if answer.whole else {}
        biz_id = text(body.get("BizId"))
        if answer.status == 200 and error_code(answer) == "OK" and 0 < len(biz_id) <= _ID_LIMIT:  # noqa: PLR2004
            return Outcome(OutcomeClass.ACCEPTED, code="OK", provider_id=biz_id)
        private = [self._options.access_key_id, self._secret, *_private(envelope, payload)]
        return classify(answer, self._clock.machine(), private)

    def problems(self, payload: Payload) -> list[str]:
        """Why Aliyun would refuse this payload."""
        return problems(payload, self._options.parameter_length)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """Look for our id among the records of that number, on the day in Beijing when it was sent."""
        now = self._clock.machine()
        if now - inquiry.sent_at > timedelta(days=KEPT_DAYS - 1):
            return None
        missing = now - inquiry.sent_at >= _RECORDED_AFTER
        for day in _days(inquiry.sent_at, self.timeout):
            known = await details(self._query, to_aliyun(inquiry.address), day)
            if known is not None and any(each.out_id == inquiry.message_id for each in known.found):
                return Outcome(OutcomeClass.ACCEPTED, code="reconciled")  # records do not show the BizId
            missing = missing and known is not None and known.whole
        return Outcome(OutcomeClass.DROP_MESSAGE, code="never_arrived") if missing else None

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """Receipts (``report/SECRET``) and replies (``reply/SECRET``)."""
        return await hear(request, secret=self._callback_secret, call=self._query, now=self._clock.machine())

    async def check(self) -> Sequence[Finding]:
        """Ask for the records of a number that nobody has."""
        today = self._clock.machine().astimezone(BEIJING).date()
        asked = {"Action": "QuerySendDetails", "PhoneNumber": _NOBODY, "SendDate": today.strftime("%Y%m%d")}
        answer = await self._query({**asked, "PageSize": "1", "CurrentPage": "1"})
        if isinstance(answer, NoAnswer):
            hint = "check the network, and base_url"
            return [Finding(Health.BROKEN, f"Aliyun does not answer ({answer.failure.value})", hint)]
        skewed = skew_finding(answer.headers, self._clock.machine())
        return [self._finding(answer), *([skewed] if skewed else [])]

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()

    def _finding(self, answer: Answer) -> Finding:
        code = error_code(answer)
        outcome = classify(answer, self._clock.machine(), ())
        if code == "OK" or outcome.kind is OutcomeClass.DROP_ADDRESS:  # it may say that this is no number
            return Finding(Health.FINE, "Aliyun accepts the access key")
        if outcome.kind is OutcomeClass.STOP_CHANNEL:
            hint = "the key needs dysms:SendSms and dysms:QuerySendDetails; compare it with RAM's page at Aliyun"
            return Finding(Health.BROKEN, f"Aliyun refuses us: {outcome.code} {outcome.detail}".strip(), hint)
        return Finding(Health.WARNING, f"Aliyun answers {outcome.code} {outcome.detail}".strip(), "try again later")

    def _message(self, envelope: Envelope, payload: SmsPayload) -> dict[str, str]:
        message = {
            "Action": "SendSms",
            "PhoneNumbers": to_aliyun(envelope.address),
            "SignName": self._options.signature,
            "TemplateCode": payload.approved,
            "OutId": envelope.message_id,
        }
        if payload.parameters:
            message["TemplateParam"] = orjson.dumps(dict(payload.parameters)).decode()
        if self._options.extend_code:
            message["SmsUpExtendCode"] = self._options.extend_code
        return message

    async def _query(self, parameters: Mapping[str, str]) -> Answer | NoAnswer:
        return await self._call(parameters, _DETAILS_LIMIT)

    async def _call(
        self, parameters: Mapping[str, str], limit: int = 64 * 1024, begin_by: float = math.inf
    ) -> Answer | NoAnswer:
        """One call, signed with a nonce of its own."""
        now = self._clock.machine()
        form = signed(parameters, key_id=self._options.access_key_id, secret=self._secret, now=now)
        headers = {"content-type": "application/x-www-form-urlencoded"}
        url = f"{self._options.base_url}/"
        body = encoded(form)
        return await self._transport.request("POST", url, headers=headers, body=body, limit=limit, begin_by=begin_by)


def _days(sent_at: datetime, patience: timedelta) -> list[date]:
    """The days in Beijing on which Aliyun may have taken it: two around midnight."""
    earliest, latest = sent_at - _CLOCKS_APART, sent_at + patience + _CLOCKS_APART
    return sorted({instant.astimezone(BEIJING).date() for instant in (earliest, latest)})


def _private(envelope: Envelope, payload: SmsPayload) -> list[str]:
    return [envelope.address, to_aliyun(envelope.address), payload.body, *payload.parameters.values()]
