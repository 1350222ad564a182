"""The end of the demonstration: counts, tables, checks, the page, and what to look at next."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from sqlalchemy import text

from orchestrator.cli.demo.behaviour import Act
from orchestrator.cli.demo.checks import (
    Check,
    Ledger,
    check_all,
    expected_audience,
    read_accepted,
    read_ledger,
    truths,
)
from orchestrator.cli.demo.population import Population
from orchestrator.cli.demo.project import CAMPAIGN, Project
from orchestrator.cli.demo.show import print_checks, truth_table
from orchestrator.clock import AcceleratedClock
from orchestrator.report import terminal
from orchestrator.report.findings import findings
from orchestrator.report.html import page
from orchestrator.report.launched import launched
from orchestrator.report.tally import tally
from orchestrator.report.values import Tally
from orchestrator.store import Store


@dataclass(slots=True)
class Closing:
    """All that was read when everything was over."""

    project: Project
    population: Population
    acts: Sequence[Act]
    clock: AcceleratedClock
    tally: Tally
    ledger: Ledger
    accepted: Sequence[dict[str, Any]]
    story: str
    """A user whose story is worth reading."""
    ended_well: bool = False

    @classmethod
    def read(
        cls, store: Store, project: Project, population: Population, acts: Sequence[Act], clock: AcceleratedClock
    ) -> Closing:
        """Read database and log, in one view."""
        with store.read() as connection:
            counted = tally(connection, launched(connection, CAMPAIGN), clock.now())
            ledger = read_ledger(connection)
            story = connection.execute(_STORY).scalar() or population.people[0].id
        accepted = read_accepted(project.sandbox / "accepted.jsonl")
        return cls(project, population, acts, clock, counted, ledger, accepted, story)

    def checks(self) -> list[Check]:
        """Every check."""
        audience = expected_audience(self.population.histories, self.population.shift, self.ledger.as_of)
        decided = sum(decision.members for decision in self.tally.decisions)
        facts = (self.ledger, self.accepted, self.population.people, self.acts, self.clock)
        ended = Check("daemon and sandbox ended cleanly", self.ended_well)
        return [*check_all(*facts, audience=audience, decided=decided), ended]

    def show(self, console: Console, report: Path) -> bool:
        """Print everything and write the page; whether all is well."""
        found = findings(self.tally)
        console.print(Padding(terminal.decisions_table(self.tally), (1, 0)))
        console.print(terminal.fitting(terminal.reach_table(found), console.width))
        console.print(Padding(truth_table(truths(self.ledger, self.acts)), (1, 0)))
        good = print_checks(console, self.checks())
        report.write_text(page(self.tally, found), encoding="utf-8")
        self._show_ways(console, report)
        return good

    def _show_ways(self, console: Console, report: Path) -> None:
        name = program()
        config = f"ORCHESTRATOR_CONFIG={near(self.project.config)}"
        lines = (
            ("report", str(report.resolve())),
            ("one story", f"{config} {name} explain {self.story} {CAMPAIGN}"),
            ("in Chinese", f"{config} {name} explain {self.story} {CAMPAIGN} --locale zh"),
            ("what is kept", f"{near(self.project.folder)}/ has the database, the imported tables, and both logs"),
            ("hands on", f"{name} up   starts daemon, API and sandbox, with an inbox to look into"),
        )
        console.print()
        for what, where in lines:
            console.print(Text.assemble((f"{what:<13}", "bold"), where), soft_wrap=True)


_STORY = text("""
    SELECT users.external_id FROM member JOIN users ON users.id = member.user_id
    LEFT JOIN message ON message.run_id = member.run_id AND message.user_id = member.user_id
    WHERE member.decision = 'planned' AND NOT member.held_out
    GROUP BY users.external_id
    ORDER BY max(message.step = 2 AND message.state = 'delivered') DESC, max(member.reopened_at IS NOT NULL) DESC,
             users.external_id LIMIT 1""")


def near(path: Path) -> str:
    """The path as seen from here, where it is below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def program() -> str:
    """How this program was called."""
    return near(Path(sys.argv[0]).absolute()) if sys.argv[0].endswith("orchestrator") else "orchestrator"
