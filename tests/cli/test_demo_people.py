"""The demonstration's people: real purchases, everything else made up, the same each time."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import phonenumbers
import pytest

from orchestrator.cli.demo.people import Person, generate
from orchestrator.cli.demo.places import PLACES
from orchestrator.cli.demo.purchases import History, histories, read_purchases
from orchestrator.cli.demo.tables import write_tables
from orchestrator.cli.demo.timeline import Timeline, shift_to
from orchestrator.errors import InputError
from orchestrator.timing.zones import candidates, zone_key


def test_the_whole_sample_is_read(everybody: list[History]) -> None:
    assert len(everybody) == 2357
    assert sum(len(history.purchases) for history in everybody) == 6919
    assert max(history.last for history in everybody) == date(1998, 6, 30)


def test_a_reduced_sample_is_taken_from_everywhere(everybody: list[History]) -> None:
    some = histories(read_purchases(), 10)
    assert [history.customer for history in some] == [everybody[n * 2357 // 10].customer for n in range(10)]


def test_a_line_that_is_no_purchase_is_named(tmp_path: Path) -> None:
    file = tmp_path / "sample.txt"
    file.write_text(" 00004 0001 19970101  2   29.33\n 00004 0001 19971332 2 1\n")
    with pytest.raises(InputError, match=r"sample.txt:2: no purchase"):
        read_purchases(file)


def test_people_are_the_same_again_whoever_else_is_there(
    people: list[Person], everybody: list[History], times: Timeline
) -> None:
    alone = generate(everybody[700:701], times.yesterday, timedelta(days=10_371))[0]
    again = people[700]
    assert (alone.id, alone.name, alone.home, alone.tokens, alone.agreed) == (
        again.id,
        again.name,
        again.home,
        again.tokens,
        again.agreed,
    )


def test_shares_are_what_they_are_said_to_be(people: list[Person]) -> None:
    def share(count: int) -> float:
        return count / len(people)

    assert share(sum(bool(p.zone) for p in people)) == pytest.approx(0.90, abs=0.03)
    assert share(sum(not p.zone and bool(p.country) for p in people)) == pytest.approx(0.08, abs=0.02)
    assert share(sum(bool(p.phone) for p in people)) == pytest.approx(0.60, abs=0.03)
    assert share(sum(dict(p.agreed)["push"] for p in people)) == pytest.approx(0.90, abs=0.03)
    tokens = [token.value for p in people for token in p.tokens]
    assert sum(value.startswith("dead-") for value in tokens) / len(tokens) == pytest.approx(0.02, abs=0.01)
    assert any(len(p.tokens) == 2 for p in people)


def test_zones_go_around_the_world_by_halves_and_quarters() -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=ZoneInfo("UTC"))
    offsets = {noon.astimezone(ZoneInfo(place.zone)).utcoffset() for place in PLACES}
    assert {timedelta(hours=14), timedelta(hours=-11)} <= offsets
    assert {timedelta(hours=5, minutes=45), timedelta(hours=-9, minutes=-30)} <= offsets
    assert len(offsets) > 30


def test_what_the_app_knows_never_excludes_where_they_live(people: list[Person]) -> None:
    located = [p for p in people if p.country]
    assert all(p.home in candidates(zone_key(p.zone, p.country)) for p in located)


def test_phones_are_valid_unique_and_of_the_country(people: list[Person]) -> None:
    country = {place.zone: place.country for place in PLACES}
    numbers = [(p.phone, country[p.home]) for p in people if p.phone]
    assert not [number for number, count in Counter(number for number, _ in numbers).items() if count > 1]
    for number, home in numbers:
        parsed = phonenumbers.parse(number)
        assert phonenumbers.is_valid_number(parsed)
        assert phonenumbers.region_code_for_number(parsed) == home


def test_north_american_phones_are_those_of_films(people: list[Person]) -> None:
    country = {place.zone: place.country for place in PLACES}
    numbers = [p.phone for p in people if p.phone and country[p.home] in {"US", "CA"}]
    assert numbers
    assert all(number[5:10] == "55501" for number in numbers)


def test_the_last_purchase_is_moved_to_yesterday(
    tmp_path: Path, people: list[Person], everybody: list[History], times: Timeline
) -> None:
    shift = shift_to(times.yesterday, date(1998, 6, 30))
    tables = {table.kind: table for table in write_tables(tmp_path, people, everybody, shift)}
    lines = tables["events"].path.read_text().splitlines()[1:]
    assert len(lines) == 6919
    assert max(line.split(",")[2] for line in lines) == str(times.yesterday)
