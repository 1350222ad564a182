"""Versions: same content, same hash; what was stored comes back without files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from orchestrator.campaign.document import Document
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.version import (
    Bundle,
    forget_versions,
    from_json,
    hash_of,
    read_bundle,
    save_version,
    to_json,
)
from orchestrator.errors import NotFoundError, OrchestratorError
from orchestrator.store.engine import Store
from orchestrator.store.tables import metadata, version
from tests.campaign.project import Project

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "t.db"))
    metadata.create_all(opened.writer_engine)
    forget_versions()
    yield opened
    opened.close()


def test_round_trip(project: Project) -> None:
    bundle = project.load()
    assert from_json(to_json(bundle)) == bundle
    assert to_json(from_json(to_json(bundle))) == to_json(bundle)


def test_the_text_is_canonical(project: Project) -> None:
    text = to_json(project.load())
    assert "午餐老客召回" in text
    assert text == json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def test_comments_and_layout_do_not_change_the_hash(project: Project) -> None:
    before = hash_of(project.load())
    text = project.campaign.read_text(encoding="utf-8").replace("priority: 50\n", "", 1)
    project.campaign.write_text("# another comment\n" + text + "\npriority:   50   # moved\n", encoding="utf-8")
    segment = project.campaigns / "segments/dormant-lunch-regulars.yaml"
    segment.write_text("# and here\n" + segment.read_text(encoding="utf-8"), encoding="utf-8")
    assert hash_of(project.load()) == before


def test_a_field_a_segment_or_a_template_changes_the_hash(project: Project) -> None:
    hashes = [hash_of(project.load())]
    project.edit(project.campaign, ("priority: 50", "priority: 51"))
    hashes.append(hash_of(project.load()))
    project.edit(project.campaigns / "segments/dormant-lunch-regulars.yaml", ("within: 30d", "within: 31d"))
    hashes.append(hash_of(project.load()))
    template = project.templates / "lunch-winback/dish/sms.en.j2"
    template.write_text(template.read_text(encoding="utf-8") + "!", encoding="utf-8")
    hashes.append(hash_of(project.load()))
    assert len(set(hashes)) == 4


def test_what_is_not_used_does_not_change_the_hash(project: Project) -> None:
    before = hash_of(project.load())
    project.edit(project.campaigns / "segments/big-spenders.yaml", ("at_least: 100", "at_least: 200"))
    assert hash_of(project.load()) == before


def test_saving_twice_stores_once(project: Project, store: Store) -> None:
    bundle = project.load()
    with store.write() as connection:
        first = save_version(connection, bundle, NOW)
        assert save_version(connection, bundle, NOW) == first == hash_of(bundle)
        assert connection.execute(select(func.count()).select_from(version)).scalar() == 1


def test_a_stored_version_needs_no_files(project: Project, store: Store) -> None:
    bundle = project.load()
    with store.write() as connection:
        digest = save_version(connection, bundle, NOW)
    shutil.rmtree(project.campaigns)
    shutil.rmtree(project.templates)
    with store.read() as connection:
        assert read_bundle(connection, digest) == bundle
        assert read_bundle(connection, digest) is read_bundle(connection, digest)


def test_an_unknown_version(store: Store) -> None:
    with store.read() as connection, pytest.raises(NotFoundError, match="there is no version abc"):
        read_bundle(connection, "abc")


def test_a_version_that_was_changed_is_refused(project: Project, store: Store) -> None:
    with store.write() as connection:
        digest = save_version(connection, project.load(), NOW)
        connection.execute(update(version).values(body=func.replace(version.c.body, "holdout", "hold_out")))
        with pytest.raises(OrchestratorError, match="has been changed"):
            read_bundle(connection, digest)


def test_a_version_of_another_format_is_refused(project: Project) -> None:
    body = json.loads(to_json(project.load())) | {"format": 99}
    with pytest.raises(OrchestratorError, match="format 99"):
        from_json(json.dumps(body))


spans = st.integers(1, 5000).map(lambda n: f"{n}m")
shares = st.integers(0, 90).map(lambda n: f"{n}%") | st.floats(0, 0.9)
names = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
windows = st.tuples(st.integers(0, 11), st.integers(12, 23)).map(lambda hours: f"{hours[0]:02}:00-{hours[1]:02}:30")
steps = st.fixed_dictionaries(
    {"channel": st.sampled_from(["push", "sms", "email"]), "template": names},
    optional={"rate": spans.map(lambda n: n[:-1] + "/min")},
)
definitions = st.fixed_dictionaries(
    {
        "name": names,
        "topic": names,
        "audience": st.fixed_dictionaries({"segment": names}, optional={"exclude": st.lists(names, max_size=3)}),
        "schedule": st.sampled_from([{"days": "every"}, {"days": ["mon", "wed-fri"]}, {"dates": ["2026-12-01"]}]),
        "window": st.fixed_dictionaries(
            {"local": windows},
            optional={"late": st.sampled_from(["skip", "next"]), "spread": shares, "expires_after": spans},
        ),
        "steps": st.lists(steps, min_size=1, max_size=1),
    },
    optional={
        "title": st.fixed_dictionaries({"zh": st.just("召回")}),
        "priority": st.integers(0, 100),
        "holdout": shares,
        "goal": st.fixed_dictionaries({}, optional={"event": names, "within": spans}),
        "drop_if_back": st.booleans(),
        "experiment": st.lists(names.filter(lambda name: name != "holdout"), min_size=1, max_size=5, unique=True).map(
            lambda arms: {"arms": [{"name": arm, "weight": 1 + n} for n, arm in enumerate(arms)]}
        ),
    },
)


@given(definitions, st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_campaign_survives_being_stored(definition: dict[str, Any], templates: dict[str, str]) -> None:
    bundle = Bundle(parse_campaign(Document("c.yaml", definition)), definition, {}, templates)
    back = from_json(to_json(bundle))
    assert back == bundle
    assert hash_of(back) == hash_of(bundle)
