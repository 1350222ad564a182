"""``erase``: asked before, told afterwards, and through whoever writes the database."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from orchestrator.cli import erasing
from orchestrator.cli.app import app
from orchestrator.errors import InputError, NotFoundError
from orchestrator.store import Store
from orchestrator.store.tables import message, metadata
from tests.daemon.place import place
from tests.far_end import wait_for

CANARIES = ("canary-token-1", "+49151000000001", "'u1'", "U1")


def dump(path: Path) -> str:
    store = Store(str(path), writer=False)
    with store.read() as connection:
        rows = [str(row) for table in metadata.sorted_tables for row in connection.execute(select(table))]
    store.close()
    return "\n".join(rows)


def test_without_yes_it_shows_and_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = place(tmp_path)
    here.people(3)
    monkeypatch.chdir(here.folder)
    with pytest.raises(InputError, match="cannot be undone"):
        CliRunner().invoke(app, ["erase", "u1"], catch_exceptions=False)
    monkeypatch.setattr(erasing, "_watched", lambda: True)
    with pytest.raises(InputError, match="cannot be undone"):
        CliRunner().invoke(app, ["erase", "u1", "--json"], catch_exceptions=False)
    with pytest.raises(NotFoundError, match="no user 'nobody'"):
        CliRunner().invoke(app, ["erase", "nobody"], catch_exceptions=False)
    asked = CliRunner().invoke(app, ["erase", "u1"], input="n\n", catch_exceptions=False)
    assert asked.exit_code == 1
    assert "2  addresses" in asked.output
    assert all(canary in dump(here.folder / "o.db") for canary in CANARIES)
    done = CliRunner().invoke(app, ["erase", "u1"], input="y\n", catch_exceptions=False)
    assert done.exit_code == 0
    assert "backups" in done.output
    assert not [canary for canary in CANARIES if canary in dump(here.folder / "o.db")]


def test_through_the_daemon_nothing_is_left_in_its_log_either(tmp_path: Path) -> None:
    here = place(tmp_path)
    here.people(3)
    with here.daemon() as process:
        here.cli("suppression", "add", "--channel", "sms", "--user", "u1", "--reason", "stop")
        here.cli("launch", "lunch")
        wait_for(lambda: len(here.sent()) == 3, "three pushes", seconds=40)
        said = json.loads(here.cli("erase", "u1", "--yes", "--json"))
        assert (said["users"], said["addresses"], said["opt_outs"]) == (1, 2, 1)
        assert "there is no user" in here.cli("erase", "u1", "--yes", code=1)
        here.write("s.csv", "u,n\nu1,Somebody\n")
        here.write("s.yaml", {"columns": {"external_id": "u", "name": "n"}})
        here.cli("import", "users", "s.csv", "--mapping", "s.yaml")
        shown = json.loads(here.cli("users", "show", "u1", "--json"))
        assert [(one["channel"], one["reason"], one["source"]) for one in shown["suppressions"]] == [
            ("sms", "stop", "erased")
        ]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    found = dump(here.folder / "o.db")
    assert not [canary for canary in CANARIES if canary != "'u1'" and canary in found]
    assert "u1" not in here.log()
    store = Store(str(here.folder / "o.db"), writer=False)
    with store.read() as connection:
        assert len(connection.execute(select(message)).all()) >= 3
    store.close()
    (here.folder / "o.db.links.key").write_text("00" * 32)
    assert "erasure_key_file: is not the key" in here.cli("run", code=2)
