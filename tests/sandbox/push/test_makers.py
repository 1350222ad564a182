"""Huawei, Xiaomi, OPPO and vivo at the sandbox: real channels, real receipts, and what they suffer."""

from __future__ import annotations

import asyncio
import importlib
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from orchestrator.channel.base import Health, OutcomeClass
from orchestrator.channel.callback import Heard, Refused, Report, ReportState
from tests.sandbox.conftest import Customer, Open
from tests.sandbox.push.makers import NAMES, PAYLOAD, Listener, envelope, listening, open_channel, send

K = OutcomeClass
each = pytest.mark.parametrize("name", NAMES)
WITH_TOKENS = tuple(name for name in NAMES if name != "xiaomi")
OVER_QUOTA = {"huawei": "status:102", "xiaomi": "daily_limit", "oppo": "user_daily_limit"}


@each
def test_a_message_arrives(name: str, customer: Customer) -> None:
    (outcome,) = send(name, customer.sandbox, envelope("CN_reg-1", ack="signed"))
    assert (outcome.kind, bool(outcome.provider_id)) == (K.ACCEPTED, True)
    (record,) = customer.accepted()
    assert (record["provider"], record["to"], record["message_id"]) == (name, "CN_reg-1", "4711")
    assert (record["title"], record["body"], record["link"]) == (PAYLOAD.title, PAYLOAD.body, PAYLOAD.link)
    assert record["collapse_key"]
    assert 7000 < record["expires_at"] - record["time"] <= 7200
    phones = customer.ask("GET", "/sandbox/inbox").json["phones"]
    assert [phone["address"] for phone in phones] == ["CN_reg-1"]


@each
def test_a_dead_address(name: str, customer: Customer) -> None:
    (outcome,) = send(name, customer.sandbox, envelope("dead-1"))
    assert outcome.kind is K.DROP_ADDRESS
    assert customer.accepted() == []
    customer.fault(name, "dead_address", times=1)
    (outcome,) = send(name, customer.sandbox, envelope("alive-1"))
    assert outcome.kind is K.DROP_ADDRESS


@each
def test_wrong_credentials(name: str, customer: Customer) -> None:
    (outcome,) = send(name, customer.sandbox, envelope("reg-1"), secret="wrong")
    assert outcome.kind is K.STOP_CHANNEL
    assert customer.accepted() == []


@each
def test_check(name: str, customer: Customer) -> None:
    async def main(secret: str) -> set[Health]:
        channel = open_channel(name, customer.sandbox, secret=secret)
        found = {one.health for one in await channel.check()}
        await channel.close()
        return found

    assert asyncio.run(main("")) == {Health.FINE}
    assert asyncio.run(main("wrong")) == {Health.BROKEN}
    assert customer.accepted() == []


@pytest.mark.parametrize("name", WITH_TOKENS)
def test_an_expired_token_is_replaced(name: str, customer: Customer) -> None:
    async def main() -> None:
        channel = open_channel(name, customer.sandbox)
        assert (await channel.send(envelope("reg-1"))).kind is K.ACCEPTED
        await asyncio.to_thread(customer.fault, "token", "expire_tokens")
        assert (await channel.send(envelope("reg-1", "4712"))).kind is K.ACCEPTED
        await channel.close()

    asyncio.run(main())
    assert len(customer.accepted()) == 2
    assert customer.ask("GET", "/sandbox/counters").json["token"]["accepted"] == 2


@each
def test_receipts_come_back_to_the_message(name: str, customer: Customer) -> None:
    async def main() -> Listener:
        async with listening(name, customer.sandbox) as (channel, listener):
            outcomes = [await channel.send(envelope("reg-1", str(n))) for n in (11, 12)]
            await listener.wait(2)
            known = {outcome.provider_id for outcome in outcomes}
            assert {one.provider_id for one in listener.told} == known
            return listener

    told = asyncio.run(main()).told
    assert {one.message_id for one in told} == {11, 12}
    assert all(isinstance(one, Report) and one.state is ReportState.DELIVERED for one in told)


@each
def test_a_receipt_that_is_posted_twice_is_the_same_receipt(name: str, customer: Customer) -> None:
    async def main() -> Listener:
        async with listening(name, customer.sandbox) as (channel, listener):
            await asyncio.to_thread(customer.fault, "callback", "duplicate")
            await channel.send(envelope("reg-1"))
            await listener.wait(2)
            return listener

    told = [one for one in asyncio.run(main()).told if isinstance(one, Report)]
    assert len(told) == 2
    assert len({(one.provider_id, one.status) for one in told}) == 1


@each
def test_a_forged_receipt_is_refused(name: str, customer: Customer) -> None:
    async def main() -> Listener:
        async with listening(name, customer.sandbox) as (channel, listener):
            await asyncio.to_thread(customer.fault, "callback", "forged")
            await channel.send(envelope("reg-1"))
            await listener.wait(1)
            return listener

    listener = asyncio.run(main())
    assert (listener.verdicts, listener.told) == ([Refused.FORGED], [])


@pytest.mark.parametrize("name", NAMES)
def test_the_third_message_of_a_day_is_thrown_away_and_a_receipt_says_so(name: str, customer: Customer) -> None:
    async def main() -> Listener:
        async with listening(name, customer.sandbox) as (channel, listener):
            for n in range(1, 4):
                assert (await channel.send(envelope("capped-1", str(n)))).kind is K.ACCEPTED
                if name != "vivo" or n < 3:  # vivo says nothing
                    await listener.wait(n)
            return listener

    listener = asyncio.run(main())
    assert all(isinstance(verdict, Heard) for verdict in listener.verdicts)
    reports = [one for one in listener.told if isinstance(one, Report)]
    assert [one.state for one in reports[:2]] == [ReportState.DELIVERED] * 2
    if name == "vivo":
        assert len(reports) == 2
    else:
        assert (reports[2].state, reports[2].status) == (ReportState.UNDELIVERED, OVER_QUOTA[name])


@each
@pytest.mark.parametrize(
    ("kind", "options", "outcome", "accepted"),
    [
        ("status", {"status": 500}, K.RETRY, 0),
        ("html", {}, K.RETRY, 0),
        ("reset_before", {}, K.AMBIGUOUS, 0),
        ("reset_after", {}, K.AMBIGUOUS, 1),
        ("truncated", {}, K.AMBIGUOUS, 1),
        ("odd", {}, K.AMBIGUOUS, 1),
    ],
)
def test_faults(
    name: str, kind: str, options: dict[str, int], outcome: OutcomeClass, accepted: int, customer: Customer
) -> None:
    customer.fault(name, kind, times=1, **options)
    (got,) = send(name, customer.sandbox, envelope("reg-1"))
    assert got.kind in {outcome, K.RETRY_AFTER}
    assert len(customer.accepted()) == accepted


def test_a_message_whose_answer_was_lost_is_shown_once_at_oppo(customer: Customer) -> None:
    """``app_message_id``: the second copy is refused as a duplicate, which is an acceptance."""
    customer.fault("oppo", "reset_after", times=1)
    first, again = send("oppo", customer.sandbox, envelope("reg-1"), envelope("reg-1", attempt=2))
    assert (first.kind, again.kind) == (K.AMBIGUOUS, K.ACCEPTED)
    assert len(customer.accepted()) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if name != "oppo"])
def test_a_resend_replaces_what_is_shown(name: str, customer: Customer) -> None:
    customer.fault(name, "reset_after", times=1)
    first, again = send(name, customer.sandbox, envelope("reg-1"), envelope("reg-1", attempt=2))
    assert (first.kind, again.kind) == (K.AMBIGUOUS, K.ACCEPTED)
    one, two = customer.accepted()
    assert one["collapse_key"] == two["collapse_key"]
    assert one.get("tag") == two.get("tag")


def test_what_the_channel_finds_fine_the_sandbox_takes(customer: Customer) -> None:
    """The limits on either side were written apart: they must agree on random texts."""
    dice = random.Random(3)
    alphabet = 'aZ9 中文字é😀👨‍👩‍👧🇨🇳👍🏽,.!"\\'

    async def main(name: str) -> int:
        channel = open_channel(name, customer.sandbox)
        tried = 0
        for n in range(60):
            words = ["".join(dice.choice(alphabet) for _ in range(dice.randrange(1, most))) for most in (45, 140, 90)]
            payload = replace(PAYLOAD, title=words[0], body=words[1], data={"k": words[2]})
            if channel.problems(payload):
                continue
            tried += 1
            outcome = await channel.send(envelope(f"reg-{n}", str(n + 1), payload=payload))
            assert outcome.kind is K.ACCEPTED, (outcome.code, payload)
        await channel.close()
        return tried

    for name in NAMES:
        assert asyncio.run(main(name)) > 5


@each
def test_the_page_of_the_provider_says_how_to_send_to_the_sandbox(
    name: str, customer: Customer, tmp_path: Path
) -> None:
    """What stands in the docs is copied as it is; only where the sandbox is differs."""
    told = Path(f"docs/reference/channels/{name}.md").read_text(encoding="utf-8").partition("## With the sandbox")[2]
    (block,) = re.findall(r"```yaml\n(.*?)```", told, re.DOTALL)
    (tmp_path / f"{name}-callback").write_text("s3cret\n")
    here = block.replace("http://127.0.0.1:8090", customer.sandbox.url).replace("secrets/", f"{tmp_path}/")
    here = here.replace(".sandbox/", f"{customer.sandbox.credentials.folder}/")
    account = YAML(typ="safe", pure=True).load(here)["accounts"][name]
    assert (account["channel"], account["provider"]) == ("push", name)
    plugin = importlib.import_module(f"orchestrator.channel.push.{name}")

    async def main() -> None:
        channel = plugin.open_channel(name, account["options"], "")
        assert (await channel.send(envelope("reg-1"))).kind is K.ACCEPTED
        await channel.close()

    asyncio.run(main())


def test_secrets_are_there_before_the_first_request(open_sandbox: Open) -> None:
    folder = open_sandbox().sandbox.credentials.folder
    for file in ("huawei-client-secret", "xiaomi-app-secret", "oppo-master-secret", "vivo-app-secret"):
        assert (folder / file).read_text().strip()
