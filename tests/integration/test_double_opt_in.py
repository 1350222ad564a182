"""Double opt-in, whole: a file comes in, a mail is delivered, its button is pressed, and a campaign reaches them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from orchestrator.audience import people
from orchestrator.audience.importing import import_file
from orchestrator.campaign.topics import double_opt_in, topics_in
from orchestrator.daemon.confirming import Asker
from orchestrator.daemon.wiring import links_of
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Routing
from orchestrator.settings import Settings
from orchestrator.store.tables import consent, member, opt_in
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.integration.conftest import Rig
from tests.integration.test_mail_links import MAIL
from tests.web.server import serving

AGO = world.OPENING - timedelta(days=60)
TOPICS = "promotions: {title: {en: Offers, zh: 优惠}, double_opt_in: [email]}\n"


def setting(rig: Rig, folder: Path, **more: Any) -> Settings:
    (folder / "campaigns").mkdir(exist_ok=True)
    (folder / "campaigns/topics.yaml").write_text(TOPICS, encoding="utf-8")
    here = {"campaigns": folder / "campaigns", "templates": folder / "templates"}
    return rig.far.settings(Path(rig.store.url), public_url="https://push.example.com/hooks", **here, **more)


def taken_in(rig: Rig, settings: Settings, folder: Path, count: int = 1) -> None:
    for n in range(count):
        world.person(rig.store, f"u{n}", push=None, consents=(), locale="zh-CN" if n else "en")
        with rig.store.write() as connection:
            people.upsert_addresses(connection, [people.AddressRow(f"u{n}", "email", f"u{n}@mail.example", AGO)], AGO)
    path = folder / "consents.csv"
    path.write_text("user\n" + "".join(f"u{n}\n" for n in range(count)), encoding="utf-8")
    columns = {"user": "user", "channel": {"value": "email"}, "topic": {"value": "promotions"}}
    asks = double_opt_in(topics_in(settings.campaigns))
    done = import_file(rig.store, "consents", path, {"columns": columns}, rig.clock, asks=asks)
    assert done.written == count


def planned(rig: Rig) -> tuple[str, str | None]:
    what = replace(world.bundle(steps=[{"channel": "email", "template": "lunch"}]), templates=MAIL)
    world.launch(rig.store, what, rig.clock.now())
    with rig.store.write() as connection:
        [(item, found)] = due_runs(connection, rig.clock.now())
    Planner(rig.clock, QuietHours.load(None), Routing.plain({"mail": "email"})).plan(rig.store, item, found)
    with rig.store.read() as connection:
        row = connection.execute(select(member.c.decision, member.c.reason)).one()
    return row.decision, row.reason


def test_a_campaign_reaches_who_confirmed(rig: Rig, tmp_path: Path) -> None:
    settings = setting(rig, tmp_path)
    taken_in(rig, settings, tmp_path)
    rig.connect()
    asker = Asker(rig.store, rig.clock, settings)
    for _ in range(3):
        asker.ask()
    (mail,) = rig.far.accepted()
    assert mail["to"] == "u0@mail.example"
    assert "Offers" in mail["title"]
    (link,) = set(re.findall(r"https://push\.example\.com/hooks(/confirm/[\w-]+)", mail["html"]))
    with serving(rig.store, links=links_of(settings)) as client:
        client.clock.instant = rig.clock.now()
        assert client.request("GET", link).status == 200
        with rig.store.read() as connection:
            assert connection.execute(select(consent)).all() == []
        assert client.request("POST", link).status == 200
    assert planned(rig) == ("planned", None)


def test_before_it_is_confirmed_there_is_no_consent(rig: Rig, tmp_path: Path) -> None:
    settings = setting(rig, tmp_path)
    taken_in(rig, settings, tmp_path)
    Asker(rig.store, rig.clock, settings).ask()
    assert planned(rig) == ("skipped", "no_consent")


def test_only_to_and_suppressions_hold_here_too_and_each_has_their_language(rig: Rig, tmp_path: Path) -> None:
    settings = setting(rig, tmp_path, only_to=["u1", "u2@mail.example"])
    taken_in(rig, settings, tmp_path, 3)
    with rig.store.write() as connection:
        at = rig.clock.now()
        people.suppress(connection, channel="email", reason="complaint", source="t", at=at, address="u2@mail.example")
    Asker(rig.store, rig.clock, settings).ask()
    (mail,) = rig.far.accepted()
    assert (mail["to"], "优惠" in mail["title"]) == ("u1@mail.example", True)


def test_a_mail_that_may_have_left_is_never_sent_again_and_one_that_did_not_is(rig: Rig, tmp_path: Path) -> None:
    settings = setting(rig, tmp_path)
    taken_in(rig, settings, tmp_path)
    asker = Asker(rig.store, rig.clock, settings)
    rig.far.fault(provider="smtp", kind="status", status=451, code="4.7.1", times=1)
    asker.ask()
    asker.ask()
    assert rig.far.accepted() == []
    rig.clock.advance(timedelta(minutes=20))
    asker.ask()
    assert len(rig.far.accepted()) == 1
    with rig.store.write() as connection:  # refused and agreed again within a week: the second mail waits for its end
        people.set_consent(connection, 1, "email", "promotions", granted=False, source="t", at=rig.clock.now())
        rig.clock.advance(timedelta(days=1))
        asks = double_opt_in(topics_in(settings.campaigns))
        again = people.ConsentChange(1, "email", "promotions", granted=True, source="app", at=rig.clock.now())
        assert people.take_consents(connection, [again], rig.clock.now(), asks) == 1
    asker.ask()
    assert len(rig.far.accepted()) == 1
    rig.clock.advance(timedelta(days=6))
    asker.ask()
    assert len(rig.far.accepted()) == 2


def test_asked_is_on_disk_before_the_mail_leaves(rig: Rig, tmp_path: Path) -> None:
    settings = setting(rig, tmp_path)
    taken_in(rig, settings, tmp_path)
    with rig.store.write() as connection:  # as a crash between the commit and the send leaves it
        connection.execute(update(opt_in).values(asked_at=rig.clock.now()))
    Asker(rig.store, rig.clock, settings).ask()
    assert rig.far.accepted() == []


def test_without_an_account_it_says_so_once_and_waits(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = setting(rig, tmp_path)
    taken_in(rig, settings, tmp_path)
    asker = Asker(rig.store, rig.clock, settings.model_copy(update={"accounts": {}}))
    asker.ask()
    asker.ask()
    assert [record.msg for record in caplog.records] == ["confirmations_wait"]


def test_the_mail_may_be_the_deployments_own(rig: Rig, tmp_path: Path) -> None:
    settings = setting(rig, tmp_path)
    taken_in(rig, settings, tmp_path)
    own = tmp_path / "templates/_confirm"
    own.mkdir(parents=True)
    (own / "email.en.j2").write_text("subject: Hm\n\n<p>Nothing to press</p>\n")
    asker = Asker(rig.store, rig.clock, settings)
    asker.ask()
    assert rig.far.accepted() == []
    (own / "email.en.j2").write_text(
        'subject: Sure?\n\n<p><a href="{{ confirm_url }}">Yes, {{ campaign.title }}</a></p>\n'
    )
    asker.ask()
    assert [mail["title"] for mail in rig.far.accepted()] == ["Sure?"]
