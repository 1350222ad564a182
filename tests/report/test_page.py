"""The page and the tables: self-contained, well-formed, in both languages, and honest."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from typing_extensions import override

from orchestrator.report import sentences, terminal
from orchestrator.report.findings import Findings, findings
from orchestrator.report.html import page
from orchestrator.report.svg import apart, text, ticks
from orchestrator.report.tally import tally
from orchestrator.report.values import HOLDOUT, Launched, Tally
from orchestrator.store import Store
from tests.report.book import ANCHOR, NOW, Book


@pytest.fixture
def report(filled: Store, launched: Launched) -> tuple[Tally, Findings]:
    with filled.read() as connection:
        counted = tally(connection, launched, NOW)
    return counted, findings(counted)


class Checker(HTMLParser):
    """Notes what is opened and not closed, and every address that would be fetched."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.ids: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.fetched += [str(found[name]) for name in ("src", "href") if found.get(name)]
        self.ids += [str(found["id"])] if "id" in found else []
        if tag not in self.VOID:
            self.open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_the_page_is_whole_and_fetches_nothing(report: tuple[Tally, Findings], locale: str) -> None:
    made = page(*report, locale)
    checker = Checker()
    checker.feed(made)
    assert (checker.open, checker.fetched) == ([], [])
    assert "http" not in made
    assert len(checker.ids) == len(set(checker.ids))
    assert made.startswith(f'<!doctype html>\n<html lang="{locale}" data-lang="{locale}">')
    assert "午餐老客召回" in made
    assert "Lunch regulars who went quiet" in made


def test_every_picture_is_well_formed_and_says_what_it_shows(report: tuple[Tally, Findings]) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page(*report), re.DOTALL)
    assert len(pictures) == 5 * 2 * 2  # five pictures, two widths, two languages
    for picture in pictures:
        root = ET.fromstring(picture)
        assert root.findtext("title")
        assert root.findtext("desc")
        assert "nan" not in picture


def test_a_name_cannot_smuggle_markup_into_the_page(book: Book, store: Store, launched: Launched) -> None:
    evil = "<script>alert(1)</script>"
    book.run(1, audience=2)
    book.message(book.member(1, 1, arm=evil, anchor=ANCHOR, reopened_at=ANCHOR), 1, "failed", ANCHOR, reason=evil)
    book.member(1, 2, decision="skipped", reason=evil)
    book.write()
    with store.read() as connection:
        counted = tally(connection, launched, NOW)
    made = page(counted, findings(counted))
    assert evil not in made
    assert "&lt;script&gt;alert(1)" in made
    assert evil not in text(0, 0, evil)


def test_the_headline_says_what_may_be_said(report: tuple[Tally, Findings]) -> None:
    _, found = report
    said = sentences.headline(found, "en")
    assert re.fullmatch(
        r"Members who .* came back \d+\.\d points more often than those held out \(95\s%: .* to .*\)\.", said
    )
    dish = sentences.arm_sentence(found.arms[0], "en")
    assert dish.startswith("Members of arm dish came back ")
    assert "no difference to those held out can be told" in sentences.arm_sentence(found.arms[2], "en")
    assert "对照组" in sentences.headline(found, "zh")


def test_a_report_of_few_people_says_so(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=2)
    book.member(1, 1, anchor=ANCHOR, reopened_at=ANCHOR + timedelta(hours=1))
    book.member(1, 2, anchor=ANCHOR, held_out=True)
    book.write()
    with store.read() as connection:
        counted = tally(connection, launched, NOW)
    found = findings(counted)
    assert "not enough people yet" in sentences.headline(found, "en")
    assert "not enough people to say" in page(counted, found)


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_a_report_of_nothing_can_be_drawn(store: Store, launched: Launched, locale: str) -> None:
    with store.read() as connection:
        counted = tally(connection, launched, NOW)
    found = findings(counted)
    assert page(counted, found, locale)
    assert _printed(counted, found, locale)


def _printed(counted: Tally, found: Findings, locale: str) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(terminal.report(counted, found, locale))
    return console.export_text()


def test_the_console_shows_members_by_decision_and_arms_with_the_holdout(report: tuple[Tally, Findings]) -> None:
    counted, found = report
    printed = _printed(counted, found, "en")
    assert re.search(r"audience .* 1,200 .* 100\.0", printed)
    assert "no consent for this topic" in printed
    for name in ("dish", "coupon", "later", HOLDOUT, "all arms"):
        assert re.search(rf"^{name} ", printed, re.MULTILINE)
    assert re.search(r"\+\d+\.\d … \+\d+\.\d", printed)


def test_a_request_outside_the_window_is_alarming_in_words(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=1)
    night = ANCHOR + timedelta(hours=12)
    row = book.member(1, 1, anchor=ANCHOR)
    book.attempt(book.message(row, 1, "accepted", night, sent_at=night, attempts=1), 1, night)
    book.write()
    with store.read() as connection:
        counted = tally(connection, launched, NOW)
    assert "1 of 1 requests left OUTSIDE" in sentences.hours_sentence(counted, "en")
    assert 'class="bar-alarm"' in page(counted, findings(counted))


def test_labels_keep_apart() -> None:
    assert apart([10, 10, 12], 5, 0, 100) == [10, 15, 20]
    assert apart([98, 99, 100], 5, 0, 100) == [90, 95, 100]
    assert list(ticks(0, 10, 5)) == [0, 2, 4, 6, 8, 10]
