"""The date that a dry run is about, and the daemon's and sandbox's options."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.cli.operate import next_occasion
from orchestrator.errors import InputError
from orchestrator.ledger.runs import Occasion
from tests import world

DAILY = {"schedule": {"days": "every", "from": "2026-12-01", "until": "2026-12-08"}}


@pytest.mark.parametrize(
    ("now", "day"),
    [
        (datetime(2026, 12, 7, 3, tzinfo=UTC), date(2026, 12, 7)),
        (datetime(2026, 12, 7, 11, 59, tzinfo=UTC), date(2026, 12, 7)),
        (datetime(2026, 12, 7, 12, tzinfo=UTC), date(2026, 12, 8)),
        (datetime(2026, 11, 20, 23, tzinfo=UTC), date(2026, 12, 1)),
    ],
)
def test_a_dry_run_is_about_a_date_that_is_not_over(now: datetime, day: date) -> None:
    assert next_occasion(world.bundle(**DAILY).campaign, now) == Occasion(day)


def test_a_campaign_that_is_over_has_no_next_date() -> None:
    with pytest.raises(InputError, match="fires on no date from 2026-12-09 on"):
        next_occasion(world.bundle(**DAILY).campaign, datetime(2026, 12, 8, 20, tzinfo=UTC))


@pytest.mark.parametrize(("given", "json"), [(["--json-logs"], True), (["--no-json-logs"], False), ([], True)])
def test_logs_are_json_when_told_or_without_a_terminal(
    given: list[str], json: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from orchestrator.daemon import logs, service

    monkeypatch.chdir(tmp_path)
    told: list[bool] = []
    monkeypatch.setattr(logs, "configure", lambda *, json: told.append(json))
    monkeypatch.setattr(service.Daemon, "run", lambda _: None)
    assert CliRunner().invoke(app, ["run", *given]).exit_code == 0
    assert told == [json]


def test_the_sandbox_is_a_command_with_its_own_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from orchestrator.sandbox import __main__ as sandbox
    from orchestrator.sandbox.server import Options

    told: list[Options] = []
    monkeypatch.setattr(sandbox, "serve", lambda options, _say: told.append(options))
    given = ["sandbox", "--port", "0", "--state", str(tmp_path), "--callback-inbound", "http://127.0.0.1:1/x"]
    assert CliRunner().invoke(app, given).exit_code == 0
    [options] = told
    assert (options.port, options.state, options.callback_inbound) == (0, tmp_path, "http://127.0.0.1:1/x")
    assert (options.host, options.smtp_port, options.token_lifetime) == ("127.0.0.1", None, 3600)
