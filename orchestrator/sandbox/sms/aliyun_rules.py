"""What Aliyun refuses to send, with its codes. Source: providers §6; Aliyun, "SMS error codes"."""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

SIGNATURE = "阿里云沙箱"
"""The signature that is approved here; templates all are: every ``SMS_`` and digits."""
ILLEGAL = ("+86193000", "+86193111")
"""Numbers that begin so are none; see ``fate`` for those that are refused by their carrier."""
LONGEST_PARAMETER = 35
CLOCKS_APART = 900.0
_TEMPLATE = re.compile(r"SMS_\d+", re.ASCII)
_CHINESE = re.compile(r"(?:\+?86|0086)?(1[3-9]\d{9})", re.ASCII)
_FOREIGN = re.compile(r"[1-9]\d{7,14}", re.ASCII)
_NEEDED = ("PhoneNumbers", "SignName", "TemplateCode")
_KNOWN = frozenset(
    {*_NEEDED, "TemplateParam", "OutId", "SmsUpExtendCode", "PhoneNumber", "BizId", "SendDate", "PageSize"}
    | {"CurrentPage", "Action", "AccessKeyId", "Format", "RegionId", "SignatureMethod", "SignatureNonce"}
    | {"SignatureVersion", "Timestamp", "Version", "Signature"}
)


class Refusal(NamedTuple):
    """An Aliyun error: its code, words and HTTP status. What SMS refuses is said under 200."""

    code: str
    message: str
    status: int = 200


def signature(method: str, parameters: Mapping[str, str], secret: str) -> str:
    """RPC signature 1.0, for all parameters but itself."""
    pairs = sorted((name, value) for name, value in parameters.items() if name != "Signature")
    canonical = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
    to_sign = f"{method}&%2F&{quote(canonical, safe='~')}".encode()
    return b64encode(hmac.new(f"{secret}&".encode(), to_sign, sha1).digest()).decode()


def unauthentic(form: Mapping[str, str], key_id: str, secret: str, now: float) -> Refusal | None:
    """What is wrong with who calls."""
    if form.get("AccessKeyId") != key_id:
        return Refusal("InvalidAccessKeyId.NotFound", "Specified access key is not found.", 404)
    fixed = {"Version": "2017-05-25", "SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "Format": "JSON"}
    for name, value in fixed.items():
        if form.get(name) != value:
            return Refusal(f"Invalid{name}", f"Specified {name} is not valid.", 400)
    if not _timely(form.get("Timestamp", ""), now):
        return Refusal("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.", 400)
    if not hmac.compare_digest(form.get("Signature", "").encode(), signature("POST", form, secret).encode()):
        return Refusal("SignatureDoesNotMatch", "Specified signature is not matched with our calculation.", 400)
    unknown = next((name for name in form if name not in _KNOWN), None)
    return Refusal("InvalidParameter", f"Unknown parameter {unknown}.", 400) if unknown else None


def refusal(form: Mapping[str, str]) -> Refusal | None:
    """The first thing wrong with a text."""
    for name in _NEEDED:
        if not form.get(name):
            return Refusal(f"Missing{name}", f"{name} is mandatory for this action.", 400)
    number = e164(form["PhoneNumbers"])
    if not number or number.startswith(ILLEGAL):
        return Refusal("isv.MOBILE_NUMBER_ILLEGAL", "非法手机号")
    if form["SignName"] != SIGNATURE:
        return Refusal("isv.SMS_SIGNATURE_ILLEGAL", "该账号下找不到对应签名")
    if not _TEMPLATE.fullmatch(form["TemplateCode"]):
        return Refusal("isv.SMS_TEMPLATE_ILLEGAL", "该账号下找不到对应模板")
    return _parameters(form.get("TemplateParam", "{}"))


def _parameters(text: str) -> Refusal | None:
    try:
        given: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        return Refusal("isv.INVALID_JSON_PARAM", "参数格式错误，请修改为字符串值")
    if any("://" in value for value in given.values()):
        return Refusal("isv.PARAM_NOT_SUPPORT_URL", "变量不支持传入URL")
    if any(len(value) > LONGEST_PARAMETER for value in given.values()):
        return Refusal("isv.PARAM_LENGTH_LIMIT", "参数超过长度限制")
    return None


def e164(number: str) -> str:
    """The number with a plus and its country code; empty for what Aliyun takes for none."""
    home = _CHINESE.fullmatch(number)
    if home is not None:
        return f"+86{home[1]}"
    return f"+{number}" if _FOREIGN.fullmatch(number) else ""


def fate(number: str) -> str:
    """What the carrier will say: ``+86192000…`` nobody has, ``+86192111…`` has told the carrier to stop."""
    if number.startswith("+86192000"):
        return "INVALID_NUMBER"
    return "USER_REJECT" if number.startswith("+86192111") else "DELIVERED"


def _timely(stamp: str, now: float) -> bool:
    try:
        said = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(said.timestamp() - now) < CLOCKS_APART
