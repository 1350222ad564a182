"""The page and the tables of a rehearsal: self-contained, well-formed, in both languages; and the command itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.rehearsal import terminal
from orchestrator.rehearsal.page import page
from orchestrator.rehearsal.responses import DEFAULTS, Responses
from orchestrator.rehearsal.values import Rehearsed
from tests import world
from tests.rehearsal.theatre import daily, order, played, town
from tests.report.test_page import Checker


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsed]:
    store = town(world.fresh(tmp_path_factory.mktemp("show") / "real.db"), 40)
    world.person(store, "evil<b>", None, country=None)
    world.launch(store, world.bundle({"name": "dinner", "window": {"local": "18:00-19:00"}}), world.OPENING)
    lively = Responses(DEFAULTS, 0.05)
    yield played(store, order(daily(budget={"sms": 30}), responses=lively, sms_price=0.05))
    store.close()


def printed(found: Rehearsed, locale: str) -> str:
    console = Console(width=120, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(terminal.show(found, locale))
    return console.export_text()


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_the_page_is_whole_and_fetches_nothing(found: Rehearsed, locale: str) -> None:
    made = page(found, locale)
    checker = Checker()
    checker.feed(made)
    assert (checker.open, checker.fetched) == ([], [])
    assert "http" not in made
    assert len(checker.ids) == len(set(checker.ids))
    assert made.startswith(f'<!doctype html>\n<html lang="{locale}" data-lang="{locale}">')
    for said in ("Before you launch", "上线前请留意", "The SMS budget would be used up", "dinner"):
        assert said in made


def test_every_picture_is_well_formed_and_says_what_it_shows(found: Rehearsed) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page(found), re.DOTALL)
    assert len(pictures) == (3 + len(found.loads)) * 2 * 2  # two widths, two languages
    for drawn in pictures:
        root = ET.fromstring(drawn)
        assert root.findtext("title")
        assert root.findtext("desc")
        assert "nan" not in drawn


def test_the_console_tells_the_same(found: Rehearsed) -> None:
    said = printed(found, "en")
    assert re.search(r"messages would go to \d+ of 41 people", said)
    assert re.search(rf"audience .* {found.tally.audience} ", said)
    assert "an assumption: no history" in said
    assert re.search(r"dinner .* \d+", said)
    assert "上线前" not in said
    assert "短信预算" in printed(found, "zh")


def test_a_rehearsal_of_nothing_can_be_shown(tmp_path: Path) -> None:
    store = world.fresh(tmp_path / "real.db")
    empty = played(store, order(daily()))
    store.close()
    assert page(empty)
    assert "The segment selects nobody" in printed(empty, "en")


PROJECT = {
    "orchestrator.yaml": """\
database: real.db
accounts:
  fcm: {channel: push, provider: log, rate: 5, options: {file: out/push.jsonl}}
  twilio: {channel: sms, provider: twilio, options: {account_sid: nonsense}}
""",
    "rates.yaml": "by_themselves: 0\nchannels: {push: {reopened: 0.5, dead: 0}}\n",
    "campaigns/lunch.yaml": json.dumps({**world.DEFINITION, "schedule": {"days": "every"}}),
    "campaigns/segments/everybody.yaml": json.dumps(world.SEGMENTS["everybody"]),
    **{f"templates/{name}": words for name, words in world.TEMPLATES.items()},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, words in PROJECT.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(words, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    town(store := world.fresh(tmp_path / "real.db"), 9)
    store.close()
    return tmp_path


def test_the_command_writes_json_and_a_page_and_nothing_else(project: Path) -> None:
    asked = ["rehearse", "lunch", "--days", "2", "--rates", "rates.yaml", "--html", "page.html", "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["tally"]["audience"] == sum(one["members"] for one in told["tally"]["decisions"]) > 0
    assert told["assumptions"][0] == {"channel": "push", "name": "delivered", "rate": 0.75, "source": "file"}
    assert "account twilio cannot be opened here" in told["notes"][0]
    assert (project / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not (project / "out").exists()


@pytest.mark.usefixtures("project")
def test_where_the_page_is_stands_in_the_language_that_was_asked_for() -> None:
    asked = ["rehearse", "lunch", "--days", "1", "--html", "page.html", "--locale", "zh"]
    assert "页面已写入 page.html" in CliRunner().invoke(app, asked, catch_exceptions=False).output


def test_wrong_rates_are_refused_with_their_place(project: Path) -> None:
    (project / "rates.yaml").write_text("channels:\n  push:\n    reopned: 0.5\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["rehearse", "lunch", "--rates", "rates.yaml"])
    assert done.exit_code != 0
    assert "rates.yaml" in str(done.exception)
    assert "reopned" in str(done.exception)
