"""Each sample campaign over the sample data: valid, previewed, dry-run, launched, and worked to its end."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from orchestrator.campaign.load import campaign_names, check_segments
from orchestrator.campaign.spec import Campaign
from orchestrator.campaign.topics import topics_in
from orchestrator.cli.app import app
from orchestrator.clock import SystemClock
from orchestrator.content.sms import count
from orchestrator.content.templates import TemplateSet
from orchestrator.daemon.wiring import links_of
from orchestrator.dispatch.compose import worded
from orchestrator.errors import SkipMessage
from orchestrator.ledger.states import State
from orchestrator.store.tables import member, message, run, users
from orchestrator.timing.schedule import opens_at
from tests.far_end import far_end
from tests.samples.conftest import CHANNELS, ROOT, Shop, settings_of

DAYS = {
    "cart-left-behind": date(2026, 12, 8),
    "dormant-30-days": date(2026, 12, 8),
    "lunch-winback": date(2026, 12, 8),
    "points-expiring": date(2026, 12, 10),
    "slipping-high-value": date(2026, 12, 8),
    "weekly-recap": date(2026, 12, 6),
}
"""A date on which each fires."""
NIGHT = range(8)
PEOPLE: dict[str, dict[str, Any]] = {
    "known": {
        "name": "Katherine", "orders": 7, "week_orders": 2, "favourite": "beef noodles", "tier": "gold", "points": 350,
        "points_expire_on": "2026-12-19", "cart_item": "linen shirt, blue", "cart_value": 42.5,
    },
    "long": {
        "name": "名" * 60, "orders": 1, "week_orders": 1, "favourite": "F" * 90, "tier": "silver", "points": 100,
        "points_expire_on": "2026-12-19", "cart_item": "C" * 90, "cart_value": 0.0,
    },
    "nothing known": {"name": None},
}  # fmt: skip


def campaign(shop: Shop, name: str) -> Campaign:
    return shop.bundle(name).campaign


def test_there_are_six_and_nothing_is_wrong_with_them(shop: Shop) -> None:
    assert campaign_names(ROOT / "campaigns") == sorted(DAYS)
    assert check_segments(ROOT / "campaigns") == []
    channels = {step.channel for name in DAYS for step in campaign(shop, name).steps}
    assert channels == set(CHANNELS)


@pytest.mark.parametrize("name", DAYS)
def test_it_is_made_with_care(shop: Shop, name: str) -> None:
    found = campaign(shop, name)
    assert set(found.title) == {"en", "zh"}
    assert found.topic in topics_in(ROOT / "campaigns")
    assert found.holdout > 0
    assert found.max_audience
    for arm in found.arms:
        for step in found.steps:
            window = found.timing_of(arm, step).window
            assert window is not None
            wall = window.on(date(2026, 12, 8), "UTC")
            assert all(start.hour >= 9 and end.time() <= time(20) for start, end in wall.intervals), str(window)


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("name", DAYS)
def test_every_message_is_composed_in_both_languages(shop: Shop, name: str, who: str) -> None:
    bundle = shop.bundle(name)
    compiled, links, made = TemplateSet(bundle.templates), links_of(shop.settings), 0
    for arm in bundle.campaign.arms:
        for step in bundle.campaign.steps:
            template = bundle.campaign.template_of(arm, step)
            assert compiled.locales(template, step.channel) == ["en", "zh"]
            for locale in ("en", "zh-CN", "zh-TW", "fr"):
                user = {"id": "u-1", "country": "DE", **PEOPLE[who], "locale": locale}
                try:
                    payload = worded(bundle, compiled, template, step.channel, locale, user, links).payload
                except SkipMessage:
                    assert who == "nothing known"
                    continue
                made += 1
                text = getattr(payload, "text", "") or payload.body  # type: ignore[union-attr]
                assert ("，" in text) == locale.startswith("zh"), text
                assert "{{" not in text
                if step.channel == "sms":
                    latin = who == "nothing known" or (who == "known" and locale in {"en", "fr"})
                    assert count(text).parts <= (1 if latin or locale.startswith("zh") else 3)
                    assert "拒收请回复R" in text or "STOP" in text
    assert made or who == "nothing known"


@pytest.mark.parametrize("name", DAYS)
def test_preview_and_dry_run(shop: Shop, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = shop.folder / "orchestrator.yaml"
    accounts = {each: {"channel": each, "provider": "log", "options": {"file": f"{each}.jsonl"}} for each in CHANNELS}
    places = {"database": str(shop.folder / "t.db"), "campaigns": str(ROOT / "campaigns")}
    start = opens_at(DAYS[name]) + timedelta(minutes=1)
    clock = {"start": start.isoformat(), "origin": SystemClock().machine().isoformat(), "speed": 1}
    places |= {"templates": str(ROOT / "templates")}
    config.write_text(json.dumps({**places, "accounts": accounts, "clock": clock}))
    monkeypatch.setenv("ORCHESTRATOR_CONFIG", str(config))
    done = CliRunner().invoke(app, ["preview", name, "--user", "u-0001", "--locale", "zh", "--json"])
    assert done.exit_code == 0, done.output
    found = campaign(shop, name)
    shown = json.loads(done.output)
    assert len(shown) == len(found.arms) * len(found.steps)
    assert all(item["payload"] or item["problem"].startswith("not sent: ") for item in shown), shown
    done = CliRunner().invoke(app, ["plan", name, "--dry-run", "--date", DAYS[name].isoformat(), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["audience"] > 0


@pytest.mark.parametrize("name", DAYS)
def test_it_runs_to_its_end(shop: Shop, name: str) -> None:
    shop.launch(name, DAYS[name])
    planned = {date.fromisoformat(str(row.local_date)): row for row in shop.rows(select(run))}
    assert planned[DAYS[name]].audience > 0
    assert planned[DAYS[name]].state == "active"
    shop.finish()
    states = Counter(row.state for row in shop.rows(select(message)))
    assert not states.keys() & {State.PLANNED, State.CLAIMED, State.SENDING, State.UNKNOWN, State.FAILED}, states
    reasons = Counter(row.reason for row in shop.rows(select(message)))
    assert not reasons.keys() & {"render_error", "expired"}, reasons
    assert not [reason for reason in reasons if (reason or "").startswith("unfit")], reasons
    members = shop.rows(select(member))
    assert {row.held_out for row in members if row.decision == "planned"} == {True, False}
    check_what_left(shop, campaign(shop, name), states)


def check_what_left(shop: Shop, found: Campaign, states: Counter[str]) -> None:
    """Each channel in both languages; as many lines as the ledger has accepted; nobody at night."""
    used = {step.channel for step in found.steps}
    sent = {channel: shop.sent(channel) for channel in used}
    assert sum(map(len, sent.values())) == states[State.ACCEPTED] > 0
    for channel, lines in sent.items():
        texts = [line.get("text") or line["body"] for line in lines]
        assert {"，" in text for text in texts} == {True, False}, (channel, len(texts))
        if channel == "sms":
            assert max(count(text).parts for text in texts) <= 2
        if channel == "email":
            assert all("https://push.example.com/u/" in line["html"] for line in lines)
            assert all(line["subject"] for line in lines)
    hours = shop.rows(
        select(message.c.sent_at, member.c.zone_key)
        .select_from(message)
        .join(member, (member.c.run_id == message.c.run_id) & (member.c.user_id == message.c.user_id))
        .where(message.c.state == State.ACCEPTED)
    )
    local = Counter(at.astimezone(ZoneInfo(zone)).hour for at, zone in hours if zone and ":" not in zone)
    assert not set(local) & set(NIGHT), local


def test_who_was_told_is_left_in_peace(shop: Shop) -> None:
    """Their points are put off by three days: the run of then leaves out whom the first reached, held out or not."""
    shop.launch("points-expiring", date(2026, 12, 10))
    shop.finish()
    with shop.store() as store, store.write() as connection:
        for row in connection.execute(select(users.c.id, users.c.attributes)).all():
            if row.attributes.get("points_expire_on") == "2026-12-20":
                later = {**row.attributes, "points_expire_on": "2026-12-23"}
                connection.execute(update(users).where(users.c.id == row.id).values(attributes=later))
    shop.launch("points-expiring", date(2026, 12, 13))
    of: dict[date, dict[int, Any]] = {}
    for row in shop.rows(select(run.c.local_date, member).join(member, member.c.run_id == run.c.id)):
        of.setdefault(date.fromisoformat(str(row.local_date)), {})[row.user_id] = row
    first, second = (of[date(2026, 12, day)] for day in (10, 13))
    sent = shop.rows(select(message.c.user_id).where(message.c.state == State.ACCEPTED))
    told = {row.user_id for row in sent} | {user for user, row in first.items() if row.held_out and row.anchor}
    assert told
    again = {user: second[user].reason for user in told if user in second}
    assert set(again.values()) == {"excluded"}, again


def test_the_strict_providers_take_all_of_it(shop: Shop, tmp_path: Path) -> None:
    """The sandbox, on each channel."""
    with far_end(tmp_path / "far") as far:
        accounts = far.settings(tmp_path / "t.db").accounts
        shop.settings = settings_of(tmp_path, accounts)
        shop.launch("slipping-high-value", DAYS["slipping-high-value"])
        shop.finish()
        providers = Counter(row["provider"] for row in far.accepted())
    assert set(providers) == {"smtp", "twilio"}, providers
    assert not [row for row in shop.rows(select(message)) if row.state in {State.FAILED, State.UNKNOWN}]
