"""A realistic ledger: 1,200 members around the world, three arms, a holdout, a push and a fallback by SMS."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Table, insert

from orchestrator.campaign.spec import Arm, Campaign, Conversion, Goal, Schedule, Step, Timing, When
from orchestrator.ledger.ids import lane_id, message_id
from orchestrator.store import Store
from orchestrator.store import tables as t
from orchestrator.timing.window import Window

DAY = date(2026, 12, 1)
AS_OF = datetime(2026, 11, 30, 9, tzinfo=UTC)
NOW = datetime(2026, 12, 4, tzinfo=UTC)
ZONES = {
    "Asia/Shanghai": 30,
    "America/New_York": 18,
    "Europe/Berlin": 14,
    "Asia/Kolkata": 9,
    "America/Vancouver": 7,
    "Asia/Tokyo": 6,
    "Europe/London": 6,
    "Australia/Lord_Howe": 3,
    "America/Sao_Paulo": 3,
    "Pacific/Kiritimati": 2,
    "country:ES": 2,
}
SKIPS = (
    "no_consent",
    "no_address",
    "capped",
    "came_back",
    "suppressed",
    "excluded",
    "template:no orders",
    "zone_unknown",
)
ANCHOR = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
"""10:30 in Berlin."""
LUNCH = Timing(Window.parse("10:30-11:45"))


@dataclass
class Book:
    """Rows to be written, and what writes them."""

    store: Store
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, table: Table, **row: Any) -> dict[str, Any]:
        self.rows.setdefault(table.name, []).append(row)
        return row

    def write(self) -> None:
        with self.store.write() as connection:
            for name, rows in self.rows.items():
                table = t.metadata.tables[name]
                for columns in {tuple(sorted(row)) for row in rows}:
                    connection.execute(insert(table), [row for row in rows if tuple(sorted(row)) == columns])
        self.rows.clear()

    def user(self, number: int, zone: str = "Europe/Berlin") -> int:
        instants = {"created_at": AS_OF, "updated_at": AS_OF}
        self.add(t.users, id=number, external_id=f"u-{number:05}", zone_key=zone, attributes={}, **instants)
        return number

    def run(self, number: int = 1, day: date = DAY, *, audience: int = 0, state: str = "done") -> int:
        self.add(
            t.run,
            id=number,
            campaign="lunch-winback",
            version="v1",
            local_date=day.isoformat(),
            state=state,
            as_of=AS_OF + (day - DAY),
            closes_at=NOW,
            audience=audience,
            created_at=AS_OF + (day - DAY),
        )
        for step, channel, account in ((1, "push", "fcm-main"), (2, "sms", "twilio-main")):
            row = {"channel": channel, "account": account, "priority": 50}
            self.add(t.lane, id=lane_id(number, step), run_id=number, step=step, **row)
        return number

    def member(self, run: int, user: int, **values: Any) -> dict[str, Any]:
        row = {"arm": "dish", "held_out": False, "decision": "planned", "reason": None, "zone_key": "Europe/Berlin"}
        row |= {"country": "", "anchor": None, "reopened_at": None, "converted_at": None, "conversion_value": None}
        return self.add(t.member, run_id=run, user_id=user, **(row | values))

    def message(self, member: dict[str, Any], step: int, state: str, due: datetime, **values: Any) -> int:
        number = message_id(member["run_id"], member["user_id"], step)
        row = {
            "reason": None,
            "sent_at": None,
            "attempts": 0,
            "provider_id": None,
            "deadline": due + timedelta(hours=1),
        }
        shared = {name: member[name] for name in ("run_id", "user_id", "arm", "held_out")}
        self.add(
            t.message,
            id=number,
            step=step,
            lane_id=lane_id(member["run_id"], step),
            address_id=member["user_id"] * 2 + step,
            state=state,
            due_at=due,
            state_at=due,
            **shared,
            **(row | values),
        )
        return number

    def attempt(
        self, message: int, n: int, at: datetime, outcome: str = "accepted", code: str = "", account: str = ""
    ) -> None:
        account = account or ("fcm-main" if message & 15 == 1 else "twilio-main")
        ended = at + timedelta(milliseconds=180)
        values = {"outcome": outcome, "code": code, "account": account, "worker_id": 7}
        self.add(t.attempt, message_id=message, n=n, started_at=at, ended_at=ended, **values)

    def opened(self, message: int, user: int, at: datetime) -> None:
        row = {"name": "message_opened", "at": at, "received_at": at, "source_id": f"o{message}", "message_id": message}
        self.add(t.event, user_id=user, **row)


def campaign() -> Campaign:
    """Two arms of copy, one of timing."""
    return Campaign(
        name="lunch-winback",
        title={"en": "Lunch regulars who went quiet", "zh": "午餐老客召回"},
        topic="promotions",
        segment="dormant-lunch-regulars",
        exclude=(),
        schedule=Schedule(dates=frozenset({DAY})),
        timing=LUNCH,
        steps=(
            Step(1, "push", "lunch/dish"),
            Step(2, "sms", "lunch/sms", when=When(timedelta(minutes=40), "reopened")),
        ),
        goal=Goal("app_open", timedelta(hours=24), Conversion("order_paid", timedelta(hours=72), "amount")),
        arms=(Arm("dish"), Arm("coupon"), Arm("later", timing=Timing(Window.parse("11:15-11:45")))),
        holdout=0.2,
    )


def fill(store: Store, people: int = 1200, seed: int = 7) -> None:
    chance, book = random.Random(seed), Book(store)
    row = {"state": "running", "version": "v1", "launched_at": AS_OF, "updated_at": AS_OF}
    book.add(t.campaign, name="lunch-winback", **row)
    book.run(1, audience=people)
    for number in range(1, people + 1):
        _person(book, chance, number)
    book.write()


def _person(book: Book, chance: random.Random, number: int) -> None:
    zone = chance.choices(list(ZONES), list(ZONES.values()))[0]
    book.user(number, zone)
    arm, held_out = chance.choice(("dish", "coupon", "later")), chance.random() < 0.2
    anchor = datetime(2026, 12, 1, 10, 30, tzinfo=ZoneInfo("Europe/Madrid" if ":" in zone else zone)).astimezone(UTC)
    values: dict[str, Any] = {"arm": arm, "held_out": held_out, "zone_key": zone, "anchor": anchor}
    if ":" in zone and arm == "later":  # half an hour that Madrid and the Canaries do not share
        book.member(1, number, **values, decision="skipped", reason="zone_unknown")
        return
    if chance.random() < 0.14:
        book.member(
            1, number, **values, decision="skipped", reason=chance.choices(SKIPS, (30, 25, 9, 6, 5, 4, 3, 1))[0]
        )
        return
    likely = 0.12 if held_out else {"dish": 0.24, "coupon": 0.21, "later": 0.16}[arm]
    if chance.random() < likely:
        back = anchor + timedelta(hours=min(23.9, chance.expovariate(0.22 if held_out else 0.4)))
        values["reopened_at"] = back
        if chance.random() < 0.35:
            values |= {
                "converted_at": back + timedelta(minutes=12),
                "conversion_value": round(chance.uniform(8, 40), 2),
            }
    _messages(book, chance, book.member(1, number, **values))


def _messages(book: Book, chance: random.Random, member: dict[str, Any]) -> None:
    opens = 45 if member["arm"] == "later" else 0
    due = member["anchor"] + timedelta(minutes=opens + min(28.0, chance.expovariate(0.09)))
    if member["zone_key"].startswith("country:"):
        due = member["anchor"] + timedelta(minutes=65)
    if member["held_out"]:
        book.message(member, 1, "held_out", due)
        return
    state, outcome, code = chance.choices(
        (
            ("accepted", "accepted", ""),
            ("failed", "drop_address", "UNREGISTERED"),
            ("expired", "", ""),
            ("unknown", "ambiguous", "timeout"),
        ),
        (88, 7, 3, 2),
    )[0]
    sent = {"sent_at": due, "attempts": 1, "reason": code or None} if outcome else {"reason": "late"}
    first = book.message(member, 1, state, due, **sent)
    if outcome:
        book.attempt(first, 1, due, outcome, code)
    back = member["reopened_at"]
    if state == "accepted" and back and back > due and chance.random() < 0.6:
        book.opened(first, member["user_id"], back)
    if state == "failed" and chance.random() < 0.8:
        later = due + timedelta(minutes=1)
        second = book.message(
            member, 2, chance.choice(("delivered", "accepted", "undelivered")), later, sent_at=later, attempts=1
        )
        book.attempt(second, 1, later)
