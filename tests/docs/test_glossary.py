"""One word a thing: the glossary has the design's words, and none of their synonyms."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import DOCS, ROOT, page, rows

GLOSSARY = page("glossary.md")
TERMS = {cells[0]: cells[1:] for cells in rows(GLOSSARY) if cells[0] != "word"}
WORDS = {
    "User", "Address", "Event", "Segment", "Campaign", "Version", "Run", "Audience", "Member", "Step", "Arm",
    "Holdout", "Message", "Decision", "Lane", "Attempt", "Channel", "Provider", "Account", "Receipt", "Deadline",
    "Reach", "Reopen", "Lift", "Suppression", "Consent", "Operator",
}  # fmt: skip
SYNONYMS = {
    "Customer", "Subscriber", "Recipient", "Contact", "Person", "Endpoint", "Device", "Destination", "Cohort", "List",
    "Flow", "Journey", "Blast", "Batch", "Job", "Task", "Target", "Variant", "Variation", "Bucket", "Control",
    "Control group", "Notification", "Delivery", "Send", "Queue", "Try", "Gateway", "Vendor", "Transport", "Credential",
    "Callback", "Expiry", "Return", "Comeback", "Reactivation", "Uplift", "Incrementality", "Blacklist", "Blocklist",
    "Opt-in", "Permission", "Admin", "Marketer", "Exclusion",
}  # fmt: skip


def test_every_word_of_the_design_stands_with_its_chinese() -> None:
    assert set(TERMS) >= WORDS
    for word, (chinese, means) in TERMS.items():
        assert re.fullmatch(r"[\u4e00-\u9fff]+", chinese), word
        assert means.endswith("."), word


def test_no_synonym_is_a_term() -> None:
    assert {word.lower() for word in TERMS} & {word.lower() for word in SYNONYMS} == set()


def test_no_term_and_no_chinese_word_stands_twice() -> None:
    found = [cells[0] for cells in rows(GLOSSARY) if cells[0] != "word"]
    assert len(found) == len(set(found))
    assert len({chinese for chinese, _ in TERMS.values()}) == len(TERMS)


HEADINGS = [
    (path.relative_to(ROOT).as_posix(), heading)
    for path in [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for heading in re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize(("where", "heading"), HEADINGS)
def test_no_heading_uses_a_synonym(where: str, heading: str) -> None:
    words = {word.lower() for word in SYNONYMS - {"Return", "Try", "Send", "List", "Queue"}}
    assert not words & set(re.findall(r"[a-z-]+", heading.lower())), where
