"""Aliyun's stand-in: signatures, codes, records and receipts; and our channel through it and back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from orchestrator.channel.base import Envelope, Health, Inquiry, OutcomeClass, SmsPayload
from orchestrator.channel.callback import CallbackRequest, Heard, Reply, Report, ReportState
from orchestrator.channel.sms.aliyun import AliyunChannel, AliyunOptions
from orchestrator.channel.transport import Transport
from orchestrator.clock import SystemClock
from orchestrator.sandbox.sms.aliyun import KEY_ID
from orchestrator.sandbox.sms.aliyun_rules import SIGNATURE, signature
from tests.sandbox.conftest import Answer, Customer
from tests.sandbox.posts import posts

K = OutcomeClass
HOOK = "h00k-s3cret"
PHONE = "+8613800138000"
PAYLOAD = SmsPayload("【阿里云沙箱】Hi 小明", "SMS_71390007", {"name": "小明"})
ENVELOPE = Envelope("4711", 1, PHONE, "phone", PAYLOAD, timedelta(minutes=9), "run-7-user-9")
T = TypeVar("T")


def secret(customer: Customer) -> str:
    return (customer.sandbox.credentials.folder / "aliyun-access-key-secret").read_text().strip()


def ask(customer: Customer, key: str | None = None, **changed: str) -> Answer:
    form = {
        "Action": "SendSms",
        "PhoneNumbers": "13800138000",
        "SignName": SIGNATURE,
        "TemplateCode": "SMS_1",
        "AccessKeyId": KEY_ID,
        "Format": "JSON",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": str(uuid4()),
        "SignatureVersion": "1.0",
        "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Version": "2017-05-25",
        **changed,
    }
    form = {name: value for name, value in form.items() if value != "-"}
    form.setdefault("Signature", signature("POST", form, key or secret(customer)))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return customer.ask("POST", "/aliyun/", urlencode(form).encode(), headers)


def through(customer: Customer, work: Callable[[AliyunChannel], Awaitable[T]]) -> T:
    """What our channel makes of the sandbox."""

    async def main() -> T:
        options = AliyunOptions(
            access_key_id=KEY_ID,
            access_key_secret_file=Path("x"),
            signature=SIGNATURE,
            base_url=f"{customer.sandbox.url}/aliyun",
        )
        transport = Transport(timedelta(seconds=5))
        channel = AliyunChannel(options, secret(customer), transport, SystemClock(), callback_secret=HOOK)
        try:
            return await work(channel)
        finally:
            await channel.close()

    return asyncio.run(main())


def test_the_published_vector_by_the_other_implementation() -> None:
    vector = {
        "AccessKeyId": "testId",
        "Action": "SendSms",
        "Format": "XML",
        "OutId": "123",
        "PhoneNumbers": "15300000001",
        "RegionId": "cn-hangzhou",
        "SignName": "阿里云短信测试专用",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": "45e25e9b-0a6f-4070-8c85-2956eda1b466",
        "SignatureVersion": "1.0",
        "TemplateCode": "SMS_71390007",
        "TemplateParam": '{"customer":"test"}',
        "Timestamp": "2017-07-12T02:42:19Z",
        "Version": "2017-05-25",
    }
    assert signature("GET", vector, "testSecret") == "zJDF+Lrzhj/ThnlvIToysFRq6t4="


def test_our_channel_is_accepted_and_shown(customer: Customer) -> None:
    outcome = through(customer, lambda channel: channel.send(ENVELOPE))
    assert outcome.kind is K.ACCEPTED
    (record,) = customer.accepted()
    assert (record["id"], record["message_id"], record["to"]) == (outcome.provider_id, "4711", PHONE)
    assert record["body"] == f"【{SIGNATURE}】SMS_71390007 小明"
    assert through(customer, lambda channel: channel.check())[0].health is Health.FINE


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"AccessKeyId": "LTAIother"}, "InvalidAccessKeyId.NotFound"),
        ({"Signature": "AAAA"}, "SignatureDoesNotMatch"),
        ({"Timestamp": "2020-01-01T00:00:00Z"}, "InvalidTimeStamp.Expired"),
        ({"Timestamp": "now"}, "InvalidTimeStamp.Expired"),
        ({"Version": "2016-01-01"}, "InvalidVersion"),
        ({"Colour": "red"}, "InvalidParameter"),
        ({"SignatureNonce": "-"}, "MissingSignatureNonce"),
        ({"Action": "SendMail"}, "InvalidAction.NotFound"),
        ({"PhoneNumbers": "-"}, "MissingPhoneNumbers"),
        ({"PhoneNumbers": "12345"}, "isv.MOBILE_NUMBER_ILLEGAL"),
        ({"PhoneNumbers": "19300000001"}, "isv.MOBILE_NUMBER_ILLEGAL"),
        ({"SignName": "another"}, "isv.SMS_SIGNATURE_ILLEGAL"),
        ({"TemplateCode": "hello"}, "isv.SMS_TEMPLATE_ILLEGAL"),
        ({"TemplateParam": "{"}, "isv.INVALID_JSON_PARAM"),
        ({"TemplateParam": '{"n":5}'}, "isv.INVALID_JSON_PARAM"),
        ({"TemplateParam": '{"n":"https://x"}'}, "isv.PARAM_NOT_SUPPORT_URL"),
        ({"TemplateParam": json.dumps({"n": "x" * 36})}, "isv.PARAM_LENGTH_LIMIT"),
    ],
)
def test_what_is_wrong_has_its_code(refuser: Customer, changed: dict[str, str], code: str) -> None:
    answer = ask(refuser, **changed)
    assert set(answer.json) == {"Code", "Message", "RequestId"}
    assert answer.json["Code"] == code
    assert (answer.status == 200) == code.startswith("isv.")
    assert refuser.accepted() == []


def test_a_nonce_is_good_once(customer: Customer) -> None:
    nonce = str(uuid4())
    assert ask(customer, SignatureNonce=nonce).json["Code"] == "OK"
    assert ask(customer, SignatureNonce=nonce).json["Code"] == "SignatureNonceUsed"
    assert ask(customer, key="guessed").json["Code"] == "SignatureDoesNotMatch"
    assert len(customer.accepted()) == 1


@pytest.mark.parametrize(
    ("number", "shown"),
    [("13800138000", PHONE), ("+8613800138000", PHONE), ("008613800138000", PHONE), ("85251234567", "+85251234567")],
)
def test_numbers(customer: Customer, number: str, shown: str) -> None:
    assert ask(customer, PhoneNumbers=number).json["Code"] == "OK"
    assert customer.accepted()[0]["to"] == shown


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 200, "code": "isv.BUSINESS_LIMIT_CONTROL"}, K.RETRY_AFTER),
        ({"kind": "status", "status": 500}, K.RETRY),
        ({"kind": "status", "status": 429}, K.RETRY_AFTER),
        ({"kind": "dead_address"}, K.DROP_ADDRESS),
        ({"kind": "html"}, K.RETRY),
        ({"kind": "truncated"}, K.AMBIGUOUS),
        ({"kind": "reset_before"}, K.AMBIGUOUS),
    ],
)
def test_faults(customer: Customer, fault: dict[str, Any], kind: OutcomeClass) -> None:
    customer.fault("aliyun", **fault)
    assert through(customer, lambda channel: channel.send(ENVELOPE)).kind is kind


def test_a_lost_answer_is_found_in_the_records(customer: Customer) -> None:
    """R5: held, never sent again, and settled by asking."""
    customer.fault("aliyun", "reset_after")
    assert through(customer, lambda channel: channel.send(ENVELOPE)).kind is K.AMBIGUOUS
    assert len(customer.accepted()) == 1
    inquiry = Inquiry("4711", PHONE, PAYLOAD, datetime.now(UTC))
    found = through(customer, lambda channel: channel.reconcile(inquiry))
    assert found is not None
    assert found.kind is K.ACCEPTED
    old = replace(inquiry, message_id="4712", sent_at=datetime.now(UTC) - timedelta(hours=1))
    gone = through(customer, lambda channel: channel.reconcile(old))
    assert gone is not None
    assert (gone.kind, gone.code) == (K.DROP_MESSAGE, "never_arrived")


def tell(customer: Customer, provider: str, url: str) -> None:
    customer.ask("POST", "/sandbox/callbacks", json.dumps({"provider": provider, "url": url}).encode())


def received(customer: Customer, envelope: Envelope, url: str, path: str, body: bytes) -> Report:
    """The one report that our channel makes of a post."""
    request = CallbackRequest(url, path[1:], {}, {}, body)
    heard = through(customer, lambda channel: channel.hear(request))
    assert isinstance(heard, Heard)
    (report,) = heard.said
    assert isinstance(report, Report)
    assert report.message_id == int(envelope.message_id)
    return report


@pytest.mark.parametrize(
    ("phone", "state", "kind"),
    [
        (PHONE, ReportState.DELIVERED, None),
        ("+8619200012345", ReportState.UNDELIVERED, K.DROP_ADDRESS),
        ("+8619211112345", ReportState.UNDELIVERED, K.SUPPRESS),
    ],
)
def test_receipts_come_back(customer: Customer, phone: str, state: ReportState, kind: OutcomeClass | None) -> None:
    envelope = replace(ENVELOPE, address=phone)
    with posts() as kept:
        tell(customer, "aliyun", f"{kept.url}/report/{HOOK}")
        outcome = through(customer, lambda channel: channel.send(envelope))
        (post,) = kept.wait_for(1)
    report = received(customer, envelope, kept.url, post.path, post.body)
    assert (report.provider_id, report.state, report.kind) == (outcome.provider_id, state, kind)


def test_a_forged_receipt_kills_nobody(customer: Customer) -> None:
    """Aliyun signs nothing: a forger says that the number is dead, and the records say otherwise."""
    customer.fault("callback", "forged")
    with posts() as kept:
        tell(customer, "aliyun", f"{kept.url}/report/{HOOK}")
        through(customer, lambda channel: channel.send(ENVELOPE))
        (post,) = kept.wait_for(1)
    assert json.loads(post.body)[0]["err_code"] == "INVALID_NUMBER"
    assert received(customer, ENVELOPE, kept.url, post.path, post.body).kind is None


def test_a_reply_goes_to_the_provider_of_the_last_text(customer: Customer) -> None:
    with posts() as kept:
        tell(customer, "aliyun-reply", f"{kept.url}/reply/{HOOK}")
        customer.text(To=PHONE)  # by Twilio
        assert customer.reply("too early", PHONE).status == 202
        through(customer, lambda channel: channel.send(ENVELOPE))
        customer.reply("退订", PHONE)
        (post,) = kept.wait_for(1)
        time.sleep(0.1)  # nothing more is under way
        assert len(kept.kept) == 1
    request = CallbackRequest(kept.url, post.path[1:], {}, {}, post.body)
    heard = through(customer, lambda channel: channel.hear(request))
    assert isinstance(heard, Heard)
    (reply,) = heard.said
    assert isinstance(reply, Reply)
    assert (reply.address, reply.text) == (PHONE, "退订")
