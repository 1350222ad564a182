"""The how-to of all channels works as written: test sends, real ones, receipts, and what explain says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from typing_extensions import override

from orchestrator.channel.plugins import providers
from tests.docs.pages import page
from tests.docs.test_tutorial import Reader
from tests.far_end import free_port, wait_for

PAGE = "howto/channels.md"


class Follower(Reader):
    """Somebody who follows the page; waits where it says that something takes a few seconds."""

    def follow(self) -> None:
        self.ports |= {"8025": str(free_port())}
        for kind, block in re.findall(r"^```sh ?(\w*)\n(.*?)^```$", page(PAGE), re.MULTILINE | re.DOTALL):
            script = re.sub(r"\b(8090|8080|8025)\b", lambda port: self.ports[port[1]], block)
            script = script.replace("orchestrator sandbox ", "orchestrator sandbox --apns-port 0 ")
            if kind == "terminal":
                self.leave_open(script)
            elif kind == "fails":
                self.type(f"! {script}", fails=False)
            else:
                self.type(script, fails=False)
            if "orchestrator launch" in script:
                wait_for(self.arrived, "all messages to arrive, and the SMS to be reported", seconds=60)

    def arrived(self) -> bool:
        real = {line["provider"] for line in self.accepted() if int(line.get("message_id") or 0) >> 40}
        return real >= {"fcm", "twilio", "smtp", "webhook"} and self.reported()

    def reported(self) -> bool:
        """Whether Twilio's last word on the SMS is in."""
        command = ["orchestrator", "explain", "u-1", "try-sms"]
        told = subprocess.run(command, cwd=self.cwd, env=self.environment, capture_output=True, text=True, check=False)
        return "It was delivered." in told.stdout

    @property
    @override
    def cwd(self) -> Path:
        made = self.folder / "try"
        return made if made.is_dir() else self.folder


@pytest.mark.slow
def test_every_channel_shows_its_message_and_its_receipt(tmp_path: Path) -> None:
    somebody = Follower(tmp_path)
    try:
        somebody.follow()
    finally:
        somebody.close()
    for words in (
        "accepted 200", "drop_address UNREGISTERED", "dead: is it of this app", "accepted queued", "accepted kept",
        "See it in the sandbox's inbox", "twilio reported delivered", '{"taken":1,"known":0,"ignored":0}', '{"read":2}',
        "app reported delivered", "Opened from the message", "by a machine: it does not count",
        "Step 1: webhook through hook",
    ):  # fmt: skip
        assert words in somebody.seen, words
    assert "Traceback" not in somebody.seen


def test_every_provider_has_its_test() -> None:
    text = page(PAGE)
    assert all(f"channels/{name}.md" in text for name in providers() if name != "log")
