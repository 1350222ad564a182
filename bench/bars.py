"""What the speed is held against: the bars, and which figures say whether they are met."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Figures = Mapping[str, Any]
Found = Mapping[str, Figures]
"""The median run's figures of each benchmark that was run."""
CROWDS = (2, 4, 8)
"""Workers on one PostgreSQL."""
HEADINGS = ("bar", "measured as", "runs", "measured", "asked", "")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar. ``value`` is asked for only when all benchmarks it ``needs`` have figures."""

    what: str
    measured_as: str
    sense: Literal["≥", "≤"]
    asked: float
    needs: tuple[str, ...]
    value: Callable[[Found], float]
    unit: str = ""
    detail: Callable[[Found], str] = lambda _found: ""

    def verdict(self, found: Found) -> Verdict:
        """What the figures say."""
        missing = [name for name in self.needs if name not in found or "why" in found[name]]
        if missing:
            why = dict.fromkeys(str(found.get(name, {}).get("why", "not run")) for name in missing)  # each once
            return Verdict(self, None, ", ".join(why))
        return Verdict(self, self.value(found), self.detail(found))


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar, what was measured (None: nothing), and what there is to say to it."""

    bar: Bar
    value: float | None
    detail: str

    @property
    def met(self) -> bool | None:
        """None: not measured."""
        if self.value is None:
            return None
        return self.value >= self.bar.asked if self.bar.sense == "≥" else self.value <= self.bar.asked

    def as_json(self) -> dict[str, Any]:
        """For ``results.json``."""
        bar = self.bar
        asked = {"sense": bar.sense, "asked": bar.asked, "unit": bar.unit}
        return {"bar": bar.what, "measured_as": bar.measured_as, "value": self.value, **asked, "met": self.met}

    def cells(self, runs: Mapping[str, int]) -> tuple[str, ...]:
        """In the order of the headings; ``runs`` were made of each benchmark."""
        times = " + ".join(str(runs[name]) for name in self.bar.needs if name in runs)
        if self.value is None:
            return (self.bar.what, self.bar.measured_as, times, "", self._asked(), f"not measured: {self.detail}")
        shown = f"**{self.value:.3g}**{self.bar.unit}" + (f" ({self.detail})" if self.detail else "")
        return (self.bar.what, self.bar.measured_as, times, shown, self._asked(), "met" if self.met else "missed")

    def _asked(self) -> str:
        return f"{self.bar.sense} {self.bar.asked:g}{self.bar.unit}"


def _of(name: str, key: str) -> Callable[[Found], float]:
    return lambda found: float(found[name][key])


def _rates(name: str, theirs: str) -> Callable[[Found], str]:
    return lambda found: f"{found[name]['per_second']:,} against {found[name][theirs]:,} a second"


def _contention(found: Found) -> float:
    return float(max(found[f"contention-{workers}"]["ratio"] for workers in CROWDS))


def _contention_words(found: Found) -> str:
    ratios = ", ".join(f"{workers}: {found[f'contention-{workers}']['ratio']:.2f}" for workers in CROWDS)
    apart = ", ".join(f"{found[f'contention-{workers}']['apart_ratio']:.2f}" for workers in CROWDS)
    return f"{ratios}; ÷ as many that share nothing but the machine: {apart}"


def _dormant(name: str) -> Callable[[Found], float]:
    return lambda found: float(next(one["ratio"] for one in found[name]["segments"] if one["segment"] == "dormant"))


def _growth_words(name: str) -> Callable[[Found], str]:
    def words(found: Found) -> str:
        return ", ".join(f"{one['n']:,}: {one['us_per_message']:.0f} µs" for one in found[name]["points"])

    return words


def _against(name: str, what: str, asked: float, measured_as: str) -> Bar:
    rates = _rates(f"against-{name}", "their_per_second")
    return Bar(what, measured_as, "≥", asked, (f"against-{name}",), _of(f"against-{name}", "ratio"), detail=rates)


def _bare(name: str, what: str) -> Iterator[Bar]:
    """A bare client of others: beside our channel by itself, and beside all that we do."""

    def rates(found: Found) -> str:
        ours, theirs = (found[f"against-{name}"][key] for key in ("alone_per_second", "their_per_second"))
        return f"{ours:,} against {theirs:,} a second"

    like = f"against-{name}"
    yield Bar(f"{what}, like for like", _LIKE, "≥", 5, (like,), _of(like, "alone_ratio"), detail=rates)
    yield _against(name, f"{what}, our whole door", 5, _DOOR)


def _heavy(found: Found) -> float:
    return float(len({*found["memory-idle"]["heavy"], *found["memory-sending"]["heavy"]}))


def _growth(name: str, what: str) -> Bar:
    return Bar(what, _GROWTH, "≤", 1.3, (name,), _of(name, "ratio"), detail=_growth_words(name))


_LOOP = "messages/s ÷ requests/s of the bare pyreqwest + uvloop loop"
_LIKE = "our channel alone, without ledger, caps, templates: messages/s ÷ theirs"
_DOOR = "with ledger, caps, templates: messages/s ÷ theirs, which has none"
_WHOLE = "planning and sending, messages/s ÷ theirs"
_BY_HAND = "our SQL's time ÷ hand-written SQL's"
_ON_POSTGRESQL = "segments-postgresql"
_PLAN = "plan 1 M users: zones, holdout, arms, caps"
_RATES = "reference_per_second"
_GROWTH = "time per message at the most ÷ at the least"

BARS: Sequence[Bar] = (
    Bar(
        "push dispatch, embedded",
        _LOOP,
        "≥",
        0.5,
        ("dispatch-nginx",),
        _of("dispatch-nginx", "share"),
        detail=_rates("dispatch-nginx", _RATES),
    ),
    Bar(
        "push dispatch, PostgreSQL + Valkey, one worker",
        _LOOP,
        "≥",
        0.45,
        ("dispatch-postgresql",),
        _of("dispatch-postgresql", "share"),
        detail=_rates("dispatch-postgresql", _RATES),
    ),
    Bar(
        "contention on one PostgreSQL",
        "CPU per message, workers and database: worst of 2, 4, 8 workers ÷ one",
        "≤",
        1.2,
        tuple(f"contention-{workers}" for workers in CROWDS),
        _contention,
        detail=_contention_words,
    ),
    *_bare("firebase-admin", "firebase-admin `send_each_async`"),
    *_bare("pyfcm", "pyfcm"),
    *_bare("aioapns", "aioapns"),
    _against("celery", "Celery + firebase-admin, a task per user", 10, _WHOLE),
    _against("celery-chunks", "Celery + firebase-admin, 100 users a task", 10, _WHOLE),
    _against("dramatiq", "Dramatiq + pyfcm, an actor per user", 10, _WHOLE),
    _against("dramatiq-chunks", "Dramatiq + pyfcm, 100 users an actor", 10, _WHOLE),
    Bar(
        "mail, 5 KB of personal HTML, to smtp-sink",
        "mails/s ÷ smtp-source's, connections kept",
        "≥",
        0.3,
        ("mail",),
        _of("mail", "share"),
        detail=_rates("mail", "source_per_second"),
    ),
    Bar("dormancy segment, SQLite", _BY_HAND, "≤", 1.2, ("segments",), _dormant("segments")),
    Bar("dormancy segment, PostgreSQL", _BY_HAND, "≤", 1.2, (_ON_POSTGRESQL,), _dormant(_ON_POSTGRESQL)),
    Bar(_PLAN, "seconds", "≤", 15, ("plan-1",), _of("plan-1", "seconds"), unit=" s"),
    Bar(_PLAN, "peak memory", "≤", 250, ("plan-1",), _of("plan-1", "peak_mb"), unit=" MB"),
    Bar("idle daemon", "RSS", "≤", 130, ("memory-idle",), _of("memory-idle", "rss_mb"), unit=" MB"),
    Bar(
        "daemon while sending",
        "peak RSS",
        "≤",
        220,
        ("memory-sending",),
        _of("memory-sending", "peak_mb"),
        unit=" MB",
        detail=lambda found: f"over {found['memory-sending']['messages']:,} messages",
    ),
    Bar(
        "statistics, Alembic, pyarrow",
        "how many of them the daemons imported",
        "≤",
        0,
        ("memory-idle", "memory-sending"),
        _heavy,
    ),
    _growth("growth-messages", "growth with the run's messages"),
    _growth("growth-campaigns", "growth with campaigns"),
    _growth("growth-rows", "growth with old rows in the ledger"),
)


def verdicts(found: Found) -> list[Verdict]:
    """Every bar's."""
    return [bar.verdict(found) for bar in BARS]
