"""Aliyun's signature: its published vector, changed characters, and what is escaped."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from orchestrator.channel.sms.aliyun_signature import encoded, signature, signed
from tests.channel.sms.aliyun_end import KEY, SECRET

# Aliyun's published vector.
VECTOR = {
    "AccessKeyId": "testId",
    "Action": "SendSms",
    "Format": "XML",
    "OutId": "123",
    "PhoneNumbers": "15300000001",
    "RegionId": "cn-hangzhou",
    "SignName": "阿里云短信测试专用",
    "SignatureMethod": "HMAC-SHA1",
    "SignatureNonce": "45e25e9b-0a6f-4070-8c85-2956eda1b466",
    "SignatureVersion": "1.0",
    "TemplateCode": "SMS_71390007",
    "TemplateParam": '{"customer":"test"}',
    "Timestamp": "2017-07-12T02:42:19Z",
    "Version": "2017-05-25",
}
SIGNED = "zJDF+Lrzhj/ThnlvIToysFRq6t4="


def test_the_published_vector() -> None:
    assert signature("GET", VECTOR, "testSecret") == SIGNED
    assert signature("GET", dict(reversed(VECTOR.items())), "testSecret") == SIGNED


def test_no_change_of_a_character_keeps_the_signature() -> None:
    chance = random.Random(14)
    for _ in range(2000):
        name = chance.choice(list(VECTOR))
        place = chance.randrange(len(VECTOR[name]))
        flipped = chr(ord(VECTOR[name][place]) ^ 1 << chance.randrange(7))
        changed = VECTOR[name][:place] + flipped + VECTOR[name][place + 1 :]
        assert signature("GET", {**VECTOR, name: changed}, "testSecret") != SIGNED
    assert signature("POST", VECTOR, "testSecret") != SIGNED
    assert signature("GET", VECTOR, "testSecre") != SIGNED


def test_what_is_escaped_and_what_is_not() -> None:
    assert encoded({"a b": "~-._*+/é"}) == b"a%20b=~-._%2A%2B%2F%C3%A9"
    twice = [signed({}, key_id=KEY, secret=SECRET, now=datetime(2026, 1, 1, tzinfo=UTC)) for _ in range(2)]
    assert twice[0]["SignatureNonce"] != twice[1]["SignatureNonce"]
