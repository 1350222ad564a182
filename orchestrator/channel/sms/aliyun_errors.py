"""Aliyun's codes: of its answers, and of carriers in receipts. Source: Aliyun, "SMS error codes", dysmsapi 2017-05-25.

HTTP 200 with a ``Code`` other than OK is a failure. ``isv.``: the customer's side; ``isp.``: Aliyun's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.beijing import until_midnight, until_next_month
from orchestrator.channel.json_text import loaded, mapping, text
from orchestrator.channel.redact import redact
from orchestrator.channel.retry_after import retry_after
from orchestrator.channel.rules import MINUTE, Rule, by_status, uncharted
from orchestrator.channel.transport import Answer

_HOUR = timedelta(hours=1)

_LIMIT = Rule(OutcomeClass.RETRY_AFTER, _HOUR, Scope.ADDRESS)  # of one number; its period: see ``_wait``
_DAY_LIMIT = Rule(OutcomeClass.RETRY_AFTER, _HOUR, Scope.ACCOUNT)  # until the next day begins in Beijing
_MONTH_LIMIT = Rule(OutcomeClass.RETRY_AFTER, _HOUR, Scope.ACCOUNT)  # until the next month does
_SLOWER = Rule(OutcomeClass.RETRY_AFTER, MINUTE, Scope.ACCOUNT)
_ONCE = Rule(OutcomeClass.RETRY, scope=Scope.ACCOUNT, at_most=1)  # it may have been taken: a second copy at the most
_UNSURE = Rule(OutcomeClass.AMBIGUOUS)
_DEAD = Rule(OutcomeClass.DROP_ADDRESS)
_DROP = Rule(OutcomeClass.DROP_MESSAGE)
_STOP = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)

TABLE: dict[str, Rule] = {
    "isv.BUSINESS_LIMIT_CONTROL": _LIMIT,  # to one number under one signature: 1 a minute, 5 an hour, 10 a day
    "isv.DAY_LIMIT_CONTROL": _DAY_LIMIT,  # the account's own daily limit
    "isv.MONTH_LIMIT_CONTROL": _MONTH_LIMIT,  # the account's own monthly limit
    "SYSTEM_LIMIT_CONTROL": _SLOWER,  # Aliyun's own limit; its text may name the period
    "isp.SYSTEM_ERROR": _ONCE,  # Aliyun's own error
    "isv.SYSTEM_ERROR": _ONCE,  # the same
    "isv.MOBILE_NUMBER_ILLEGAL": _DEAD,  # not a phone number
    "isv.DOMESTIC_NUMBER_NOT_SUPPORTED": _DROP,  # an international template at home: the number is fine
    "isv.BLACK_KEY_CONTROL_LIMIT": _DROP,  # a forbidden word in a parameter
    "isv.PARAM_NOT_SUPPORT_URL": _DROP,  # a URL in a parameter
    "isv.PARAM_LENGTH_LIMIT": _DROP,  # a parameter is too long
    "isv.INVALID_JSON_PARAM": _DROP,  # TemplateParam is no JSON of strings
    "isv.TEMPLATE_MISSING_PARAMETERS": _DROP,  # the approved template has a variable that ours does not fill
    "isv.TEMPLATE_PARAMS_ILLEGAL": _DROP,  # a parameter does not fit its variable's kind
    "isv.MOBILE_COUNT_OVER_LIMIT": _DROP,  # over 1000 numbers
    "isv.INVALID_PARAMETERS": _DROP,
    "isv.SMS_TEMPLATE_ILLEGAL": _STOP,  # no such template, or not approved
    "isv.SMS_SIGNATURE_ILLEGAL": _STOP,  # no such signature, or not approved
    "isv.AMOUNT_NOT_ENOUGH": _STOP,  # the account has no money
    "isv.OUT_OF_SERVICE": _STOP,  # suspended for its debts
    "isv.PRODUCT_UN_SUBSCRIPT": _STOP,  # SMS was never switched on
    "isv.ACCOUNT_NOT_EXISTS": _STOP,
    "isv.ACCOUNT_ABNORMAL": _STOP,
    "isv.DENY_IP_RANGE": _STOP,  # this machine's address is not on the account's list
    "SignatureDoesNotMatch": _STOP,  # the secret is wrong; unconfirmed
    "InvalidAccessKeyId": _STOP,  # with suffixes such as .NotFound; unconfirmed
    "isp.RAM_PERMISSION_DENY": _STOP,  # the key may not send; unconfirmed
    "InvalidTimeStamp": _STOP,  # .Expired: our clock is over 15 minutes wrong; unconfirmed
    "Forbidden": _STOP,  # .RAM: the key may not do this; unconfirmed
    "SignatureNonceUsed": _UNSURE,  # a request with this nonce came before, and may have been taken; unconfirmed
    "Throttling": _SLOWER,  # and everything that begins so: over the calls a second
}

CARRIER: dict[str, OutcomeClass] = {
    "INVALID_NUMBER": OutcomeClass.DROP_ADDRESS,  # not a number in use
    "MK:0001": OutcomeClass.DROP_ADDRESS,  # China Mobile: a number nobody has
    "MI:0001": OutcomeClass.DROP_ADDRESS,  # the same, from another of its gateways
    "USER_REJECT": OutcomeClass.SUPPRESS,  # the person has told the carrier to stop texts of this kind
}
"""What a receipt's ``err_code`` says of the number or the person; acted on only after Aliyun has said it again."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.:\-]{1,99}")
_PERIODS = {"minute": MINUTE, "分钟": MINUTE, "hour": _HOUR, "小时": _HOUR}
_SERVER_ERROR = 500


def error_code(answer: Answer) -> str:
    """``Code``, when it looks like one."""
    code = text(mapping(loaded(answer.body)).get("Code")) if answer.whole else ""
    return code if _CODE.fullmatch(code) else ""


def classify(answer: Answer, now: datetime, private: Iterable[str]) -> Outcome:
    """The outcome of an answer that is no acceptance."""
    code = error_code(answer)
    said = text(mapping(loaded(answer.body)).get("Message"))
    detail = redact(said, private)
    named = retry_after(answer.headers, now)
    rule = _rule(code)
    if rule is not None:
        return rule.outcome(code, detail, named or _wait(rule, said, now))
    if answer.status >= _SERVER_ERROR:
        outcome = _ONCE.outcome(code or str(answer.status), detail, named)
        return replace(outcome, uncharted=bool(code))
    return uncharted(answer.status, code, detail, named) if code else by_status(answer.status, detail, named)


def _rule(code: str) -> Rule | None:
    """The code's rule, or that of the code it begins with: ``InvalidAccessKeyId.NotFound``, ``Throttling.User``."""
    if code.startswith("Throttling"):
        return TABLE["Throttling"]
    return TABLE.get(code) or TABLE.get(code.partition(".")[0])


def _wait(rule: Rule, said: str, now: datetime) -> timedelta | None:
    """To the end of the period that the text names; the whole of a minute or an hour, wherever it began."""
    if rule is _DAY_LIMIT:
        return until_midnight(now)
    if rule is _MONTH_LIMIT:
        return until_next_month(now)
    if rule.kind is not OutcomeClass.RETRY_AFTER:
        return None
    words = said.lower()
    if "day" in words or "天级" in words:
        return until_midnight(now)
    return next((period for word, period in _PERIODS.items() if word in words), None)
