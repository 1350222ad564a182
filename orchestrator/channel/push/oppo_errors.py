"""OPPO's codes: of every call, and of single pushes. They come with HTTP 200.

Source: OPPO PUSH, "Addresses, common parameters and codes", "Single push".
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from orchestrator.channel.base import Envelope, Outcome, OutcomeClass
from orchestrator.channel.cached_token import json_object
from orchestrator.channel.push.vendor import DEAD, DROP, RETRY, SLOWER, STOP, TOMORROW, code_of, judged
from orchestrator.channel.rules import Rule
from orchestrator.channel.transport import Answer

ACCEPTED = "0"
BAD_TOKEN = "11"  # noqa: S105  # a code
TWICE = "32"

TABLE: dict[str, Rule] = {
    "-2": SLOWER,  # flow control
    "-1": RETRY,  # not available now
    BAD_TOKEN: STOP,  # the access token, after one refresh, which the channel does
    "12": STOP,  # wrong HTTP method
    "13": SLOWER,  # this app calls too often
    "14": STOP,  # app key
    "15": STOP,  # no app key
    "16": STOP,  # signature: the master secret, or the clock
    "17": STOP,  # no signature
    "18": STOP,  # no timestamp
    "19": STOP,  # timestamp: the clock
    "20": STOP,  # no such method
    "21": STOP,  # no method
    "22": STOP,  # no version
    "23": STOP,  # version
    "24": STOP,  # version not supported
    "25": STOP,  # not UTF-8
    "26": STOP,  # this machine's address is black-listed
    "27": STOP,  # no right to this function
    "28": STOP,  # the app is switched off
    "29": STOP,  # no access token
    "30": STOP,  # the app may not push by API
    "31": DROP,  # no such data
    TWICE: DROP,  # the same app_message_id again; see ``classify``
    "33": TOMORROW,  # too many messages of this app today
    "40": DROP,  # a parameter is missing
    "41": DROP,  # a parameter
    "51": DROP,  # a picture
    "55": SLOWER,  # this app calls too often
    "59": DROP,  # no right to a second action
    "67": STOP,  # category or notify_level does not fit the channel: an option of the account
    "10000": DEAD,  # invalid registration id
}


def token_refused(answer: Answer) -> bool:
    """Whether a fresh access token might help."""
    code = code_of(json_object(answer).get("code"))
    return code == BAD_TOKEN or (code not in TABLE and answer.status in {401, 403})


def classify(answer: Answer, envelope: Envelope, now: datetime, private: Iterator[str]) -> Outcome:
    """The outcome of an answer about one message."""
    read = json_object(answer)
    code, data = code_of(read.get("code")), read.get("data")
    if code == TWICE and envelope.attempt > 1:  # what was sent before a lost answer did arrive
        return Outcome(OutcomeClass.ACCEPTED, code)
    if code != ACCEPTED:
        return judged(answer, code, read.get("message"), TABLE, now, private)
    message_id = data.get("messageId") or data.get("message_id") if isinstance(data, dict) else None
    if isinstance(message_id, str) and 0 < len(message_id) <= 128:  # noqa: PLR2004
        return Outcome(OutcomeClass.ACCEPTED, code, message_id)
    return Outcome(OutcomeClass.AMBIGUOUS, code, detail="accepted without an id")
