"""R13, short: thousands of webhook events, repeated, shuffled, forged, stale, end in the state that an oracle names."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import insert, select
from typing_extensions import override

from orchestrator.channel.callback import CallbackRequest, Heard, Refused
from orchestrator.channel.email import sendgrid_events
from orchestrator.store import Store
from orchestrator.store.tables import address, event, lane, message, suppression, users
from tests.nightly import FULL
from tests.tracking.world import NOW, World
from tests.web.server import Answer, Client, serving, sign

MAILS, TEXTS = 800, 150
pytestmark = pytest.mark.on("sqlite", *(["postgresql"] if FULL else []))  # for its size
A_BATCH = 20
KEY = ec.generate_private_key(ec.SECP256R1())
Send = Callable[[Client], tuple[int, int]]


@dataclass
class Grid:
    """SendGrid's callbacks without its sending."""

    clock: Callable[[], datetime] = field(default=lambda: NOW)

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        return sendgrid_events.hear(KEY.public_key(), request, self.clock())


class Gullible(Grid):
    """The deliberately broken variant: whatever is posted is believed."""

    @override
    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        events = json.loads(request.body)
        return Heard([said for one in events for said in sendgrid_events.read_event(one)])


@dataclass
class Oracle:
    """What has to be so in the end."""

    states: dict[int, str] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    suppressed: set[str] = field(default_factory=set)
    opened: set[int] = field(default_factory=set)


def mail_of(user: int) -> str:
    return f"u{user}@mail.example"


def mail_events(number: int, user: int, chance: random.Random, oracle: Oracle) -> list[dict[str, Any]]:
    """All that SendGrid tells of one mail; what contradicts itself does not come."""
    base = {"email": mail_of(user), "sg_message_id": f"sg{user}.recvd-1", "message_id": str(number)}
    fate = chance.choices(["delivered", "bounce", "policy", "spamreport", "open"], [60, 1, 9, 5, 25])[0]
    oracle.states[number] = "undelivered" if fate in {"bounce", "policy"} else "delivered"
    told: list[dict[str, Any]] = [{"event": "processed"}, {"event": "deferred", "response": "450 busy"}]
    if fate == "bounce":
        oracle.dead.add(user)
        told.append({"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 unknown"})
    elif fate == "policy":
        told.append({"event": "bounce", "type": "bounce", "status": "5.7.1", "reason": "550 5.7.1 no"})
    else:
        told.append({"event": "delivered", "response": "250 ok"})
    if fate == "spamreport":
        oracle.suppressed.add(mail_of(user))
        told.append({"event": "spamreport"})
    if fate == "open":
        oracle.opened.add(number)
        told.append({"event": "open", "useragent": "Mozilla/5.0 (iPhone) Safari/604.1", "ip": "84.1.2.3"})
    at = int(NOW.timestamp()) + 60
    return [{**base, **one, "timestamp": at, "sg_event_id": f"e{user}-{n}-üñ"} for n, one in enumerate(told)]


def post_grid(
    events: Sequence[dict[str, Any]], signed_at: datetime = NOW, *, forge: bool = False, shown: datetime | None = None
) -> Send:
    body = json.dumps(events, ensure_ascii=False).encode()
    stamp = str(int(signed_at.timestamp()))
    signer = ec.generate_private_key(ec.SECP256R1()) if forge else KEY
    signature = base64.b64encode(signer.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
    headers = {
        sendgrid_events.SIGNATURE: signature,
        sendgrid_events.TIMESTAMP: str(int((shown or signed_at).timestamp())),
    }
    bad = forge or signed_at != NOW or shown is not None

    def send(client: Client) -> tuple[int, int]:
        return client.request("POST", "/callbacks/grid/events", body, headers).status, 403 if bad else 204

    return send


def text_events(number: int, user: int, chance: random.Random, oracle: Oracle) -> list[Send]:
    """Twilio's: statuses in any order, and STOP."""
    delivered = chance.random() < 0.9
    oracle.states[number] = "delivered" if delivered else "undelivered"
    sid, path = f"SM{user}", f"/callbacks/sms-main/status?m={number}"
    forms = [(path, {"MessageSid": sid, "MessageStatus": status}) for status in ("sent", "queued")]
    last = {"MessageStatus": "delivered"} if delivered else {"MessageStatus": "undelivered", "ErrorCode": "30036"}
    forms.append((path, {"MessageSid": sid, **last}))
    if chance.random() < 0.1:
        oracle.suppressed.add(phone_of(user))
        forms.append(
            ("/callbacks/sms-main/inbound", {"MessageSid": f"in{user}", "From": phone_of(user), "Body": "退订\r\n"})
        )
    return [post_text(*one) for one in forms]


def phone_of(user: int) -> str:
    return f"+4917{user:09}"


def post_text(path: str, form: dict[str, str], signature: str | None = None) -> Send:
    signed = sign(path, form) if signature is None else signature

    def send(client: Client) -> tuple[int, int]:
        got: Answer = client.call_back(path, form, signed)
        return 204 if got.status == 200 else got.status, 204 if signature is None else 403

    return send


def lies(number: int, user: int) -> list[dict[str, Any]]:
    """What a forger would like us to believe of anybody."""
    base = {"email": mail_of(user), "sg_message_id": f"lie{user}", "message_id": str(number), "timestamp": 1}
    dead = {"event": "bounce", "type": "bounce", "status": "5.1.1", "sg_event_id": f"lie-{user}-1"}
    return [{**base, **dead}, {**base, "event": "spamreport", "sg_event_id": f"lie-{user}-2"}]


def filled(store: Store) -> None:
    """Messages to everybody: mails through ``grid``, texts through ``sms-main``."""
    world = World(store)
    run = world.run()
    for user in (1, MAILS + 1):
        world.phone(user, mail_of(user) if user == 1 else phone_of(user))
    first = world.message(run, 1, account="grid")
    others = [user for user in range(2, MAILS + TEXTS + 1) if user != MAILS + 1]
    place = {"last_seen_at": NOW, "valid_from": NOW}
    people = [
        {"id": n, "external_id": f"u-{n}", "attributes": {}, "created_at": NOW, "updated_at": NOW} for n in others
    ]
    with store.write() as connection:
        connection.execute(insert(users), people)
        rows = [
            {"id": n, "user_id": n, "channel": "email", "kind": "mailbox", "value": mail_of(n), **place}
            if n <= MAILS
            else {"id": n, "user_id": n, "channel": "sms", "kind": "phone", "value": phone_of(n), **place}
            for n in others
        ]
        connection.execute(insert(address), rows)
        connection.execute(
            insert(lane).values(id=99, run_id=run, step=2, channel="sms", account="sms-main", priority=1)
        )
        connection.execute(lane.update().where(lane.c.account == "grid").values(channel="email"))
        connection.execute(address.update().where(address.c.id == 1).values(channel="email", kind="mailbox"))
        copied = dict(connection.execute(select(message).where(message.c.id == first)).mappings().one())
        texts = [*others, MAILS + 1]
        connection.execute(
            insert(message),
            [
                {**copied, "id": run << 40 | n << 4 | 1, "user_id": n, "address_id": n}
                | ({"lane_id": 99} if n > MAILS else {})
                for n in texts
            ],
        )


def everything(oracle: Oracle, chance: random.Random) -> list[Send]:
    """What is posted, shuffled; about one in a hundred forged, stale, or replayed with a new timestamp."""
    numbers = {user: 1 << 40 | user << 4 | 1 for user in range(1, MAILS + TEXTS + 1)}
    told = [one for user in range(1, MAILS + 1) for one in mail_events(numbers[user], user, chance, oracle)]
    copies = [one for one in told for _ in range(chance.randint(1, 5))]
    chance.shuffle(copies)
    sends = [post_grid(copies[n : n + A_BATCH]) for n in range(0, len(copies), A_BATCH)]
    for user in range(MAILS + 1, MAILS + TEXTS + 1):
        for one in text_events(numbers[user], user, chance, oracle):
            sends += [one] * chance.randint(1, 5)
    for user in range(1, 31):
        sends.append(post_grid(lies(numbers[user], user), forge=True))
        sends.append(post_grid(lies(numbers[user], user), NOW - timedelta(minutes=11)))
        sends.append(post_grid(lies(numbers[user], user), NOW - timedelta(hours=3), shown=NOW))
        stop = {"MessageSid": f"lie{user}", "From": phone_of(MAILS + user), "Body": "STOP"}
        sends.append(post_text("/callbacks/sms-main/inbound", stop, "bm90IHNpZ25lZA=="))
    chance.shuffle(sends)
    return sends


def final(store: Store) -> Oracle:
    with store.read() as connection:
        states = dict(connection.execute(select(message.c.id, message.c.state)).all())
        dead = set(connection.execute(select(address.c.id).where(address.c.end_reason == "dead")).scalars())
        held = connection.execute(select(suppression.c.address).where(suppression.c.address.is_not(None)))
        opened = connection.execute(select(event.c.message_id).where(event.c.name == "message_opened")).scalars().all()
        assert len(opened) == len(set(opened))
        return Oracle(states, dead, set(held.scalars()), set(opened))


def play(store: Store, ear: Grid, seed: int) -> tuple[Oracle, Oracle, int, bool]:
    """The oracle, what became of it, how many requests, and whether each got the answer it should."""
    filled(store)
    oracle = Oracle()
    sends = everything(oracle, random.Random(seed))
    with serving(store, ears={"grid": ear}) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda send: send(client), sends))
    return oracle, final(store), len(sends), all(got == wanted for got, wanted in answers)


@pytest.mark.parametrize("seed", [7])
def test_thousands_of_events_in_any_order_end_as_the_oracle_says(store: Store, seed: int) -> None:
    oracle, found, requests, answered = play(store, Grid(), seed)
    assert answered
    assert requests > 1_000
    assert oracle.dead
    assert found == oracle


def test_believing_every_post_would_be_noticed(store: Store) -> None:
    oracle, found, _, answered = play(store, Gullible(), 7)
    assert not answered
    assert found != oracle
