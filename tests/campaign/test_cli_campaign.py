"""``validate`` and ``schema`` as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli.campaign import app
from tests.campaign.project import Project


@pytest.fixture(autouse=True)
def settings(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_CAMPAIGNS", str(project.campaigns))
    monkeypatch.setenv("ORCHESTRATOR_TEMPLATES", str(project.templates))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_samples_are_fine() -> None:
    result = run("validate")
    assert result.exit_code == 0, result.output
    assert "ok lunch-winback: 2 steps, 3 arms, 10% held out, 10:30-11:45" in result.output


def test_every_problem_is_printed_and_the_exit_code_is_2(project: Project) -> None:
    project.edit(project.campaign, ("priority: 50", "priority: many"), ("channel: push", "channel: pusj"))
    (project.campaigns / "segments/broken.yaml").write_text("name: broken\n")
    (project.campaigns / "forgotten.yml").write_text("name: forgotten\n")
    result = run("validate")
    assert result.exit_code == 2
    assert "lunch-winback.yaml:19: priority: should be a whole number" in result.output
    assert "unknown channel 'pusj' (did you mean 'push'?)" in result.output
    assert "broken.yaml:1: where: is missing" in result.output
    assert "forgotten.yml: is not read: these files end in .yaml (rename it)" in result.output
    assert "4 problems in 3 files" in result.output


def test_json_for_machines(project: Project) -> None:
    assert json.loads(run("validate", "lunch-winback", "--json").output) == {
        "ok": True, "campaigns": ["lunch-winback"], "problems": [], "notes": [],
    }  # fmt: skip
    project.edit(project.campaign, ("priority: 50", "priority: 500"))
    result = run("validate", "lunch-winback", "nowhere", "--json")
    assert result.exit_code == 2
    answer = json.loads(result.output)
    assert (answer["ok"], answer["campaigns"]) == (False, [])
    assert [(problem["line"], problem["field"], problem["message"]) for problem in answer["problems"]] == [
        (19, "priority", "at most 100"),
        (0, "", "there is no campaign 'nowhere'"),
    ]
    assert answer["problems"][1]["hint"] == "known: lunch-winback"


def test_one_campaign_is_checked_without_the_others(project: Project) -> None:
    (project.campaigns / "other.yaml").write_text("name: other\n")
    assert run("validate", "lunch-winback").exit_code == 0
    assert run("validate", str(project.campaign)).exit_code == 0
    assert run("validate").exit_code == 2


def test_markup_in_a_file_is_printed_as_it_is(project: Project) -> None:
    project.edit(project.campaign, ("priority: 50", 'priority: "[/red][bold]"'))
    assert "text: '[/red][bold]'" in run("validate").output


def test_a_weekday_without_a_window_is_noted(project: Project) -> None:
    project.edit(project.campaign, ('"10:30-11:45", late', '"mon-fri 10:30-11:45, sat 12:00-14:00", late'))
    result = run("validate")
    assert result.exit_code == 0
    assert "note: lunch-winback: fires on sun, when mon-fri 10:30-11:45, sat 12:00-14:00 is shut" in result.output


def test_a_window_that_clocks_skip_is_noted(project: Project) -> None:
    project.edit(
        project.campaign,
        ('"10:30-11:45", late', '"02:00-03:00", late'),
        ("days: every, from: 2026-11-01, until: 2027-12-31", "dates: [2027-03-14]"),
    )
    result = run("validate")
    assert result.exit_code == 0
    assert "note: lunch-winback: on 2027-03-14 clocks skip 02:00-03:00 in America/Adak" in result.output
    assert "nobody there gets it" in result.output


def test_an_empty_or_missing_folder(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("ORCHESTRATOR_CAMPAIGNS", str(tmp_path / "empty"))
    assert "Nothing to check" in run("validate").output
    monkeypatch.setenv("ORCHESTRATOR_CAMPAIGNS", str(tmp_path / "gone"))
    result = run("validate")
    assert result.exit_code == 2
    assert "there is no such folder" in result.output


def test_schema_is_json() -> None:
    assert json.loads(run("schema").output)["title"] == "Campaign"
    assert json.loads(run("schema", "--segment").output)["title"] == "Segment"
