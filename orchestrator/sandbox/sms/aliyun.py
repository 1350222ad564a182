"""Aliyun's SMS API (dysmsapi 2017-05-25) under ``/aliyun/``: SendSms, QuerySendDetails, receipts. Providers §6."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.door import pass_door, read_form
from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.sms.aliyun_post import beijing, receipt
from orchestrator.sandbox.sms.aliyun_rules import Refusal, e164, fate, refusal, unauthentic
from orchestrator.sandbox.world import World

KEY_ID = "LTAISandbox5a4db0c0"
SECRET_FILE = "aliyun-access-key-secret"  # noqa: S105  # a file's name
LARGEST_PAGE = 50
BY_STATUS = {429: "Throttling.User", 500: "isp.SYSTEM_ERROR", 503: "ServiceUnavailable", 403: "Forbidden.RAM"}
_NONCES_KEPT = 100_000
_nonces: OrderedDict[str, None] = OrderedDict()


def secret(world: World) -> str:
    """The access key's secret, in a file of the state folder."""
    return world.credentials.secret(SECRET_FILE)


def own_secrets(world: World) -> None:
    """The file that its customers are set up with."""
    secret(world)


async def call(request: Request) -> Response:
    """``POST /``: the action is a parameter."""
    world: World = request.app.state.world
    form = await read_form(request)
    query = form.get("Action") == "QuerySendDetails"
    to = e164(form.get("PhoneNumber" if query else "PhoneNumbers", ""))

    async def accept(fault: Fault | None) -> Response:
        found = unauthentic(form, KEY_ID, secret(world), time.time()) or _once(form.get("SignatureNonce", ""))
        if found is None and query:
            return _details(world, form, to)
        if found is None and form.get("Action") != "SendSms":
            found = Refusal("InvalidAction.NotFound", "Specified api is not found.", 404)
        found = found or refusal(form)
        if found is not None:
            world.refused("aliyun", to, found.status, f"{found.code}: {found.message}")
            return _error(found)
        return await _accept(world, form, to, fault)

    return await pass_door(world, request, "lookup" if query else "aliyun", to, _refuse, accept)


def _once(nonce: str) -> Refusal | None:
    if not nonce:
        return Refusal("MissingSignatureNonce", "SignatureNonce is mandatory for this action.", 400)
    if nonce in _nonces:
        return Refusal("SignatureNonceUsed", "Specified signature nonce was used already.", 400)
    _nonces[nonce] = None
    if len(_nonces) > _NONCES_KEPT:
        _nonces.popitem(last=False)
    return None


async def _accept(world: World, form: dict[str, str], to: str, fault: Fault | None) -> Response:
    now = time.time()
    record = await world.log.append(_record(form, to, now, fault), lambda seq: f"{int(now * 1000)}^{seq}")
    if "aliyun" in world.callbacks:
        world.webhooks.post(world.callbacks["aliyun"], [receipt(record)], to)
    return _json({"Message": "OK", "RequestId": _request_id(), "BizId": record["id"], "Code": "OK"})


def _record(form: dict[str, str], to: str, now: float, fault: Fault | None) -> Record:
    failed = fault is not None and fault.kind is Kind.UNDELIVERED
    parameters = " ".join(orjson.loads(form.get("TemplateParam", "{}")).values())
    return {
        "time": now,
        "provider": "aliyun",
        "to": to,
        "message_id": form.get("OutId"),
        "collapse_key": None,
        "title": "",
        "body": f"【{form['SignName']}】{form['TemplateCode']} {parameters}".rstrip(),
        "expires_at": None,
        "from": form["SignName"],
        "fate": str(fault.code or "UNDELIV") if fault is not None and failed else fate(to),
        "request": {name: form[name] for name in form if name not in {"Signature", "AccessKeyId"}},
    }


def _details(world: World, form: dict[str, str], to: str) -> Response:
    """What was sent to one number on one day in Beijing, newest first."""
    try:
        size, page = int(form.get("PageSize", "0")), int(form.get("CurrentPage", "0"))
    except ValueError:
        size = page = 0
    if not 1 <= size <= LARGEST_PAGE or page < 1 or len(form.get("SendDate", "")) != 8:  # noqa: PLR2004  # yyyyMMdd
        return _error(Refusal("isv.INVALID_PARAMETERS", "参数异常"))
    records = (world.log.get(number) for number in reversed(world.log.of(to)))
    found = [record for record in records if record is not None and _asked_for(record, form)]
    shown = found[(page - 1) * size : page * size]
    listed = [_detail(record, world.callback_delay) for record in shown]
    answer = {"TotalCount": len(found), "SmsSendDetailDTOs": {"SmsSendDetailDTO": listed}}
    return _json({"Message": "OK", "RequestId": _request_id(), "Code": "OK", **answer})


def _asked_for(record: Record, form: dict[str, str]) -> bool:
    if record["provider"] != "aliyun" or beijing(record["time"])[:10].replace("-", "") != form["SendDate"]:
        return False
    return not form.get("BizId") or record["id"] == form["BizId"]


def _detail(record: Record, delay: float) -> dict[str, Any]:
    arrived = time.time() - record["time"] >= delay
    status = (3 if record["fate"] == "DELIVERED" else 2) if arrived else 1
    return {
        "ErrCode": record["fate"] if arrived else "",
        "TemplateCode": record["request"]["TemplateCode"],
        "OutId": record["message_id"] or "",
        "ReceiveDate": beijing(record["time"] + delay),
        "SendDate": beijing(record["time"]),
        "PhoneNum": record["request"]["PhoneNumbers"],
        "Content": record["body"],
        "SendStatus": status,
    }


def _refuse(fault: Fault) -> Response:
    if fault.kind is Kind.DEAD_ADDRESS:
        return _error(Refusal("isv.MOBILE_NUMBER_ILLEGAL", "非法手机号"))
    status = fault.status or 503
    code = str(fault.code or BY_STATUS.get(status, "isp.SYSTEM_ERROR"))
    words = "触发分钟级流控Permits:1" if code == "isv.BUSINESS_LIMIT_CONTROL" else "told to fail"
    return _error(Refusal(code, words, status))


def _error(found: Refusal) -> Response:
    return _json({"RequestId": _request_id(), "Message": found.message, "Code": found.code}, found.status)


def _request_id() -> str:
    return str(uuid4()).upper()


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json;charset=utf-8")


ROUTES = (Route("/aliyun/", call, methods=["POST"]),)
