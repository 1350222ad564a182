"""R13: what providers and the app post is kept once it is answered, whoever kills the process that answers."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlencode

from sqlalchemy import func, select
from twilio.request_validator import RequestValidator

from orchestrator.ledger.states import State
from orchestrator.store.tables import event, message
from tests.chaos.ground import Ground, Told, experiment, held
from tests.chaos.scene import Fleet, People, Scene
from tests.chaos.victim import API_KEY
from tests.far_end import free_port, wait_for

PATIENCE = 90.0
THREADS = 8
ANSWER = 0.25
"""Seconds within which 99 of 100 are answered."""


@dataclass(slots=True)
class Poster:
    """Posts until it is answered, as providers do; one connection a thread."""

    port: int
    seconds: list[float] = field(default_factory=list)
    cut: int = 0
    """Posts that nobody answered, and that were made again."""
    _own: threading.local = field(default_factory=threading.local)
    _open: list[http.client.HTTPConnection] = field(default_factory=list)

    def close(self) -> None:
        """Hang up, of all threads."""
        for connection in self._open:
            connection.close()

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the first answer there is."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            began = time.monotonic()
            try:
                status = self._once(path, body, headers)
            except (OSError, http.client.HTTPException):
                self.cut += 1
                self._own.__dict__.clear()
                time.sleep(0.1)
                continue
            self.seconds.append(time.monotonic() - began)
            if status < 500:
                return status
            time.sleep(0.1)
        raise AssertionError(f"{path} was not answered within {PATIENCE:g} s")

    def _once(self, path: str, body: bytes, headers: Mapping[str, str]) -> int:
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            self._open.append(connection)
        connection.request("POST", path, body, dict(headers))
        answer = connection.getresponse()
        answer.read()
        return int(answer.status)


@dataclass(slots=True)
class Mill:
    """All that is posted about a crowd, and what has to be so in the end."""

    scene: Scene
    chance: random.Random
    poster: Poster
    states: dict[int, str] = field(default_factory=dict)
    events: int = 0
    forged: int = 0
    wrong: list[str] = field(default_factory=list)

    def sends(self, copies: int) -> list[Callable[[], None]]:
        """Statuses in any order, each up to ``copies`` times, one in a hundred forged; an app event a person."""
        made: list[Callable[[], None]] = []
        for record in self.scene.far.accepted():
            number, sid = int(record["message_id"]), record["id"]
            last = self.chance.choices(["delivered", "undelivered"], [9, 1])[0]
            self.states[number] = last
            for status in ("sent", "queued", last):
                form = {"MessageSid": sid, "MessageStatus": status}
                form |= {"ErrorCode": "30005"} if status == "undelivered" else {}
                made += [partial(self.status, number, form, forge=False)] * self.chance.randint(1, copies)
            if self.chance.random() < 0.03:
                lie = {"MessageSid": sid, "MessageStatus": "failed", "ErrorCode": "30003"}
                made.append(partial(self.status, number, lie, forge=True))
                self.forged += 1
        for n in range(len(self.states)):
            made += [partial(self.event, n)] * self.chance.randint(1, copies)
            self.events += 1
        self.chance.shuffle(made)
        return made

    def status(self, number: int, form: Mapping[str, str], *, forge: bool) -> None:
        path = f"/callbacks/twilio/status?m={number}"
        secret = "not the secret" if forge else (self.scene.far.state / "twilio-auth-token").read_text().strip()
        signature = RequestValidator(secret).compute_signature(f"http://127.0.0.1:{self.poster.port}{path}", dict(form))
        headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature}
        self._expect(self.poster.post(path, urlencode(form).encode(), headers), {403} if forge else {200, 204})

    def event(self, n: int) -> None:
        body = {"events": [{"user": f"s{n}", "name": "app_open", "id": f"e{n}", "properties": {"süß": "午餐\r\n"}}]}
        headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
        self._expect(self.poster.post("/v1/events", json.dumps(body).encode(), headers), {202})

    def _expect(self, status: int, wanted: set[int]) -> None:
        if status not in wanted:
            self.wrong.append(f"R13 answered {status}, not {wanted}")


@experiment(
    "R13",
    "statuses and app events, repeated, shuffled, forged, while the process that answers is killed",
    "100,000 at 1,000/s, kill -9 every 10 s; p99 < 250 ms",
)
def callbacks(ground: Ground) -> Told:
    people, kills, copies = ground.pick(250, 1_200, 8_000), ground.pick(2, 6, 17), ground.pick(2, 3, 5)
    with ground.scene() as scene:
        scene.populate(People(sms=people), holdout="0%")
        scene.finish("--connections", "64")
        port = free_port()
        fleet = Fleet(scene, 1, ["--role", "web", "--port-of-api", str(port)])
        fleet.wait_up()
        mill = Mill(scene, ground.chance, Poster(port))
        sends, began = mill.sends(copies), time.monotonic()
        with ThreadPoolExecutor(THREADS) as threads:
            posted = [threads.submit(send) for send in sends]
            for number in range(kills):
                share = int(len(posted) * (number + 0.5) / kills)
                wait_for(lambda share=share: sum(one.done() for one in posted) >= share, "posts", seconds=300)
                fleet.wait_up()
                fleet.kill(fleet.members[0])
            for one in posted:
                one.result()
        took = time.monotonic() - began
        mill.poster.close()
        fleet.end()
        held([*mill.wrong, *_differences(scene, mill)])
        held([f"R13 {scene.kills} kills cut off {mill.poster.cut} posts"] * (mill.poster.cut < scene.kills))
        held(["R13 nothing was forged"] * (mill.forged == 0))
    ranked = sorted(mill.poster.seconds)
    p99 = ranked[int(len(ranked) * 0.99)]
    held(
        [f"R13 99 in 100 within {p99 * 1000:.0f} ms, {ANSWER * 1000:.0f} are promised"]
        * (p99 > ANSWER and ground.size != "short")
    )
    figures = (
        f"{len(sends) / took:,.0f}/s with the restarts; p99 {p99 * 1000:.0f} ms; {mill.forged} forged, none believed"
    )
    return Told(f"{len(sends):,} posts, {kills} kills", figures)


def _differences(scene: Scene, mill: Mill) -> list[str]:
    """Where the ledger is not what was answered."""
    with scene.reader() as store, store.read() as connection:
        states = {row.id: row.state for row in connection.execute(select(message.c.id, message.c.state))}
        opens = connection.execute(select(func.count()).where(event.c.name == "app_open")).scalar_one()
        ids = connection.execute(select(func.count(func.distinct(event.c.source_id))).where(event.c.name == "app_open"))
        once = ids.scalar_one()
    wanted = {number: State(state) for number, state in mill.states.items()}
    wrong = Counter((states.get(number), state) for number, state in wanted.items() if states.get(number) != state)
    found = [f"R13 {n} messages are {has} and should be {should}" for (has, should), n in wrong.items()]
    return found + [f"R13 {opens} app events ({once} different), {mill.events} were answered"] * (
        not opens == once == mill.events
    )
