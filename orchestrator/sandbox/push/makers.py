"""What the phone makers' push servers have in common: tokens, a day's count per device, and receipts nobody signs.

Addresses tell how they fare: ``dead-…`` does not exist; ``capped-…`` takes two messages a day and throws the rest away,
which its receipts say.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import orjson
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.push.oauth import Standing
from orchestrator.sandbox.world import World

MOST_A_DAY = 2
SHANGHAI = ZoneInfo("Asia/Shanghai")
JSON = "application/json;charset=UTF-8"


@dataclass(frozen=True, slots=True)
class JsonPost:
    """A receipt: the same whenever it is posted again. Forged, it comes to a guessed path."""

    content: Any
    headers: Mapping[str, str] | None = None
    by_path: ClassVar[bool] = True

    def request(self, url: str, *, forged: bool) -> tuple[Mapping[str, str], bytes]:
        """Headers and body."""
        del url, forged
        return {"content-type": JSON, **(self.headers or {})}, orjson.dumps(self.content)


def new_token(world: World, maker: str) -> str:
    """An access token of this maker."""
    return f"{maker}.{world.issuer.another()}"


def token_stands(world: World, maker: str, token: str) -> bool:
    """Whether it is this maker's, and still good."""
    head, _, rest = token.partition(".")
    return head == maker and world.issuer.standing(rest) is Standing.GOOD


def same(given: object, right: str) -> bool:
    """Whether a secret or a signature is the right one."""
    return isinstance(given, str) and hmac.compare_digest(given.encode(), right.encode())


def over_quota(world: World, maker: str, address: str) -> bool:
    """Whether this device has had its messages of today; counted before the next one is."""
    if not address.startswith("capped-"):
        return False
    today = _day(time.time())
    records = (world.log.get(number) for number in world.log.of(address))
    return sum(1 for one in records if one and one["provider"] == maker and _day(one["time"]) == today) >= MOST_A_DAY


def answer(content: object, status: int = 200) -> Response:
    """JSON."""
    return Response(orjson.dumps(content), status, media_type=JSON)


def loaded(body: bytes | str | None) -> Any:
    """The JSON value, or None."""
    try:
        return orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return None


def mapping(value: object) -> dict[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def fault_code(fault: Fault, dead: str, otherwise: str) -> str:
    """The code that a fault is answered with."""
    return dead if fault.kind is Kind.DEAD_ADDRESS else str(fault.code or otherwise)


def world_of(request: Request) -> World:
    """The sandbox that a request came to."""
    world: World = request.app.state.world
    return world


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).astimezone(SHANGHAI).date().isoformat()
