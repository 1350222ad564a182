"""Every code that can stand in a ledger, by section of ``codes.yaml``: from providers' tables and from our source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from orchestrator.channel import rules
from orchestrator.channel.email import sendgrid_errors, sendgrid_events, ses_errors, ses_events, smtp_errors
from orchestrator.channel.email.smtp_connection import Unfit
from orchestrator.channel.push import (
    apns_errors,
    fcm_errors,
    getui_callbacks,
    getui_errors,
    huawei_errors,
    huawei_receipts,
    jpush_errors,
    oppo,
    oppo_errors,
    vivo_errors,
    webpush_errors,
    xiaomi,
    xiaomi_errors,
)
from orchestrator.channel.sms import aliyun_errors, twilio_errors
from orchestrator.channel.transport import Failure
from orchestrator.dispatch.outcome import NOT_BEGUN

SOURCES = [path for part in ("channel", "dispatch", "ledger") for path in Path("orchestrator", part).rglob("*.py")]
MAKERS = {"Outcome": 1, "outcome": 0, "_dead": 0}
"""What makes an outcome, and which of its arguments is the code."""
ABUSE = {"abuse", "fraud", "virus", "auth-failure", "other"}
"""Kinds of complaints (RFC 5965, and 6591)."""
UNNAMED = {"550", "551", "552", "553", "554"}
"""Refusals of RFC 5321 that are in no row of their own: the default judges them."""


def smtp_rows() -> Iterator[str]:
    for row in smtp_errors.TABLE:
        enhanced = {f"{row.first}.{name}" for name in row.enhanced}
        codes = {str(code) for code in row.codes}
        yield from (
            {f"{code} {name}" for code in codes for name in enhanced} if codes and enhanced else codes | enhanced
        )


def broke() -> set[str]:
    """Why a mail's transaction ended without a reply."""
    text = "".join(path.read_text("utf-8") for path in SOURCES if path.name.startswith("smtp_"))
    return set(re.findall(r'(?:Broke\([\w.]+, |_over\(|unwritten\()"(\w+)"', text)) | {"tls"}


def ours() -> set[str]:
    """Codes that stand in our source as what an outcome is made with."""
    return {code for path in SOURCES for code in _made(ast.parse(path.read_text("utf-8")))}


def _made(tree: ast.Module) -> Iterator[str]:
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "id", "") or getattr(call.func, "attr", "")
        if name in MAKERS:
            place = MAKERS[name]
            values = [
                *call.args[place : place + 1],
                *(keyword.value for keyword in call.keywords if keyword.arg == "code"),
            ]
            yield from (one.value for one in values if isinstance(one, ast.Constant) and isinstance(one.value, str))


SMTP_ROWS = set(smtp_rows())
TABLES: dict[str, set[str]] = {
    "fcm": {code for _, code in fcm_errors.TABLE} | {"UNSPECIFIED_ERROR", "invalid_grant"},
    "apns": {reason for _, reason in apns_errors.TABLE},
    "webpush": {code for _, code in webpush_errors.TABLE} | set(map(str, webpush_errors.BY_STATUS)),
    "huawei": {*huawei_errors.TABLE, huawei_errors.ACCEPTED, huawei_errors.PARTLY, str(huawei_errors.FLOW_CONTROL)},
    "huawei receipt": {huawei_receipts.DELIVERED} | huawei_receipts.WAITING | huawei_receipts.WEARING,
    "xiaomi": {*xiaomi_errors.TABLE, xiaomi_errors.ACCEPTED},
    "xiaomi receipt": set(xiaomi.RECEIPTS),
    "oppo": {*oppo_errors.TABLE, oppo_errors.ACCEPTED, *oppo.EVENTS},
    "vivo": {*vivo_errors.TABLE, vivo_errors.ACCEPTED, "invalid_user", "invalid_user:1"},
    "jpush": set(jpush_errors.TABLE),
    "getui": set(getui_errors.TABLE),
    "getui receipt": set(getui_callbacks._STATES) - {"200"},  # of a delivery, no code is kept
    "twilio": set(map(str, twilio_errors.TABLE)),
    "aliyun": {*aliyun_errors.TABLE, *aliyun_errors.CARRIER},
    "smtp": SMTP_ROWS | broke() | UNNAMED,
    "ses": {
        *ses_errors.TABLE,
        *map(".".join, ses_events.BOUNCES),
        *("Reject", "RenderingFailure", "DeliveryDelay", "Subscription", "OnAccountSuppressionList"),
        *ABUSE,
    },
    "sendgrid": {
        *map(str, sendgrid_errors.TABLE),
        *(f"dropped {start}" for start, kind, _ in sendgrid_events.DROPS if kind is not None),
        *("bounce", "blocked", "dropped", "Invalid Address", "spamreport", "unsubscribe", "group_unsubscribe"),
    },
    "any": {*ours() - {"OK", "token:timeout"}, NOT_BEGUN, *Failure, *Unfit, *map(str, rules.BY_STATUS)},
}
"""What must have words. ``OK`` is Aliyun's yes, which is never shown; ``token:…`` is told by what follows."""

ALSO = {
    "any": {str(int(status)) for status in HTTPStatus} | {name for name in SMTP_ROWS if "." in name}
    | {"4.2.1", "worker_died"},
}  # fmt: skip
"""What may have words besides: statuses, mail codes of every provider, and what SQL writes."""
