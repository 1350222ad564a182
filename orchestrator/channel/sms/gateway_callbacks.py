"""What a gateway posts to us, read by its description. Nobody signs it: only who knows the path is believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Reply, Report, ReportState, carried_id
from orchestrator.channel.json_text import loaded, objects
from orchestrator.channel.secret_hook import knocks
from orchestrator.channel.sms.gateway_patterns import at, text_at
from orchestrator.channel.sms.gateway_spec import ReceiptSpec, ReplySpec

_NUMBER = re.compile(r"\d{5,15}", re.ASCII)
_ID_LIMIT, _CODE_LIMIT = 128, 100


def hear(
    request: CallbackRequest, *, secret: str, receipts: ReceiptSpec | None, replies: ReplySpec | None
) -> Heard | Refused:
    """Whether the gateway said this, and what."""
    if receipts is not None and knocks(request.hook, "report", secret):
        items = _items(request, receipts)
        said = None if items is None else [_report(receipts, each) for each in items]
        return _heard(said, receipts.answer)
    if replies is not None and knocks(request.hook, "reply", secret):
        items = _items(request, replies)
        told = None if items is None else [_reply(replies, each) for each in items]
        return _heard(told, replies.answer)
    return Refused.FORGED


def _heard(said: list[Report | None] | list[Reply | None] | None, answer: str) -> Heard | Refused:
    if said is None:
        return Refused.MALFORMED
    media_type = "application/json" if answer.startswith(("{", "[")) else "text/plain"
    return Heard([each for each in said if each is not None], answer.encode(), media_type)


def _items(request: CallbackRequest, spec: ReceiptSpec | ReplySpec) -> list[dict[str, Any]] | None:
    """The things said, one after the other; None when it is not in the form described."""
    if spec.format == "form":
        form = request.form()
        return None if form is None else [dict(form)]
    body = loaded(request.body)
    there = body if spec.items is None else at(spec.items, body)
    if not isinstance(there, list if spec.format == "list" else dict | list):
        return None
    return objects(there)


def _report(spec: ReceiptSpec, item: Mapping[str, Any]) -> Report | None:
    """One receipt; words that the description does not name say nothing."""
    provider_id, word = text_at(spec.id, item), text_at(spec.status, item)
    ours = carried_id(text_at(spec.message, item)) if spec.message is not None else None
    state = spec.statuses.get(word)
    if state is None or not (provider_id or ours):
        return None
    code = text_at(spec.code, item) if spec.code is not None else ""
    kind = spec.codes.get(code) if state == "undelivered" else None
    return Report(
        (provider_id or f"message:{ours}")[:_ID_LIMIT],
        state,
        ReportState(state),
        code[:_CODE_LIMIT] if state == "undelivered" else "",
        OutcomeClass(kind) if kind is not None else None,
        message_id=ours,
    )


def _reply(spec: ReplySpec, item: Mapping[str, Any]) -> Reply | None:
    """One text from a person."""
    digits = text_at(spec.from_, item).strip().removeprefix("+").removeprefix("00")
    content = at(spec.text, item)
    if not _NUMBER.fullmatch(digits) or not isinstance(content, str):
        return None
    foreign = not spec.country or digits.startswith(spec.country)
    address = f"+{digits}" if foreign else f"+{spec.country}{digits.removeprefix('0')}"
    given = text_at(spec.id, item) if spec.id is not None else ""
    said = "\n".join([address, content, *sorted(f"{name}={value}" for name, value in item.items())])
    return Reply(given[:_ID_LIMIT] or sha256(said.encode("utf-8", "replace")).hexdigest(), address, content)
