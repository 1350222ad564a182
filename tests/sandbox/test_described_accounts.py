"""What the pages of JPush, Getui, Aliyun and the gateway tell a new user to write works with the sandbox."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from orchestrator.channel.base import Checks, Envelope, Health, OutcomeClass, PushPayload, SmsPayload
from orchestrator.channel.plugins import open_channel
from tests.sandbox.conftest import Customer

PAGES = Path("docs/reference/channels")
SANDBOX = "http://127.0.0.1:8090"


def accounts(page: str) -> dict[str, dict[str, Any]]:
    """The accounts at the sandbox that a page shows."""
    blocks = [block.partition("```")[0] for block in (PAGES / page).read_text().split("```yaml\n")[1:]]
    shown = [YAML(typ="safe").load(StringIO(block))["accounts"] for block in blocks if SANDBOX in block]
    return {name: account for each in shown for name, account in each.items()}


SHOWN = {
    name: account
    for page in ("jpush.md", "getui.md", "aliyun.md", "gateway.md")
    for name, account in accounts(page).items()
}
TO = {"push": "0ad2b8c31104a8979", "sms": "+8613800138000"}


def here(value: Any, customer: Customer, tmp_path: Path) -> Any:
    """The options with this sandbox's address, and this test's folders."""
    if not isinstance(value, str):
        return value
    state = str(customer.sandbox.options.state)
    value = value.replace(SANDBOX, customer.sandbox.url).replace(".sandbox/", f"{state}/")
    return value.replace("secrets/", f"{tmp_path}/")


@pytest.mark.parametrize("name", SHOWN)
def test_as_written(customer: Customer, tmp_path: Path, name: str) -> None:
    account = SHOWN[name]
    for secret in ("aliyun-callback", "gateway-callback"):
        (tmp_path / secret).write_text("0123456789abcdef")
    customer.accepted()  # it is up, and its files are there
    options = {option: here(value, customer, tmp_path) for option, value in account["options"].items()}
    payload = PushPayload("Hi", "Noodles") if account["channel"] == "push" else SmsPayload("Hi", "SMS_1", {"name": "A"})

    async def main() -> None:
        url = f"https://push.example/callbacks/{name}"
        channel: Any = open_channel(name, account["provider"], options, callback_url=url)
        kind = min(channel.kinds)
        envelope = Envelope("4711", 1, TO[account["channel"]], kind, payload, timedelta(minutes=9), "run-7-user-9")
        assert (await channel.send(envelope)).kind is OutcomeClass.ACCEPTED
        checked: Checks = channel
        assert [finding.health for finding in await checked.check()] == [Health.FINE]
        await channel.close()

    asyncio.run(main())
    assert [(each["provider"], each["to"]) for each in customer.accepted()] == [
        (account["provider"], TO[account["channel"]])
    ]


def test_every_page_shows_one() -> None:
    assert {account["provider"] for account in SHOWN.values()} == {"jpush", "getui", "aliyun", "gateway"}
    assert len(SHOWN) == 5
