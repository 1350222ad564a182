"""The page on operating: its commands, settings, metrics and alerts exist, and every alert is on it."""

from __future__ import annotations

import re

import pytest
from ruamel.yaml import YAML

from orchestrator import metrics, traces
from orchestrator.daemon.roles import Role
from orchestrator.settings import Settings
from tests.docs.pages import DOCS, page
from tests.docs.test_commands_page import TREE

TEXT = page("howto/operate.md")
RULES = YAML(typ="safe").load((DOCS.parent / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8"))


def test_every_alert_is_explained_and_none_that_does_not_exist() -> None:
    alerts = {rule["alert"] for group in RULES["groups"] for rule in group["rules"]}
    assert set(re.findall(r"^\| `(Orchestrator\w+)` \|", TEXT, re.MULTILINE)) == alerts


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(orchestrator [a-z]+(?: [a-z]+)?)[^`]*`", TEXT))))
def test_commands_exist(named: str) -> None:
    words = named.split()
    assert " ".join(words[:3]) in TREE or " ".join(words[:2]) in TREE


def test_what_is_set_in_the_environment_is_a_setting() -> None:
    named = {name.lower() for name in re.findall(r"\bORCHESTRATOR_([A-Z_]+)=", TEXT)}
    assert named
    assert named <= set(Settings.model_fields)


def test_roles_spans_and_metrics_exist() -> None:
    assert set(re.findall(r"--role (\w+)", TEXT)) <= {role.value for role in Role}
    assert all(f"`{name}`" in TEXT for name in traces.NAMES)
    shown = metrics.exposition()[0].decode()
    assert all(f"# TYPE {name} " in shown for name in re.findall(r"`(orchestrator_\w+)`", TEXT))


def test_links_lead_somewhere() -> None:
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", TEXT)]
    missing = [target for target in targets if target and not (DOCS / "howto" / target).exists()]
    assert not missing
