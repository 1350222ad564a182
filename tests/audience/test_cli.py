"""``import`` and ``segment`` as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli.importing import app as importing
from orchestrator.cli.segment import app as segments
from orchestrator.errors import ConfigError, InputError, NotFoundError

SEGMENT = """\
name: regulars
where:
  all:
    - {did: order_paid, at_least: 2}
    - {not: {did: order_paid, within: 30d}}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "campaigns/segments").mkdir(parents=True)
    (tmp_path / "campaigns/segments/regulars.yaml").write_text(SEGMENT)
    (tmp_path / "campaigns/segments/gold.yaml").write_text("name: gold\nwhere: {attribute: tier, equals: gold}\n")
    (tmp_path / "e.yaml").write_text(
        "columns:\n  user: u\n  name: {value: order_paid}\n  at: {column: at}\n",
    )
    (tmp_path / "e.csv").write_text("u,at\na,2026-01-01\na,2026-02-01\nb,2026-02-01\nc,never\n")
    return tmp_path


def run(app: object, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)  # type: ignore[arg-type]  # a typer app


def test_import_then_count(project: Path) -> None:
    done = json.loads(run(importing, "events", "e.csv", "--mapping", "e.yaml", "--json").stdout)
    assert (done["read"], done["written"], done["rejected"], done["rejects"]) == (
        4, 3, 1, str(project / "e.csv.rejected.csv"),
    )  # fmt: skip
    asked = {"2026-01-15T00:00Z": 0, "2026-02-15T00:00Z": 0, "2026-03-15T01:00+01:00": 1}
    answers = [json.loads(run(segments, "count", "regulars", "--as-of", at, "--json").stdout) for at in asked]
    assert [answer["count"] for answer in answers] == list(asked.values())
    assert answers[-1] == {"segment": "regulars", "as_of": "2026-03-15T00:00:00Z", "count": 1}
    assert run(segments, "sample", "regulars", "--as-of", "2026-03-15T00:00Z").stdout == "a\n"
    assert (
        "3 new or changed, 0 as before, 1 rejected"
        not in run(importing, "events", "e.csv", "--mapping", "e.yaml").stdout
    )


def test_a_past_instant_for_attributes_and_other_mistakes() -> None:
    assert json.loads(run(segments, "count", "gold", "--json").stdout)["count"] == 0
    with pytest.raises(InputError, match="keep no history: tier"):
        run(segments, "count", "gold", "--as-of", "2026-01-01T00:00Z")
    with pytest.raises(InputError, match="does not say its offset"):
        run(segments, "count", "gold", "--as-of", "2026-01-01")
    with pytest.raises(InputError, match="--as-of: the year 1 is out of range"):
        run(segments, "count", "gold", "--as-of", "0001-01-01T00:00+14:00")
    with pytest.raises(NotFoundError, match="did you mean 'regulars'"):
        run(segments, "count", "regular")


def test_mistakes_are_told_with_file_and_line(project: Path) -> None:
    (project / "campaigns/segments/regulars.yaml").write_text(SEGMENT.replace("at_least", "at_leas"))
    with pytest.raises(ConfigError, match=r"regulars\.yaml:4: where\.all\.1\.at_leas: unknown field"):
        run(segments, "count", "regulars")
    (project / "e.yaml").write_text("columns:\n  user: u\n  name: {value: x}\n  at: {column: when}\n")
    with pytest.raises(ConfigError, match=r"e\.yaml:4: columns\.at: the file has no column 'when'"):
        run(importing, "events", "e.csv", "--mapping", "e.yaml")
    with pytest.raises(InputError, match="there is no such file"):
        run(importing, "events", "f.csv", "--mapping", "e.yaml")
