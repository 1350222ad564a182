"""Random histories of carts and orders, ticks and pauses, against a shopkeeper who remembers everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.clock import ManualClock
from orchestrator.ledger import runs
from orchestrator.ledger.states import CampaignState
from orchestrator.store import Store
from tests import world
from tests.nightly import size
from tests.plan.carts import CART, NOON, ORDER, WAIT, campaign, due, happened, joined, launched

AGAIN, EXPIRES = timedelta(hours=30), timedelta(hours=2)
BERLIN = ZoneInfo("Europe/Berlin")
PEOPLE = ("u0", "u1", "u2")


@dataclass
class Shopkeeper:
    """The oracle: goes by what it has been told so far, person by person."""

    carts: dict[str, list[datetime]] = field(default_factory=dict)
    orders: dict[str, list[datetime]] = field(default_factory=dict)
    dealt: dict[str, datetime] = field(default_factory=dict)
    members: dict[str, list[tuple[date, datetime]]] = field(default_factory=dict)

    def tick(self, now: datetime) -> None:
        for name in PEOPLE:
            carts = self.carts.get(name, [])
            if not carts or (cart := max(carts)) == self.dealt.get(name) or cart + WAIT > now:
                continue
            self.dealt[name] = cart
            if cart + WAIT + EXPIRES <= now or any(at >= cart for at in self.orders.get(name, [])):
                continue
            before, day = self.members.setdefault(name, []), now.astimezone(BERLIN).date()
            if not any(day == other or anchor > now - AGAIN for other, anchor in before):
                before.append((day, now))


_MOVES = st.lists(
    st.tuples(
        st.sampled_from(["cart", "cart", "cart", "order", "wait", "wait", "wait", "tick", "tick", "turn"]),
        st.sampled_from(PEOPLE),
        st.integers(0, 100),
    ),
    max_size=60,
)


@settings(max_examples=size(60, 3000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_MOVES)
def test_whatever_happens_who_joins_is_who_should(shared_store: Store, moves: list[tuple[str, str, int]]) -> None:
    world.wipe(shared_store)
    clock, oracle, told = ManualClock(NOON), Shopkeeper(), set[tuple[str, str, datetime]]()
    shop = launched(shared_store, clock, campaign({"again_after": "30h"}))
    state = CampaignState.RUNNING
    for move, name, number in moves:
        match move:
            case "cart" | "order":
                at = clock.now() - timedelta(minutes=number % 7)  # some are told a little late
                event, known = (CART, oracle.carts) if move == "cart" else (ORDER, oracle.orders)
                if (event, name, at) not in told:
                    told.add((event, name, at))
                    happened(shared_store, name, event, at, clock.now())
                    known.setdefault(name, []).append(at)
            case "wait":
                clock.advance(timedelta(minutes=number * (40 if number > 95 else 1)))
            case "turn":
                state = CampaignState.PAUSED if state is CampaignState.RUNNING else CampaignState.RUNNING
                with shared_store.write() as connection:
                    runs.set_campaign_state(connection, "lunch", state, clock.now(), "operator t")
            case _:
                shop.tick()
                if state is CampaignState.RUNNING:
                    oracle.tick(clock.now())
    found = {name: [day for day, _ in days] for name, days in joined(shared_store).items()}
    assert found == {name: [str(day) for day, _ in days] for name, days in oracle.members.items() if days}
    latest = {name: days[-1][1] for name, days in oracle.members.items() if len(days) == 1}
    assert {name: at for name, at in due(shared_store).items() if name in latest} == latest
