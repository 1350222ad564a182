"""The links of a mail that really left: what the test showed is what the reader gets, and it works (notifuse #180)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select

from orchestrator.audience import people
from orchestrator.channel.base import EmailPayload
from orchestrator.content.links import Kind
from orchestrator.content.templates import TemplateSet
from orchestrator.dispatch.compose import worded
from orchestrator.ledger.states import State
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Routing
from orchestrator.store.tables import consent, event, link, message
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.integration.conftest import Rig
from tests.web.server import serving

SHOP = "https://shop.example/menu?dish=pho&from=mail"
MAIL = {
    "lunch/email.en.j2": "subject: Lunch, {{ user.name }}\n\n<mjml><mj-body><mj-section><mj-column>"
    f'<mj-button href="{SHOP.replace("&", "&amp;")}">Order</mj-button>'
    '<mj-text><a href="{{ unsubscribe_url }}">Unsubscribe</a> <a href="{{ preferences_url }}">Choose</a></mj-text>'
    "</mj-column></mj-section></mj-body></mjml>\n",
    "lunch/defaults.yaml": "user.name: there\n",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def planned(rig: Rig, count: int = 1) -> None:
    for n in range(count):
        world.person(rig.store, f"u{n}", push=None, consents=("email",))
        with rig.store.write() as connection:
            at = world.OPENING - timedelta(days=60)
            people.upsert_addresses(connection, [people.AddressRow(f"u{n}", "email", f"u{n}@mail.example", at)], at)
    what = replace(world.bundle(steps=[{"channel": "email", "template": "lunch"}]), templates=MAIL)
    world.launch(rig.store, what, rig.clock.now())
    with rig.store.write() as connection:
        [(item, found)] = due_runs(connection, rig.clock.now())
    Planner(rig.clock, QuietHours.load(None), Routing.plain({"mail": "email"})).plan(rig.store, item, found)
    rig.clock.instant = world.MONDAY + timedelta(hours=10)


def states(rig: Rig) -> list[tuple[str, str | None]]:
    with rig.store.read() as connection:
        rows = connection.execute(select(message.c.state, message.c.reason).order_by(message.c.id))
        return [(row.state, row.reason) for row in rows]


def settled(rig: Rig) -> bool:
    return not {state for state, _ in states(rig)} & {State.PLANNED, State.CLAIMED, State.SENDING}


def addresses(html: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'<a\s[^>]*?href="([^"]*)"', html)]


def kinds(html: str) -> list[str]:
    return [urlsplit(one).path.split("/")[1] for one in addresses(html)]


def paths(html: str, kind: Kind) -> list[str]:
    return [urlsplit(one).path for one in addresses(html) if f"/{kind}/" in one]


def sent_mail(rig: Rig) -> dict[str, Any]:
    planned(rig)
    rig.work(lambda: settled(rig))
    (row,) = rig.far.accepted()
    return dict(row)


def test_every_link_of_the_real_mail_works(rig: Rig) -> None:
    mail = sent_mail(rig)
    with serving(rig.store, links=rig.links) as client:
        clicks = [client.request("GET", path) for path in paths(mail["html"], Kind.CLICK)]
        assert [answer.headers.get("location") for answer in clicks] == [SHOP, None]  # the other is the hidden one
        for kind in (Kind.UNSUBSCRIBE, Kind.PREFERENCES):
            (path,) = paths(mail["html"], kind)
            assert client.request("GET", path).status == 200
        (pixel,) = re.findall(r'src="[^"]*(/o/[^"]+)"', mail["html"])
        assert client.request("GET", pixel).status == 200
    with rig.store.read() as connection:
        names = connection.execute(select(event.c.name, event.c.message_id)).all()
        (number,) = connection.execute(select(message.c.id)).scalars()
    assert {(name, about) for name, about in names} == {("link_clicked", number), ("message_opened", number)}


def test_preview_test_and_real_mail_have_the_same_links(rig: Rig) -> None:
    mail = sent_mail(rig)
    what = replace(world.bundle(steps=[{"channel": "email", "template": "lunch"}]), templates=MAIL)
    user: dict[str, object] = {"id": "u0", "name": "U0", "locale": "en", "country": None}
    tried = worded(what, TemplateSet(MAIL), "lunch", "email", "en", user, rig.links)
    assert isinstance(tried.payload, EmailPayload)
    assert kinds(tried.payload.html) == kinds(mail["html"]) == ["c", "u", "p", "c"]
    assert tried.payload.unsubscribe
    assert mail["unsubscribe"]
    with rig.store.read() as connection:
        assert dict(connection.execute(select(link.c.id, link.c.url)).all()) == dict(tried.targets)


def test_one_click_from_the_header_is_obeyed(rig: Rig) -> None:
    mail = sent_mail(rig)
    with serving(rig.store, links=rig.links) as client:
        path = urlsplit(mail["unsubscribe"]).path
        client.clock.instant = rig.clock.now()
        assert client.request("POST", path, b"List-Unsubscribe=One-Click", FORM).status == 200
    with rig.store.read() as connection:
        current = select(consent.c.granted, consent.c.source).where(consent.c.valid_until.is_(None))
        assert [tuple(row) for row in connection.execute(current)] == [(False, "unsubscribe")]


def test_who_unsubscribes_while_a_mail_waits_does_not_get_it(rig: Rig) -> None:
    planned(rig, 2)
    rig.connect()
    with rig.store.read() as connection:
        first = min(connection.execute(select(message.c.id)).scalars())
    with serving(rig.store, links=rig.links) as client:
        client.clock.instant = rig.clock.now()
        assert client.request("POST", f"/u/{rig.links.token(Kind.UNSUBSCRIBE, first)}").status == 200
    rig.work(lambda: settled(rig))
    assert states(rig) == [("skipped", "no_consent"), ("accepted", None)]
    assert len(rig.far.accepted()) == 1
