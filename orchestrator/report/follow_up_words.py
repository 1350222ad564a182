"""Why a later step was not sent, waits, or was brought forward, in words: see :mod:`orchestrator.policy.cues`.

Events of the deployment's own have no words here: their name follows after a colon.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.report.codes import Phrase

_HAPPENED: Mapping[str, Phrase] = {
    "reopened": Phrase("had reopened the app by then", "届时用户已回访"),
    "delivered": Phrase("an earlier message of the run had been delivered by then", "届时此前的消息已送达"),
    "opened": Phrase("a person had opened an earlier message of the run by then", "届时用户已打开此前的消息"),
    "clicked": Phrase("a person had clicked in an earlier message of the run by then", "届时用户已点击此前的消息"),
    "converted": Phrase("had converted by then", "届时用户已转化"),
    "did": Phrase("had done this since the run opened", "批次开启后用户已有此行为"),
}
_MISSING: Mapping[str, Phrase] = {
    "not_reopened": Phrase("had not reopened the app in time", "用户未在时限内回访"),
    "not_delivered": Phrase("no earlier message of the run was delivered in time", "此前的消息未在时限内送达"),
    "not_opened": Phrase("nobody opened an earlier message of the run in time", "用户未在时限内打开此前的消息"),
    "not_clicked": Phrase("nobody clicked in an earlier message of the run in time", "用户未在时限内点击此前的消息"),
    "not_converted": Phrase("had not converted in time", "用户未在时限内转化"),
    "did_not": Phrase("had not done this in time", "用户未在时限内有此行为"),
}
_WAITED: Mapping[str, Phrase] = {
    "reopened": Phrase("until the user reopens the app", "等待用户回访"),
    "delivered": Phrase("until an earlier message of the run is delivered", "等待此前的消息送达"),
    "opened": Phrase("until a person opens an earlier message of the run", "等待用户打开此前的消息"),
    "clicked": Phrase("until a person clicks in an earlier message of the run", "等待用户点击此前的消息"),
    "converted": Phrase("until the user converts", "等待用户转化"),
}


def _words() -> Iterator[tuple[str, Phrase]]:
    yield from _HAPPENED.items()
    yield from _MISSING.items()
    yield "waiting", Phrase("until the user has done this", "等待用户行为")
    yield "after", Phrase("a while longer, as the step says, after the user did this", "用户行为之后按步骤设定再等待")
    yield "woken", Phrase("the user has done what it waited for", "所等待的用户行为已发生")
    for word, phrase in _WAITED.items():
        yield f"waiting:{word}", phrase
        since = _HAPPENED[word]
        yield f"after:{word}", Phrase(f"a while longer, as the step says: {since.en}", f"按步骤设定再等待：{since.zh}")
        yield f"woken:{word}", since


FOLLOW_UPS: Mapping[str, Phrase] = dict(_words())
"""By the ledger's reasons."""
