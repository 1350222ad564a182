"""Xiaomi's error codes. They come with HTTP 200 as well as without: ``code`` counts.

Source: Xiaomi, "Server error codes" (dev.mi.com, 2024-10-18).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from orchestrator.channel.base import Outcome, OutcomeClass
from orchestrator.channel.cached_token import json_object
from orchestrator.channel.push.vendor import DEAD, DROP, RETRY, SLOWER, STOP, TOMORROW, code_of, judged
from orchestrator.channel.rules import Rule
from orchestrator.channel.transport import Answer

ACCEPTED = "0"
NO_TARGETS = "20301"

TABLE: dict[str, Rule] = {
    "1": RETRY,  # internal
    "10001": RETRY,  # system error
    "10002": RETRY,  # system busy
    "10003": RETRY,  # a remote service failed
    "20607": RETRY,  # database
    "26003": RETRY,  # an internal call of the push failed
    "65029": RETRY,  # a remote service is out of order
    "10027": SLOWER,  # this app calls too often
    "10034": TOMORROW,  # too many messages of this app today
    "26004": SLOWER,  # broadcasts too often
    "10031": STOP,  # the app is black-listed
    "10036": STOP,  # the app may not do this
    "21301": STOP,  # wrong app secret
    "21302": STOP,  # wrong token
    "22000": STOP,  # illegal app
    "22006": STOP,  # app id
    "22007": STOP,  # app key
    "22022": STOP,  # package name
    "10012": STOP,  # illegal request
    "26006": STOP,  # sending needs a review in the console
    "10029": DEAD,  # no such device
    "65003": DEAD,  # device not found
    NO_TARGETS: RETRY,  # sending failed; with "No valid targets!" (unconfirmed) the device is dead: see ``classify``
    "10008": DROP,  # a parameter
    "10016": DROP,  # a parameter is missing
    "10017": DROP,  # a parameter's value
    "65009": DROP,  # too long
    "65014": DROP,  # too many custom keys
    "65015": DROP,  # custom keys too long
    "27001": DROP,  # the channel does not fit
    "65036": DROP,  # callback parameter too long
    "65037": DROP,  # callback address too long
    "65038": DROP,  # callback address illegal
}


def classify(answer: Answer, address: str, now: datetime, private: Iterator[str]) -> Outcome:
    """The outcome of an answer about one message to ``address``."""
    read = json_object(answer)
    code, data = code_of(read.get("code")), read.get("data")
    if code != ACCEPTED:
        words = " ".join(str(read.get(name) or "") for name in ("description", "reason"))
        if code == NO_TARGETS and "no valid target" in words.lower():
            return DEAD.outcome(code)
        return judged(answer, code, words, TABLE, now, private)
    found = data if isinstance(data, dict) else {}
    bad = found.get("badRegIds") or found.get("bad_regids")  # its name differs by version; unconfirmed
    if isinstance(bad, str) and address in bad.split(","):
        return DEAD.outcome("bad_regid")
    message_id = found.get("id")
    if isinstance(message_id, str) and 0 < len(message_id) <= 128:  # noqa: PLR2004
        return Outcome(OutcomeClass.ACCEPTED, code, message_id)
    return Outcome(OutcomeClass.AMBIGUOUS, code, detail="accepted without an id")
