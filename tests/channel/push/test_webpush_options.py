"""Web Push's options: what an account needs, and what is wrong with one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from orchestrator.channel.plugins import open_channel
from orchestrator.channel.push.webpush import WebPushChannel
from orchestrator.channel.push.webpush_crypto import base64url, public_point
from orchestrator.errors import ConfigError
from tests.channel.push.test_webpush import KEY

RAW_KEY = base64url(KEY.private_numbers().private_value.to_bytes(32, "big"))


def test_the_plugin(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "key").write_text(RAW_KEY + "\n")
        options = {"vapid_key_file": tmp_path / "key", "subject": "mailto:push@food.example"}
        channel = open_channel("web", "webpush", options, callback_url="https://p.example/callbacks/web")
        assert isinstance(channel, WebPushChannel)
        assert (channel.channel, channel.kinds, channel.timeout) == (
            "push",
            frozenset({"webpush"}),
            timedelta(seconds=15),
        )
        await channel.close()
        more = {"use_topic": True, "vapid_key": SecretStr(RAW_KEY), "base_url": "http://127.0.0.1:8090"}
        other = open_channel("web", "webpush", {"subject": "https://food.example", **more}, callback_url="")
        assert isinstance(other, WebPushChannel)
        (own,) = await other.check()
        assert own.what.endswith(base64url(public_point(KEY)))
        assert other.timeout == timedelta(seconds=30)
        await other.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"vapid_key": None}, "vapid_key_file"),
        ({"vapid_key": SecretStr("canary-no-key")}, "vapid_key_file"),
        ({"vapid_key": "canary-no-key"}, "vapid_key"),
        ({"vapid_key_file": Path("nowhere")}, "vapid_key_file"),
        ({"subject": None}, "subject"),
        ({"subject": "ops@food.example"}, "subject"),
        ({"subject": "mailto:ops@localhost"}, "subject"),
        ({"allow": ["https://push.example/"]}, "allow"),
        ({"allow": ["*"]}, "allow"),
        ({"allow": ["*.*"]}, "allow"),
        ({"allow": ["10.0.0.1"]}, "allow"),
        ({"base_url": "https://push.example"}, "base_url"),
        ({"base_url": "http://10.0.0.1:8090"}, "base_url"),
        ({"urgency": "urgent"}, "urgency"),
        ({"ttl": 5}, "ttl"),
    ],
)
def test_what_is_wrong_is_named_and_never_shown(wrong: dict[str, Any], field: str) -> None:
    options = {"vapid_key": SecretStr(RAW_KEY), "subject": "mailto:push@food.example", **wrong}
    with pytest.raises(ConfigError) as caught:
        open_channel("web", "webpush", {name: value for name, value in options.items() if value}, callback_url="")
    assert f"accounts.web.options.{field}" in str(caught.value)
    assert "canary" not in str(caught.value)
