"""The demonstration's folder, ports, settings and processes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from orchestrator.campaign.load import load_bundle
from orchestrator.cli.demo.processes import running, use_settings
from orchestrator.cli.demo.project import CAMPAIGN, MARK, Project, free_port, fresh_folder, kept_folder
from orchestrator.cli.demo.timeline import timeline
from orchestrator.errors import InputError, OrchestratorError
from orchestrator.settings import ClockSettings, load_settings
from orchestrator.timing.schedule import opens_at


def test_an_earlier_folder_of_ours_is_emptied(tmp_path: Path) -> None:
    folder = tmp_path / ".demo"
    with fresh_folder(folder):
        (folder / "campaigns").mkdir()
        (folder / "orchestrator.db").touch()
    with fresh_folder(folder):
        assert [entry.name for entry in folder.iterdir()] == [MARK]


def test_a_kept_folder_keeps_what_is_in_it(tmp_path: Path) -> None:
    with kept_folder(tmp_path / ".up") as folder:
        (folder / "orchestrator.db").touch()
    with kept_folder(tmp_path / ".up") as folder:
        assert (folder / "orchestrator.db").exists()


def test_a_folder_with_strange_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="did not make"), fresh_folder(tmp_path):
        pass
    assert (tmp_path / "thesis.txt").exists()


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".demo").symlink_to(tmp_path)
    with pytest.raises(InputError), fresh_folder(tmp_path / ".demo"):
        pass


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ".demo"
    with fresh_folder(folder), pytest.raises(InputError, match="in use"), fresh_folder(folder):
        pass


def test_the_next_port_is_taken_when_one_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) > port


def test_settings_are_what_the_daemon_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_CONFIG", "elsewhere.yaml")
    monkeypatch.setenv("ORCHESTRATOR_DATABASE", "elsewhere.db")
    project = Project(tmp_path, 4001, 4002, "key with: odd \"letters'")
    instant = datetime(2026, 11, 22, 8, 50, tzinfo=UTC)
    project.write_settings(ClockSettings(start=instant, origin=instant, speed=1800))
    use_settings(project.config)
    settings = load_settings()
    assert settings.database == str(tmp_path / "orchestrator.db")
    assert settings.api_keys[0].get_secret_value() == project.api_key
    assert {name: account.channel for name, account in settings.accounts.items()} == {"fcm": "push", "twilio": "sms"}
    assert settings.clock is not None
    assert settings.clock.speed == 1800
    assert project.config.stat().st_mode & 0o077 == 0


def test_the_campaign_copy_fires_on_one_date_and_is_valid(tmp_path: Path) -> None:
    project = Project(tmp_path, 1, 2, "")
    project.copy_campaign(date(2026, 11, 23))
    schedule = load_bundle(CAMPAIGN, project.campaigns, Path("templates")).campaign.schedule
    assert schedule.fires_on(date(2026, 11, 23))
    assert not schedule.fires_on(date(2026, 11, 24))


@pytest.mark.parametrize("weekday", range(16, 23))
def test_the_clock_starts_shortly_before_a_working_day_opens(weekday: int) -> None:
    times = timeline(datetime(2026, 11, weekday, 23, 59, tzinfo=UTC))
    assert times.day > date(2026, 11, weekday)
    assert times.day.weekday() < 5
    assert 0 < (opens_at(times.day) - times.start).total_seconds() <= 7200


def test_a_child_is_ended_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(KeyError), running("sleeper", ["-c", "import time; time.sleep(60)"], tmp_path) as child:
        raise KeyError
    assert child.process.returncode == -signal.SIGTERM


def test_a_child_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    with running("talker", ["-c", "print('no such key'); raise SystemExit(3)"], tmp_path) as child:
        child.process.wait(20)
        with pytest.raises(OrchestratorError, match="exit code 3") as raised:
            child.check()
    assert "no such key" in raised.value.hint
    assert "talker.log" in raised.value.hint


def test_sigterm_ends_the_children_too(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from orchestrator.cli.demo.processes import ended_by_sigterm, running\n"
        "with ended_by_sigterm(), running('x', ['-c', 'import time; time.sleep(60)'], Path(sys.argv[1])) as c:\n"
        "    print(c.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.terminate()
        assert parent.wait(20) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{child}").exists()
