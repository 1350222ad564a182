"""The page about follow-ups: its campaigns are ones, and what it shows is what `explain` says of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from orchestrator.policy.caps import UNCAPPED
from orchestrator.policy.cues import WORDS
from orchestrator.report.consulted import Around, consulted
from orchestrator.report.consulted_words import tell_rules
from orchestrator.report.explain import explain
from orchestrator.report.launched import launched
from orchestrator.report.reasons import REASONS
from orchestrator.report.telling import tell
from orchestrator.store import Store
from tests import world
from tests.dispatch.journey import ALL_DAY, MAIL, ROUTING, Journey, ada
from tests.docs.pages import blocks, documented, page, section

PAGE = page("howto/follow-ups.md")


def example(number: int, name: str) -> Any:
    """The campaign of a YAML block of the page."""
    fields = YAML(typ="safe").load(blocks(PAGE, "yaml")[number])
    made = world.bundle({"name": name, "window": ALL_DAY, **fields})
    return replace(made, templates={**made.templates, **MAIL})


def shown(command: str) -> list[str]:
    """What the page shows after a command."""
    [found] = re.findall(rf"^```\n\$ {re.escape(command)}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [line for line in found.splitlines() if line]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = world.fresh(tmp_path / "t.db")
    yield made
    made.close()


def begun(store: Store, tmp_path: Path, number: int, name: str) -> Journey:
    ada(store)
    made = Journey(store, tmp_path, example(number, name))
    made.begin()
    return made


def told(made: Journey) -> list[str]:
    name = made.what.campaign.name
    with made.store.read() as connection:
        story = explain(connection, "ada", launched(connection, name), made.clock.now())
    return [line for line in tell(story) if line]


def test_the_waterfall(store: Store, tmp_path: Path) -> None:
    made = begun(store, tmp_path, 0, "waterfall").go(31)
    made.receipt(2)
    assert told(made.go(65)) == shown("orchestrator explain ada waterfall")


def test_waiting_for_something(store: Store, tmp_path: Path) -> None:
    made = begun(store, tmp_path, 1, "voucher").go(40)
    around = Around(world.planner(made.clock).quiet, UNCAPPED, ROUTING, None, lambda _: None)
    with store.read() as connection:
        rules = list(tell_rules(consulted(connection, "ada", "voucher", made.clock.now(), around)[1:], "en"))
    assert [line for line in rules if line] == shown("orchestrator explain ada voucher --rules")
    made.touch(1)
    assert told(made.go(60)) == shown("orchestrator explain ada voucher")


def test_enough(store: Store, tmp_path: Path) -> None:
    made = begun(store, tmp_path, 2, "enough").go(20)
    made.did("order_paid")
    assert told(made.go(65)) == shown("orchestrator explain ada enough")


def test_every_word_is_in_the_reference_with_its_reasons() -> None:
    table = documented(section(page("reference/campaign-file.md"), "### What a later step can ask"))
    assert set(table) == set(WORDS)
    for word, said in table.items():
        assert said == f"`{word}`, `not_{word}`"
        assert {word, f"not_{word}", f"waiting:{word}", f"after:{word}", f"woken:{word}"} <= set(REASONS)
    assert {"did", "did_not", "waiting", "after", "woken"} <= set(REASONS)
