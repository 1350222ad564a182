"""Our Twilio requests against Twilio's own OpenAPI description, served by Prism, which refuses what does not fit it."""

from __future__ import annotations

import asyncio
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.channel.base import Envelope, Inquiry, OutcomeClass, SmsPayload
from orchestrator.channel.sms.twilio import TwilioChannel, open_channel
from orchestrator.channel.transport import Answer, Transport
from tests.peers.node import free_port, installed, running

SID = "AC5a4db0c05a4db0c05a4db0c05a4db0c0"
PRISM, DESCRIPTION = "@stoplight/prism-cli@5", "@twilio/cli-core@8"
SPEC = "package/src/services/twilio-api/twilio_api_v2010.json"


@dataclass(frozen=True)
class Prism:
    url: str
    log: Path

    @property
    def violations(self) -> int:
        return self.log.read_text("utf-8", "replace").count("Request did not pass the validation rules")


@pytest.fixture(scope="module")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prism]:
    modules = installed(PRISM)
    if modules is None:
        pytest.skip("no npm, or Prism cannot be installed")
    folder = tmp_path_factory.mktemp("prism")
    try:  # the description alone, without what the package depends on
        done = subprocess.run(
            ["npm", "pack", DESCRIPTION], cwd=folder, check=True, capture_output=True, text=True, timeout=120
        )
        with tarfile.open(folder / done.stdout.split()[-1]) as packed:
            packed.extract(SPEC, folder, filter="data")
    except (subprocess.SubprocessError, OSError, KeyError, tarfile.TarError):
        pytest.skip("Twilio's description cannot be downloaded")
    port = free_port()
    command = [str(modules / ".bin" / "prism"), "mock", "--errors", "-p", str(port), str(folder / SPEC)]
    with running(command, port, folder / "prism.log"):
        yield Prism(f"http://127.0.0.1:{port}", folder / "prism.log")


@pytest.fixture
def channel(prism: Prism, tmp_path: Path) -> TwilioChannel:
    (tmp_path / "token").write_text("12345")
    options: dict[str, Any] = {"account_sid": SID, "auth_token_file": str(tmp_path / "token"), "from": "+15005550006"}
    made = open_channel("sms", {**options, "base_url": prism.url}, "https://push.example.com/callbacks/sms")
    assert isinstance(made, TwilioChannel)
    return made


def test_a_message_fits_the_description(channel: TwilioChannel) -> None:
    async def main() -> None:
        payload = SmsPayload("【味来】王芳,午餐好了 👍 100% & more")
        envelope = Envelope("17", 1, "+4915112345678", "phone", payload, timedelta(minutes=9), "r1")
        outcome = await channel.send(envelope)
        assert outcome.kind is OutcomeClass.ACCEPTED, outcome
        assert (outcome.provider_id or "").startswith("SM")
        await channel.close()

    asyncio.run(main())


def test_reconciliation_fits_the_description(channel: TwilioChannel, prism: Prism) -> None:
    before = prism.violations

    async def main() -> None:
        inquiry = Inquiry("17", "+4915112345678", SmsPayload("hello"), datetime.now(UTC))
        await channel.reconcile(inquiry)  # its example answer is of 2023: what it means is not the point here
        await channel.close()

    asyncio.run(main())
    said = prism.log.read_text("utf-8", "replace").rpartition("get /2010-04-01/Accounts/")[0]
    assert "The request passed the validation rules" in said.rpartition("get /2010-04-01/Accounts/")[2]
    assert prism.violations == before


def test_prism_refuses_what_does_not_fit(prism: Prism) -> None:
    """The far end can say no: without ``To`` it does."""
    before = prism.violations

    async def main() -> Answer:
        transport = Transport(timedelta(seconds=10))
        headers = {"content-type": "application/x-www-form-urlencoded", "authorization": "Basic QUM6eA=="}
        answer = await transport.request(
            "POST", f"{prism.url}/2010-04-01/Accounts/{SID}/Messages.json", headers=headers, body=b"Body=hi"
        )
        await transport.close()
        assert isinstance(answer, Answer)
        return answer

    assert asyncio.run(main()).status == 422
    assert prism.violations > before
