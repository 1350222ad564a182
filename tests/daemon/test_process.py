"""The daemon as a process: what it does, what it refuses, how it ends, and what it never says."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.daemon.place import CANARIES, Place, place
from tests.far_end import wait_for


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return place(tmp_path)


def test_a_deployment_from_launch_to_sigterm(here: Place) -> None:
    here.people(5)
    with here.daemon() as process:
        body = json.loads(here.get("/healthz")[1])
        assert body["ok"]
        assert body["business_time"].startswith("2026-12-07T09:3")
        assert "lunch is running as version" in here.cli("launch", "lunch")
        wait_for(lambda: len(here.sent()) == 5, "five pushes", seconds=40)
        assert {row["title"] for row in here.sent()} == {f"Hello U{n}" for n in range(5)}
        assert json.loads(here.cli("pause", "lunch", "--json")) == {"campaign": "lunch", "state": "paused"}
        assert "lunch is running" in here.cli("resume", "lunch")
        assert here.counts() == (1, 10)
        _refusals(here, process.pid)
        _metrics(here.get("/metrics")[1])
        assert "lunch is stopped" in here.cli("stop", "lunch")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert (len(here.sent()), here.counts()) == (5, (1, 10))
    _log_is_clean(here)


def _refusals(here: Place, pid: int) -> None:
    said = here.cli("run", code=1)
    assert f"o.db is being written by process {pid}" in said
    assert "Traceback" not in said
    assert "did you mean 'lunch'?" in here.cli("pause", "lunhc", code=1)
    here.write("campaigns/lunch.yaml", (here.folder / "campaigns/lunch.yaml").read_text().replace('"push"', '"pusj"'))
    said = here.cli("launch", "lunch", code=2)  # the same through the daemon as without one
    assert "did you mean 'push'?" in said
    assert "campaigns/lunch.yaml:" in said


def _metrics(shown: str) -> None:
    for line in (
        'orchestrator_messages_total{channel="push",state="accepted"} 5.0',
        'orchestrator_attempts_total{account="fcm",channel="push",outcome="accepted"} 5.0',
        'orchestrator_members_total{decision="planned",reason=""} 5.0',
        'orchestrator_runs_planned_total{campaign="lunch"} 1.0',
        'orchestrator_in_flight{account="fcm"} 0.0',
        'orchestrator_breaker_open{account="fcm"} 0.0',
        "orchestrator_workers 1.0",
    ):
        assert line in shown, line
    assert not [canary for canary in CANARIES if canary in shown]


def _log_is_clean(here: Place) -> None:
    lines = [json.loads(line) for line in here.log().splitlines()]
    assert {"ready", "run_due", "run_planned", "stopped"} <= {line["event"] for line in lines}
    assert all({"level", "logger", "timestamp"} <= set(line) for line in lines)
    assert [line for line in lines if line["level"] in {"error", "critical"}] == []
    assert not [canary for canary in CANARIES if canary in here.log()]


def test_without_a_daemon_the_commands_take_the_lock_themselves(here: Place) -> None:
    assert json.loads(here.cli("launch", "lunch", "--json"))["campaign"] == "lunch"
    assert "stopped: lunch" in here.cli("stop", "--all")
    assert "it cannot become running" in here.cli("resume", "lunch", code=1)


def test_a_daemon_that_was_killed_leaves_nothing_in_the_way(here: Place) -> None:
    with here.daemon() as process:
        process.kill()
        process.wait(10)
    assert (here.folder / "o.db.sock").exists()
    assert "is running as version" in here.cli("launch", "lunch")


def test_a_port_that_is_taken_is_said_clearly(here: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", here.port))
        taken.listen()
        said = here.cli("run", code=1)
    assert f"cannot listen on 127.0.0.1:{here.port}: Address already in use" in said
    assert "set another `port`" in said
    assert "Traceback" not in said
