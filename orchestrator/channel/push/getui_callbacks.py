"""What Getui posts to us: receipts, one JSON object a line. Source: docs.getui.com, "receipt".

Each is signed with MD5 over app, client, task and message id, and the master secret, but not over what it says of them:
so the path must carry a secret as well.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from hashlib import md5
from typing import Any

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState
from orchestrator.channel.json_text import loaded, mapping, text
from orchestrator.channel.secret_hook import knocks

_STATES: dict[str, tuple[ReportState, OutcomeClass | None]] = {
    "200": (ReportState.DELIVERED, None),
    "400": (ReportState.UNDELIVERED, None),  # Apple's service refused it
    "401": (ReportState.UNDELIVERED, OutcomeClass.DROP_ADDRESS),  # there is no such client
    "402": (ReportState.UNDELIVERED, None),  # an inactive client
    "500": (ReportState.UNDELIVERED, None),  # Getui's own error
}


def hear(request: CallbackRequest, *, secret: str, master_secret: str, app_id: str) -> Heard | Refused:
    """Whether Getui said this, and what. One line with a wrong signature, and nothing of it is believed."""
    if not knocks(request.hook, "report", secret):
        return Refused.FORGED
    try:
        lines = [mapping(loaded(line)) for line in request.body.decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        return Refused.MALFORMED
    if not lines or not all(lines):
        return Refused.MALFORMED
    if not all(genuine(line, master_secret, app_id) for line in lines):
        return Refused.FORGED
    return Heard([report for line in lines for report in _read(line)])


def genuine(line: dict[str, Any], master_secret: str, app_id: str) -> bool:
    """Whether the line is about our app, and signed with our secret."""
    parts = [text(line.get(name)) for name in ("appid", "cid", "taskid", "msgid")]
    signed = md5("".join([*parts, master_secret]).encode(), usedforsecurity=False).hexdigest()
    shown = text(line.get("sign")).lower()
    return parts[0] == app_id and hmac.compare_digest(signed.encode(), shown.encode())


def _read(line: dict[str, Any]) -> Iterator[Report]:
    """A report on the task, which is what the ledger has; codes that we do not know say nothing."""
    known = _STATES.get(text(line.get("code")))
    task = text(line.get("taskid"))
    if known is not None and task:
        state, kind = known
        code = "" if state is ReportState.DELIVERED else text(line.get("code"))
        yield Report(task, state.value, state, code, kind, address=text(line.get("cid")))
