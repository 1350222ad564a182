"""The command line: one verb per command, messages that say what, where and what next."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orchestrator.dispatch import interpreter
from orchestrator.errors import ConfigError, OrchestratorError

if TYPE_CHECKING:
    from typer import Typer


def main() -> None:
    """The ``orchestrator`` command.

    Exit codes: 0 done; 1 refused or failed; 2 a file or an argument is wrong; 130 interrupted.
    """
    try:
        _commands()(prog_name="orchestrator")
    except ConfigError as error:
        _complain(error)
        sys.exit(2)
    except OrchestratorError as error:
        _complain(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _commands() -> Typer:
    """All of them; but the daemon, which stays, does not load what the others need: 12 MB."""
    if sys.argv[1:2] == ["run"]:
        interpreter.begin()
        from orchestrator.cli.serve import app
    else:
        from orchestrator.cli.app import app
    return app


def _complain(error: OrchestratorError) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(
        f"[bold red]{len(error.problems)} to mend[/]" if isinstance(error, ConfigError) else "[bold red]not done[/]"
    )
    console.print(error.message, markup=False)
    if error.hint:
        console.print(f"→ {error.hint}", style="cyan", markup=False)
