"""Huawei Push Kit's business codes. HTTP 200 does not mean success: ``code`` does.

Source: Push Kit, "Downlink messages" (https-send-api), v1.

Two codes alone say that an address is dead. Whoever took every refusal for a dead token lost a whole table of them when
the authentication blinked.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from orchestrator.channel.base import Outcome, OutcomeClass
from orchestrator.channel.cached_token import json_object
from orchestrator.channel.json_text import loaded, mapping
from orchestrator.channel.push.vendor import DEAD, DROP, RETRY, SLOWER, STOP, code_of, judged
from orchestrator.channel.rules import Rule
from orchestrator.channel.transport import Answer

ACCEPTED = "80000000"
PARTLY = "80100000"
FLOW_CONTROL = 503

TABLE: dict[str, Rule] = {
    "80300007": DEAD,  # every token is invalid; also the answer to a wrong app id or package: the storm guard's
    "80100001": DROP,  # a parameter
    "80100003": DROP,  # the message's structure
    "80100004": DROP,  # the ttl is in the past
    "80100013": DROP,  # collapse_key
    "80100016": DROP,  # sensitive words
    "80100018": DROP,  # content differs from what a reviewer signed
    "80300008": DROP,  # over 4096 bytes
    "80300010": DROP,  # too many tokens
    "80300011": STOP,  # receipt address, or no right to urgent messages
    "80300013": STOP,  # receipt address or its certificate
    "80100017": RETRY,  # over a hundred topic tasks at once
    "80200001": STOP,  # the access token, after one refresh, which the channel does
    "80200003": STOP,  # it has expired: the same
    "80200005": STOP,  # the JSON web token has expired: the same
    "80300002": STOP,  # this app may not send
    "80600003": STOP,  # client id or secret
    "81000001": RETRY,  # internal
}
REFRESHING = frozenset({"80200001", "80200003", "80200005"})


def token_refused(answer: Answer) -> bool:
    """Whether a fresh access token might help."""
    code = code_of(json_object(answer).get("code"))
    return code in REFRESHING or (code not in TABLE and answer.status in {401, 403})


def classify(answer: Answer, address: str, now: datetime, private: Iterator[str]) -> Outcome:
    """The outcome of an answer about one message to ``address``."""
    read = json_object(answer)
    code, words = code_of(read.get("code")), read.get("msg")
    request_id = read.get("requestId")
    provider_id = request_id if isinstance(request_id, str) and 0 < len(request_id) <= 128 else None  # noqa: PLR2004
    if code == ACCEPTED and provider_id is not None:
        return Outcome(OutcomeClass.ACCEPTED, code, provider_id)
    if code == PARTLY:
        return _of_one(words, address, provider_id)
    if answer.status == FLOW_CONTROL and code not in TABLE:
        return judged(answer, code or "503", words, {code or "503": SLOWER}, now, private)
    if code == ACCEPTED:
        return Outcome(OutcomeClass.AMBIGUOUS, code, detail="accepted without a request id")
    return judged(answer, code, words, TABLE, now, private)


def _of_one(words: object, address: str, provider_id: str | None) -> Outcome:
    """``msg`` is JSON in a string: dead when it lists the address, accepted when it says that one was."""
    listed = mapping(loaded(words)) if isinstance(words, str) else {}
    illegal = listed.get("illegal_tokens")
    if isinstance(illegal, list) and address in illegal:
        return DEAD.outcome(PARTLY)
    success = listed.get("success")
    if isinstance(success, int) and success > 0:
        return Outcome(OutcomeClass.ACCEPTED, PARTLY, provider_id)
    return Outcome(OutcomeClass.AMBIGUOUS, PARTLY, detail="partly accepted; whether ours was is not said")
