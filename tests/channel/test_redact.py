"""No address, token or body in a provider's words (P17)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.redact import LIMIT, redact

PHONE = "+15558675309"
BODY = "Your secret noodles miss you, Ümit: 50% off until 11:45 https://x.example/abc"


def test_the_providers_own_words_stay() -> None:
    said = "The message body exceeds the 1600 character limit."
    assert redact(said, [PHONE, "Hi"]) == said
    assert redact("Invalid value at 'message.android.ttl' (TYPE_STRING)", [PHONE]).startswith("Invalid value at")


def test_what_was_sent_goes_quoted_whole_or_in_part() -> None:
    for said in (
        f"'To' {PHONE} is invalid",
        "'To' +1 (555) 867-5309 is bad",
        "number 5558675309",
        f"Body: {BODY[:22]}",
    ):
        found = redact(said, [PHONE, BODY])
        assert "867" not in found
        assert "noodles" not in found
        assert "secret" not in found
        assert "…" in found


def test_chinese_and_tokens_go() -> None:
    assert redact(
        "无效 bad token cXyz123:APA91bHPRgkF3JUikC4ENAHEeMrd41Zxv3hVZjC9KtT8OvPVGJ-hQMRKRrZuJAEcl7B338q", []
    ) == ("… bad token …")


@given(st.text(max_size=3000), st.lists(st.text(max_size=50), max_size=3))
def test_short_printable_whatever_comes(text: str, private: list[str]) -> None:
    found = redact(text, private)
    assert len(found) <= LIMIT
    assert found.isprintable()
    assert "\n" not in found


@given(
    st.text(st.characters(categories=["L", "N"]), min_size=4, max_size=40), st.text(max_size=20), st.text(max_size=20)
)
def test_an_address_never_survives(address: str, before: str, after: str) -> None:
    assert address not in redact(f"{before} {address} {after}", [address]).split()
