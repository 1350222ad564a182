"""Bars: what is met, missed and not measured; and that the pages say what was measured."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import scale_page
from bench.__main__ import PAGE, RESULTS, SUITE, merged, times_made
from bench.bars import BARS, Bar, verdicts
from bench.show import LINES, lines_of, markdown

SPEED = Bar("speed", "a second", "≥", 0.5, ("one",), lambda found: found["one"]["share"])
MEMORY = Bar("memory", "RSS", "≤", 130, ("one", "two"), lambda found: found["two"]["mb"], unit=" MB")
COSTS: dict[str, Any] = {
    "users": 1000,
    "bytes": dict.fromkeys(("users", "address", "consent", "event", "member", "message", "attempt", "receipt"), 100),
    "planned_per_second": 10_000,
    "planned_cpu_us": 30.0,
    "planned_wal_bytes": 500,
    "worker_cpu_us": 60.0,
    "database_cpu_us": 120.0,
    "wal_bytes": 1_000,
    "transactions": 0.05,
    "redis_requests": 0.01,
    "redis_commands": 0.1,
    "redis_bytes": 20.0,
    "redis_cpu_us": 1.0,
    "import_per_second": 20_000,
}


@pytest.mark.parametrize(("share", "met"), [(0.5, True), (0.51, True), (0.49, False)])
def test_at_least_is_met_from_the_bar_on(share: float, met: bool) -> None:
    assert SPEED.verdict({"one": {"share": share}}).met is met


@pytest.mark.parametrize(("mb", "met"), [(130, True), (129.9, True), (130.1, False)])
def test_at_most_is_met_up_to_the_bar(mb: float, met: bool) -> None:
    assert MEMORY.verdict({"one": {}, "two": {"mb": mb}}).met is met


def test_what_was_not_measured_is_neither_met_nor_missed_and_says_why() -> None:
    verdict = MEMORY.verdict({"one": {"why": "nginx cannot be had here"}})
    assert verdict.met is None
    cells = verdict.cells({"one": 1})
    assert cells[-1] == "not measured: nginx cannot be had here, not run"
    assert verdict.as_json()["value"] is None


def test_the_table_says_bar_runs_value_and_verdict() -> None:
    verdict = MEMORY.verdict({"one": {}, "two": {"mb": 140.26}})
    assert verdict.cells({"one": 5, "two": 1}) == ("memory", "RSS", "5 + 1", "**140** MB", "≤ 130 MB", "missed")


def test_every_bar_needs_benchmarks_that_there_are_and_every_benchmark_has_its_lines() -> None:
    assert {name for bar in BARS for name in bar.needs} <= SUITE.keys()
    assert {name for name in SUITE if not name.startswith("against-")} == LINES.keys()


def test_what_a_bar_hangs_on_is_measured_five_times_and_its_median_found() -> None:
    needed = [SUITE[name] for bar in BARS for name in bar.needs]
    assert all(one.times * one.turns >= 5 for one in needed)
    assert all(one.by for one in needed if one.times > 1)
    assert times_made({"segments": {"runs": [{}]}, "mail": {"runs": [{}, {}]}}) == {"segments": 5, "mail": 2}


def test_a_benchmark_that_failed_is_a_line_with_its_reason() -> None:
    [line] = lines_of({"mail": {"why": "`python -m bench.mail` ended with 1"}})
    assert line.cells == ("mail", "not measured", "", "", "`python -m bench.mail` ended with 1")


def test_what_is_measured_alone_is_put_beside_the_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    before = {"render": {"at": "then"}, "mail": {"at": "then"}, "gone": {"at": "then"}}
    (tmp_path / "results.json").write_text(json.dumps({"command": "all", "benchmarks": before}))
    monkeypatch.setattr("bench.__main__.RESULTS", tmp_path / "results.json")
    both = merged({"command": "c", "benchmarks": {"mail": {"at": "now"}}})
    assert both["benchmarks"] == {"mail": {"at": "now"}, "render": {"at": "then"}}
    assert (both["command"], both["again"]) == ("all", ["mail"])


@pytest.mark.skipif(not RESULTS.exists(), reason="nothing was measured with --write yet")
def test_the_pages_say_what_was_measured() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    medians = {name: one["median"] for name, one in results["benchmarks"].items()}
    runs = times_made(results["benchmarks"])
    held = verdicts(medians)
    assert [one.as_json() for one in held] == results["bars"]
    assert PAGE.read_text(encoding="utf-8") == markdown(results, held, runs)
    page = scale_page.PAGE.read_text(encoding="utf-8")
    assert scale_page.rendered(page, medians["scale"]) == page


def test_the_page_of_a_hundred_million_users_takes_new_figures() -> None:
    page = scale_page.PAGE.read_text(encoding="utf-8")
    made = scale_page.rendered(page, COSTS)
    assert "| sending a message: worker CPU | 60 µs |" in made
    assert "| messages, at the peak | 19,048/s |" in made
    assert "| cores for PostgreSQL, at the peak | 3.8 |" in made
    assert "| disk: message | 1.50 TB | 100 bytes a row |" in made
    assert scale_page.rendered(made, COSTS) == made


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale.md has no <!-- unit costs"):
        scale_page.rendered("# nothing\n", COSTS)
