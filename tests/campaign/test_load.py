"""A campaign with what it uses: segments, templates, facts, accounts, names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.campaign.load import campaign_names, check_segments, load_bundle
from orchestrator.errors import ConfigError, NotFoundError, Problem
from tests.campaign.project import Project

Only = Callable[..., Problem]


def test_a_bundle_has_all_that_the_campaign_uses_and_no_more(project: Project) -> None:
    bundle = project.load()
    assert list(bundle.segments) == ["dormant-lunch-regulars"]
    assert {path.rpartition("/")[0] for path in bundle.templates} <= {
        "", "lunch-winback", "lunch-winback/dish", "lunch-winback/coupon",
    }  # fmt: skip
    assert "lunch-winback/coupon/sms.zh.j2" in bundle.templates
    assert bundle.definition["window"]["local"] == "10:30-11:45"


def test_by_name_and_by_path_is_the_same(project: Project) -> None:
    assert load_bundle(project.campaign, project.campaigns, project.templates) == project.load()


def test_an_unknown_campaign_names_the_nearest(project: Project) -> None:
    for name, hint in (("lunch-winbak", "did you mean 'lunch-winback'?"), ("x" * 10_000, "known: lunch-winback")):
        with pytest.raises(NotFoundError) as caught:
            load_bundle(name, project.campaigns, project.templates)
        assert caught.value.hint == hint
        assert len(str(caught.value)) < 200
    with pytest.raises(NotFoundError, match="there is no file"):
        load_bundle("elsewhere/lunch.yaml", project.campaigns, project.templates)
    assert campaign_names(project.campaigns) == ["lunch-winback"]


def test_segments_are_closed_over_references(project: Project) -> None:
    project.edit(project.campaign, ("exclude: []", "exclude: [lost-big-spenders]"))
    assert list(project.load().segments) == ["big-spenders", "dormant-lunch-regulars", "lost-big-spenders"]


def test_an_unknown_segment_names_the_nearest(problem: Only) -> None:
    found = problem(("exclude: []", "exclude: [big-spender]"))
    assert (found.field, found.message, found.hint) == (
        "audience.exclude.1",
        "unknown segment 'big-spender'",
        "did you mean 'big-spenders'?",
    )
    assert found.line == 22


def test_mistakes_in_a_segment_are_told_with_their_lines(project: Project) -> None:
    segment = project.campaigns / "segments/dormant-lunch-regulars.yaml"
    project.edit(
        segment,
        ("within: 600d", "within: 600"),
        ("{did_not: order_paid", "{segment: lost-spenders}\n    - {did_nt: order_paid"),
    )
    found = project.problems()
    assert {problem.file for problem in found} == {str(segment)}
    assert [(problem.field, problem.line) for problem in found] == [("where.all.1.within", 12), ("where.all.3", 14)]
    project.edit(segment, ("within: 600", "within: 600d"), ("did_nt", "did_not"))
    (unknown,) = project.problems()
    assert str(unknown).endswith(
        ":13: where.all.2.segment: unknown segment 'lost-spenders' (did you mean 'lost-big-spenders'?)"
    )


def test_segments_in_a_circle(project: Project) -> None:
    project.edit(project.campaign, ("exclude: []", "exclude: [lost-big-spenders]"))
    segment = project.campaigns / "segments/big-spenders.yaml"
    project.edit(
        segment,
        ("  did: order_paid\n  where:\n    - {property: amount, at_least: 100}", "  segment: lost-big-spenders"),
    )
    found = project.problems()
    assert found
    assert all("circle" in problem.message for problem in found), found


def test_segments_nobody_uses_are_checked_too(project: Project) -> None:
    assert check_segments(project.campaigns) == []
    (project.campaigns / "segments/broken.yaml").write_text("name: broken\nwhere: [\n")
    (project.campaigns / "segments/other.yaml").write_text("name: another\nwhere: {did: app_open}\n")
    found = [str(problem) for problem in check_segments(project.campaigns)]
    assert any("broken.yaml:2: is not YAML" in text for text in found)
    assert any("other.yaml:1: name: is 'another'" in text for text in found)
    project.load()  # which does not use them


def test_a_missing_template_names_the_nearest(problem: Only) -> None:
    found = problem(("{channel: push, template: lunch-winback/dish}", "{channel: push, template: lunch-winback/dich}"))
    assert found.field == "steps.1.template"
    assert found.message == "there is no template 'lunch-winback/dich'"
    assert found.hint == "did you mean 'lunch-winback/dish'?"


def test_a_template_outside_the_folder_is_refused(project: Project) -> None:
    (project.root / "secret").mkdir()
    (project.root / "secret/push.en.j2").write_text("title: x\n\nbody\n")
    found = project.problems(("template: lunch-winback/dish}", "template: ../secret}"))
    assert {problem.field for problem in found} == {"steps.1.template"}


def test_an_arms_template_needs_a_file_for_each_channel(project: Project) -> None:
    for path in (project.templates / "lunch-winback/coupon").glob("sms*"):
        path.unlink()
    (found,) = project.problems()
    assert found.field == "experiment.arms.2.template"
    assert found.message == "'lunch-winback/coupon' has no sms template"


def test_an_undeclared_fact_is_told_with_its_line_in_the_template(project: Project) -> None:
    template = project.templates / "lunch-winback/dish/sms.en.j2"
    template.write_text(template.read_text(encoding="utf-8").rstrip("\n") + "\n{{ user.favourit }} {{ user.orders }}\n")
    (found,) = project.problems()
    assert (found.file, found.line) == (str(template), len(template.read_text(encoding="utf-8").splitlines()))
    assert "user.favourit" in found.message
    assert "did you mean 'user.favourite'?" in found.hint
    assert "list it under `facts`" in found.hint


def test_what_is_known_and_what_to_do_are_two_sentences(project: Project) -> None:
    template = project.templates / "lunch-winback/dish/sms.en.j2"
    template.write_text(template.read_text(encoding="utf-8").rstrip("\n") + "\n{{ user.qqqqqqqqqqqqq }}\n")
    (found,) = project.problems()
    assert "; if users have it, list it under `facts`" in found.hint


def test_declaring_a_fact_or_a_default_makes_it_known(project: Project) -> None:
    template = project.templates / "lunch-winback/dish/sms.en.j2"
    template.write_text("{{ user.points }} {{ user.tier }}\n")
    assert len(project.problems()) == 2
    project.edit(project.campaign, ("facts: [orders, favourite]", "facts: [orders, favourite, points]"))
    assert len(project.problems()) == 1
    defaults = project.templates / "lunch-winback/defaults.yaml"
    defaults.write_text(defaults.read_text(encoding="utf-8") + "\nuser.tier: basic\n", encoding="utf-8")
    project.load()


def test_a_broken_template_is_told(project: Project) -> None:
    template = project.templates / "lunch-winback/dish/push.zh.j2"
    template.write_text("title: {{ user.name\n\n好\n", encoding="utf-8")
    (found,) = project.problems()
    assert (found.file, found.line) == (str(template), 1)


def test_accounts_are_checked_when_known(project: Project) -> None:
    project.edit(project.campaign, ("{channel: push, ", "{channel: push, account: twillio, "))
    project.load()
    for accounts, message in (
        ({"twilio": "sms"}, "did you mean 'twilio'?"),
        ({"twillio": "sms"}, "is an account for sms"),
    ):
        with pytest.raises(ConfigError, match=r"steps\.1\.account") as caught:
            load_bundle("lunch-winback", project.campaigns, project.templates, accounts=accounts)
        assert message in str(caught.value)


def test_without_any_segments_or_templates(tmp_path: Path, project: Project) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        load_bundle(project.campaign, tmp_path / "empty", tmp_path / "none")
    assert "unknown segment" in str(caught.value)
    assert "there is no template" in str(caught.value)
