"""What Huawei, Xiaomi, OPPO and vivo say back, and are asked by ``doctor``: whom to believe, and what says nothing."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.channel.base import Health
from orchestrator.channel.callback import CallbackRequest, Heard, Refused
from orchestrator.clock import ManualClock
from tests.channel.far_end import answers
from tests.channel.push.makers import HOOK_SECRET, MAKERS, SECRET, Maker, opened

each_maker = pytest.mark.parametrize("maker", MAKERS, ids=lambda one: one.name)


def heard(maker: Maker, clock: ManualClock, body: bytes, hook: str = f"report/{HOOK_SECRET}", **more: object) -> object:
    async def main() -> Heard | Refused:
        channel = maker.open("http://127.0.0.1:9", clock, 1, **more)
        try:
            told: Heard | Refused = await channel.hear(CallbackRequest("", hook, {}, {}, body))
            return told
        finally:
            await channel.close()

    return asyncio.run(main())


@each_maker
@pytest.mark.parametrize(
    "hook", ["report/", "report/wrong", "report", f"reply/{HOOK_SECRET}", f"report/{HOOK_SECRET}x", HOOK_SECRET, "报告"]
)
def test_another_path_is_not_believed(maker: Maker, hook: str, clock: ManualClock) -> None:
    body = b'{"statuses":[]}' if maker.name == "huawei" else b"[]" if maker.name == "oppo" else b"{}"
    assert isinstance(heard(maker, clock, body), Heard)
    assert heard(maker, clock, body, hook) is Refused.FORGED


@each_maker
def test_without_a_secret_nothing_is_believed(maker: Maker, clock: ManualClock) -> None:
    async def main() -> None:
        channel = maker.open("http://127.0.0.1:9", clock, 1)
        channel._callback_secret = ""
        for hook in ("report/", "report"):
            assert await channel.hear(CallbackRequest("", hook, {}, {}, b"{}")) is Refused.FORGED
        await channel.close()

    asyncio.run(main())


@each_maker
@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"7", b'"text"', b"null", b"{", b'[{"a":1}', b"data=%7B"])
def test_what_is_no_receipt(maker: Maker, body: bytes, clock: ManualClock) -> None:
    assert heard(maker, clock, body) is Refused.MALFORMED


@each_maker
def test_strange_receipts_say_nothing(maker: Maker, clock: ManualClock) -> None:
    strange: dict[str, list[bytes]] = {
        "huawei": [b'{"statuses":[1,{},{"status":"0"},{"status":true,"biTag":"1"},{"biTag":"4711","requestId":7}]}'],
        "xiaomi": [b'{"a":1,"b":{},"c":{"type":9},"d":{"type":true}}'],
        "oppo": [b'[1,{},{"eventType":"push_arrive"},{"eventType":"odd","messageId":"1"},{"eventType":7}]'],
        "vivo": [b'{"a":1}'],
    }
    for body in strange[maker.name]:
        told = heard(maker, clock, body)
        assert isinstance(told, Heard)
        assert list(told.said) == []


@each_maker
def test_check_finds_credentials_that_work_and_such_that_do_not(maker: Maker, clock: ManualClock) -> None:
    async def main(good: bool) -> list[Health]:
        wrong = {"xiaomi": maker.error("21301"), "huawei": maker.error("80200001", 401)}.get(maker.name, maker.ok())
        fine = maker.error("80300007") if maker.name == "huawei" else maker.ok()
        bad = {"huawei": answers(400, {"error": 1101}), "vivo": maker.error("10204")}.get(maker.name, maker.error("16"))
        tokens = [answers(200, maker.token_answer(1)) if good else bad] if maker.token else []
        async with opened(maker, clock, fine if good else wrong, tokens=tokens) as (channel, far):
            far.plays("/v1/trace/message/status", fine if good else wrong)
            far.plays("/intl/server/v1/auth", *tokens)
            found = await channel.check()
            assert SECRET not in repr(found)
            return [each.health for each in found]

    assert set(asyncio.run(main(good=True))) == {Health.FINE}
    assert set(asyncio.run(main(good=False))) == {Health.BROKEN}


@each_maker
def test_check_sees_a_clock_that_is_wrong_and_a_provider_that_is_away(maker: Maker, clock: ManualClock) -> None:
    async def main() -> None:
        date = "Tue, 01 Dec 2026 05:00:00 GMT"  # two hours ahead of ours
        tokens = [answers(200, maker.token_answer(1), date=date)] if maker.token else []
        async with opened(maker, clock, answers(200, maker.accepted, date=date), tokens=tokens) as (channel, far):
            far.plays("/v1/trace/message/status", answers(200, maker.accepted, date=date))
            far.plays("/intl/server/v1/auth", *tokens)
            found = await channel.check()
            assert Health.BROKEN in {each.health for each in found}
            assert any("clock" in each.what for each in found)
        channel = maker.open("http://127.0.0.1:9", clock, 0.5)
        assert {each.health for each in await channel.check()} <= {Health.BROKEN, Health.WARNING}
        await channel.close()

    asyncio.run(main())
