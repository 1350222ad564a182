"""What Aliyun posts is signed by nobody: believed on the secret path, and nothing destructive without its records."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Reply, Report, ReportState
from orchestrator.channel.sms import aliyun_callbacks
from orchestrator.channel.sms.aliyun import AliyunChannel, AliyunOptions
from orchestrator.channel.sms.aliyun_callbacks import MOST_QUERIES, TAKEN
from orchestrator.channel.sms.aliyun_errors import CARRIER
from orchestrator.channel.wire import Wire
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers, html, reset, silence

HOOK = "h00k-s3cret"
RECEIPT = {
    "phone_number": "13800138000",
    "send_time": "2026-12-01 00:30:00",
    "report_time": "2026-12-01 00:30:05",
    "success": True,
    "err_code": "DELIVERED",
    "err_msg": "用户接收成功",
    "sms_size": "1",
    "biz_id": "900619",
    "out_id": "4711",
}
DEAD = RECEIPT | {"success": False, "err_code": "INVALID_NUMBER", "err_msg": "空号"}
DELIVERED = Report("900619", "delivered", ReportState.DELIVERED, message_id=4711)
UNDELIVERED = Report("900619", "undelivered", ReportState.UNDELIVERED, "INVALID_NUMBER", message_id=4711)
GONE = replace(UNDELIVERED, kind=OutcomeClass.DROP_ADDRESS)


def records(*found: tuple[str, int, str]) -> Act:
    listed = [{"OutId": out_id, "SendStatus": status, "ErrCode": code} for out_id, status, code in found]
    body = {"Code": "OK", "TotalCount": len(listed), "SmsSendDetailDTOs": {"SmsSendDetailDTO": listed}}
    return answers(200, body)


PROOF = records(("4711", 2, "INVALID_NUMBER"))


def heard(
    clock: ManualClock, body: object, act: Act = PROOF, hook: str = f"report/{HOOK}", secret: str = HOOK
) -> tuple[object, list[dict[str, str]]]:
    """What is believed, and the queries it took."""

    async def main() -> tuple[object, list[dict[str, str]]]:
        async with FarEnd().plays("/", act) as far:
            given = {
                "access_key_id": "LTAI0",
                "access_key_secret_file": Path("x"),
                "signature": "s",
                "base_url": far.url,
            }
            options = AliyunOptions.model_validate(given)
            transport = Wire(timedelta(seconds=0.5))
            channel = AliyunChannel(options, "secret", transport, clock, callback_secret=secret)
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            got = await channel.hear(CallbackRequest(f"https://push.example/{hook}", hook, {}, {}, raw))
            await channel.close()
            return got, [seen.form for seen in far.requests]

    return asyncio.run(main())


def test_a_delivery_needs_no_query(clock: ManualClock) -> None:
    got, queries = heard(clock, [RECEIPT])
    assert got == Heard([DELIVERED], TAKEN)
    assert json.loads(TAKEN) == {"code": 0, "msg": "成功"}
    assert not queries


def test_a_failure_that_ends_nothing_needs_no_query(clock: ManualClock) -> None:
    got, queries = heard(clock, [DEAD | {"err_code": "UNDELIV"}])
    assert got == Heard([replace(UNDELIVERED, code="UNDELIV")], TAKEN)
    assert not queries


def test_a_dead_number_counts_when_aliyuns_records_say_so(clock: ManualClock) -> None:
    got, (query,) = heard(clock, [DEAD])
    assert got == Heard([GONE], TAKEN)
    asked = {name: query[name] for name in ("Action", "PhoneNumber", "BizId", "SendDate")}
    assert asked == {
        "Action": "QuerySendDetails",
        "PhoneNumber": "13800138000",
        "BizId": "900619",
        "SendDate": "20261201",  # of Beijing, where it is half past midnight
    }


LIES = {
    "it was delivered": records(("4711", 3, "DELIVERED")),
    "no receipt yet": records(("4711", 1, "")),
    "it failed for another reason": records(("4711", 2, "UNDELIV")),
    "another text failed": records(("4712", 2, "INVALID_NUMBER")),
    "there is no such text": records(),
    "records do not answer": silence,
    "records break": reset,
    "records refuse": answers(403, {"Code": "Forbidden.RAM"}),
    "records are ill": html(502),
}


@pytest.mark.parametrize("name", LIES)
def test_without_proof_the_number_lives(clock: ManualClock, name: str) -> None:
    got, queries = heard(clock, [DEAD], LIES[name])
    assert got == Heard([UNDELIVERED], TAKEN)
    assert len(queries) == 1


def test_a_receipt_without_our_id_ends_nothing(clock: ManualClock) -> None:
    got, _ = heard(clock, [DEAD | {"out_id": ""}], records(("", 2, "INVALID_NUMBER")))
    assert got == Heard([replace(UNDELIVERED, message_id=None)], TAKEN)


def test_a_variant_that_trusts_is_caught(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deliberately broken one: with it, whoever knows the path could kill any number."""

    async def trusting(*_: Any) -> bool:
        return True

    monkeypatch.setattr(aliyun_callbacks, "_verified", trusting)
    got, queries = heard(clock, [DEAD], LIES["it was delivered"])
    with pytest.raises(AssertionError):
        assert got == Heard([UNDELIVERED], TAKEN)
    assert got == Heard([GONE], TAKEN)
    assert not queries


@pytest.mark.parametrize(("code", "kind"), CARRIER.items())
def test_every_code_of_a_carrier(clock: ManualClock, code: str, kind: OutcomeClass) -> None:
    got, _ = heard(clock, [DEAD | {"err_code": code}], records(("4711", 2, code)))
    assert got == Heard([replace(UNDELIVERED, code=code, kind=kind)], TAKEN)


def test_queries_are_bounded(clock: ManualClock) -> None:
    """A batch of hundreds: all are reported, some without their consequence."""
    batch = [DEAD | {"biz_id": str(number), "out_id": "4711"} for number in range(3 * MOST_QUERIES)]
    got, queries = heard(clock, batch)
    assert isinstance(got, Heard)
    kinds = [each.kind for each in got.said if isinstance(each, Report)]
    assert len(kinds) == 3 * MOST_QUERIES
    assert kinds.count(OutcomeClass.DROP_ADDRESS) == len(queries) == MOST_QUERIES


def test_queries_take_no_longer_than_aliyun_waits(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aliyun_callbacks, "PATIENCE", timedelta(seconds=0.1))
    batch = [DEAD | {"biz_id": str(number)} for number in range(MOST_QUERIES)]
    start = time.perf_counter()
    got, _ = heard(clock, batch, silence)
    assert isinstance(got, Heard)
    assert {each.kind for each in got.said if isinstance(each, Report)} == {None}
    assert time.perf_counter() - start < 1  # each alone waits for half a second, five at a time


def test_a_mixed_batch(clock: ManualClock) -> None:
    got, _ = heard(clock, [RECEIPT, DEAD, {"biz_id": 5}, {}, "x"])
    assert got == Heard([DELIVERED, GONE], TAKEN)


UP = {
    "phone_number": "13800138000",
    "content": " 退订 please ",
    "send_time": "2026-12-01 00:40:00",
    "dest_code": "1234",
    "sequence_id": "1234567890",
}


def test_somebody_writes_back(clock: ManualClock) -> None:
    got, queries = heard(clock, [UP, UP | {"sequence_id": 1234567891}], hook=f"reply/{HOOK}")
    first = Reply("up:1234567890", "+8613800138000", " 退订 please ")
    assert got == Heard([first, replace(first, provider_id="up:1234567891")], TAKEN)
    assert not queries


def test_replies_without_a_number_of_their_own(clock: ManualClock) -> None:
    bare: Mapping[str, object] = {name: value for name, value in UP.items() if name != "sequence_id"}
    got, _ = heard(clock, [bare, bare, {**bare, "content": "T"}, {"content": "x"}, {}], hook=f"reply/{HOOK}")
    assert isinstance(got, Heard)
    ids = [each.provider_id for each in got.said if isinstance(each, Reply)]
    assert len(ids) == 3
    assert len(set(ids)) == 2


def test_what_is_not_believed(clock: ManualClock) -> None:
    for hook in ("report", "report/", f"report/{HOOK}x", f"report/{HOOK[1:]}", f"status/{HOOK}", "", f"REPORT/{HOOK}"):
        assert heard(clock, [DEAD], hook=hook) == (Refused.FORGED, [])
    for hook in ("report/", "reply/", "report"):  # an account without a secret hears nothing
        assert heard(clock, [DEAD], hook=hook, secret="") == (Refused.FORGED, [])
    for body in (b"", b"<html>", {"biz_id": "1"}, 5):
        assert heard(clock, body) == (Refused.MALFORMED, [])
