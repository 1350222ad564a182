"""What people get wrong: every time a line that says what, where, and what next; and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from tests.daemon.place import Place, place
from tests.world import DEFINITION


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return place(tmp_path)


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *args: str, code: int) -> str:
    """What a command prints, in this process: as ``orchestrator ARGS`` would."""
    monkeypatch.setattr("sys.argv", ["orchestrator", *args])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert caught.value.code == code, out + err
    return out + err


STEPS: list[dict[str, Any]] = DEFINITION["steps"]
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a missing template": ({"steps": [{**STEPS[0], "template": "lunhc"}]}, "template", "'lunch'"),
    "an impossible window": ({"window": {"local": "10:30-25:00"}}, "window.local", "24:00"),
    "a window that never opens": ({"window": {"local": "10:30-10:30"}}, "window.local", ""),
    "an unknown segment": ({"audience": {"segment": "everybudy"}}, "audience.segment", "'everybody'"),
    "an unknown channel": ({"steps": [{**STEPS[0], "channel": "pusj"}]}, "channel", "'push'"),
    "an unknown field": ({"holdot": "10%"}, "holdot", "'holdout'"),
    "a long name": ({"topic": "x" * 50_000}, "topic", ""),
}


@pytest.mark.parametrize("command", ["validate", "launch"])
@pytest.mark.parametrize("name", BAD)
def test_a_campaign_file_that_is_wrong(
    here: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    changes, field, near = BAD[name]
    here.fill(**changes)
    text = said(capsys, monkeypatch, command, "lunch", code=2)
    [line] = [line for line in text.splitlines() if "campaigns/lunch.yaml:" in line][:1]
    assert line.partition("campaigns/lunch.yaml:")[2][0].isdigit()
    assert field in line
    assert near in text
    assert len(text) < 2_000
    assert "Traceback" not in text


def test_a_name_of_ten_megabytes(
    here: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here.fill(topic="x" * 10_000_000)
    text = said(capsys, monkeypatch, "launch", "lunch", code=2)
    assert "campaigns/lunch.yaml: " in text
    assert len(text) < 500
    text = said(capsys, monkeypatch, "launch", "x" * 10_000_000, code=1)
    assert "there is no campaign 'xxx" in text
    assert len(text) < 500


def test_an_undefined_name_is_found_in_its_own_file_and_line(
    here: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write("templates/lunch/push.en.j2", "title: Hello\n\nDear {{ user.nmae }},\nlunch is ready.\n")
    for command in ("validate", "launch"):
        text = said(capsys, monkeypatch, command, "lunch", code=2)
        assert "templates/lunch/push.en.j2:3" in text
        assert "nmae" in text
        assert "name" in text


def test_all_that_is_wrong_is_said_at_once(
    here: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here.fill(window={"local": "11:00-9"}, audience={"segment": "nobody"}, priority="high")
    text = said(capsys, monkeypatch, "validate", "lunch", code=2)
    assert [field for field in ("window.local", "audience.segment", "priority") if field not in text] == []


def test_malformed_rows_go_to_a_file_with_their_reasons_and_the_rest_is_taken_in(
    here: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["id,name,zone", "u1,Ada,Europe/Berlin", ",Nobody,UTC", f"u2,{'x' * 10_000_000},UTC", "u3,Bob,Mars/Base"]
    here.write("users.csv", "\n".join([*rows, "u4,Cid", "u5,Eve,Asia/Shanghai"]) + "\n")
    here.write("users.yaml", {"columns": {"external_id": "id", "name": "name", "zone": "zone"}})
    text = said(capsys, monkeypatch, "import", "users", "users.csv", "--mapping", "users.yaml", "--json", code=0)
    done = json.loads(text)
    assert done["read"] == 6
    assert done["written"] + done["rejected"] == 6
    assert done["rejected"] >= 2
    assert done["zones_unknown"] == 1
    side = Path(done["rejects"]).read_text(encoding="utf-8")
    assert "3" in side
    assert len(side) < 100_000  # the reason, not ten megabytes of it
    again = json.loads(
        said(capsys, monkeypatch, "import", "users", "users.csv", "--mapping", "users.yaml", "--json", code=0)
    )
    assert (again["written"], again["rejected"]) == (0, done["rejected"])


def test_settings_that_are_wrong_name_their_field(
    here: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write("orchestrator.yaml", {"accounts": {"fcm": {"channel": "push", "provider": "lgo"}}, "prot": 1})
    text = said(capsys, monkeypatch, "accounts", "list", code=2)
    assert "prot" in text
    here.write("orchestrator.yaml", {"accounts": {"fcm": {"channel": "push", "provider": "lgo"}}})
    text = said(capsys, monkeypatch, "run", code=2)
    assert "accounts.fcm" in text
    assert "'log'" in text
