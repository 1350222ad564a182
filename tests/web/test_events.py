"""``POST /v1/events``: durable before 2xx, kept once, refused whole."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from orchestrator.metrics import REGISTRY
from orchestrator.store import Store
from orchestrator.store.tables import event, metadata
from tests.tracking.world import NOW, World
from tests.web.server import KEY, Client, serving


def an_event(number: int = 1, **other: Any) -> dict[str, Any]:
    return {"user": "u-1", "name": "app_open", "id": f"e-{number}", **other}


def kept(store: Store) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(event).order_by(event.c.id)))


def test_events_are_kept(client: Client, store: Store) -> None:
    answer = client.post(an_event(1, at="2026-12-01T19:00:00.000001+08:00", properties={"amount": 5}), an_event(2))
    assert (answer.status, answer.json) == (202, {"accepted": 2, "known": 0})
    first, second = kept(store)
    assert (first.at, first.properties) == (NOW - timedelta(hours=1) + timedelta(microseconds=1), {"amount": 5})
    assert (second.at, second.received_at, second.user_id) == (NOW, NOW, first.user_id)


def test_the_first_event_under_an_id_wins(client: Client, store: Store) -> None:
    client.post(an_event(1, properties={"n": 1}))
    again = client.post(an_event(1, properties={"n": 2}), an_event(2), an_event(2, name="order_paid"))
    assert again.json == {"accepted": 1, "known": 2}
    assert [(row.source_id, row.name, row.properties) for row in kept(store)] == [
        ("e-1", "app_open", {"n": 1}),
        ("e-2", "app_open", None),
    ]


def test_no_events_are_no_error(client: Client) -> None:
    assert client.post().json == {"accepted": 0, "known": 0}


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"user": ""}, "user", "at least 1 character"),
    ({"user": 7}, "user", "string"),
    ({"user": "a\0b"}, "user", "printable"),
    ({"user": "x" * 201}, "user", "at most 200"),
    ({"name": "app open"}, "name", "letters, digits"),
    ({"name": "message_opened"}, "message_id", "name the message"),
    ({"id": None}, "id", "string"),
    ({"at": "yesterday"}, "at", "instant"),
    ({"at": 1764586800}, "at", "instant"),
    ({"at": "2026-12-01T11:00:00"}, "at", "offset"),
    ({"at": "1969-12-31T23:59:59Z"}, "at", "1970"),
    ({"at": "0001-01-01T00:00:00+14:00"}, "at", "1970"),
    ({"at": "2026-12-01T12:05:00.000001Z"}, "at", "future"),
    ({"message_id": 12}, "message_id", "decimal string"),
    ({"message_id": "12a"}, "message_id", "decimal string"),
    ({"message_id": str(1 << 63)}, "message_id", "decimal string"),
    ({"properties": [1]}, "properties", "dict"),
    ({"properties": {"a": "b\0"}}, "properties", "NUL"),
    ({"properties": {"a": {"b": {"c": {"d": {"e": {}}}}}}}, "properties", "nested"),
    ({"nmae": "x"}, "nmae", "did you mean 'name'?"),
]


@pytest.mark.parametrize(("change", "field", "reason"), WRONG)
def test_one_wrong_event_refuses_the_request_and_says_why(
    client: Client, store: Store, change: dict[str, Any], field: str, reason: str
) -> None:
    answer = client.post(an_event(1), an_event(2) | change)
    assert answer.status == 422
    (fault,) = answer.json["errors"]
    assert (fault["index"], fault["field"]) == (1, field)
    assert reason in fault["reason"]
    assert kept(store) == []


def test_five_minutes_ahead_is_a_phones_clock(client: Client) -> None:
    assert client.post(an_event(1, at="2026-12-01T12:05:00Z")).status == 202


@pytest.mark.parametrize("missing", ["user", "name", "id"])
def test_a_missing_field_is_named(client: Client, missing: str) -> None:
    answer = client.post({key: value for key, value in an_event().items() if key != missing})
    assert answer.json["errors"] == [{"index": 0, "field": missing, "reason": "is required"}]


def test_all_faults_are_told_up_to_a_hundred(client: Client) -> None:
    assert len(client.post(*({"user": n} for n in range(1000))).json["errors"]) == 100


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"events": "\xff"}', 400),
        (b"[" * 100_000, 400),
        (b"[]", 422),
        (b'{"events": {}}', 422),
        (b'{"events": [], "more": 1}', 422),
        (b'{"events": [1]}', 422),
        (b'{"events": [' + b"{}," * 1000 + b"{}]}", 422),
        (b" " * 1_000_001, 413),
    ],
)
def test_a_body_that_is_no_list_of_events(client: Client, store: Store, body: bytes, status: int) -> None:
    assert client.post_raw(body).status == status
    assert kept(store) == []


def test_a_body_without_length_is_bounded_too(client: Client) -> None:
    pieces: Iterator[bytes] = (b" " * 100_000 for _ in range(11))
    try:
        answer = client.request("POST", "/v1/events", pieces, {"X-API-Key": KEY, "Transfer-Encoding": "chunked"})
    except (BrokenPipeError, ConnectionResetError):
        return  # the server hung up before the end, which is an answer
    assert answer.status == 413


def test_who_has_no_key_is_not_read(client: Client, store: Store) -> None:
    for headers in (
        {},
        {"X-API-Key": ""},
        {"X-API-Key": KEY[:-1]},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
    ):
        answer = client.request("POST", "/v1/events", b"not even JSON", headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert client.request("POST", "/v1/events", b'{"events":[]}', {"X-API-Key": KEY}).status == 202
    assert client.request("POST", "/v1/events", b'{"events":[]}', {"Authorization": f"bearer {KEY}"}).status == 202
    assert kept(store) == []


@pytest.mark.parametrize("keys", [(), ("",)])
def test_without_keys_nobody_may_send(store: Store, keys: tuple[str, ...]) -> None:
    with serving(store, keys=keys) as client:
        assert client.post_raw(b'{"events":[]}', None).status == 401
        assert client.post_raw(b'{"events":[]}', "").status == 401


def test_a_message_is_opened_by_whom_it_was_sent_to(client: Client, store: Store, world: World) -> None:
    world.phone(7, "+4917012345678")
    message_id = world.message(world.run(), 7)
    opened = {"name": "message_opened", "message_id": str(message_id)}
    foreign = REGISTRY.get_sample_value("orchestrator_foreign_message_ids_total") or 0.0
    answer = client.post(an_event(1, user="u-7") | opened, an_event(2, user="u-8") | opened)
    assert answer.json == {"accepted": 2, "known": 0}
    assert [row.message_id for row in kept(store)] == [message_id, None]
    assert REGISTRY.get_sample_value("orchestrator_foreign_message_ids_total") == foreign + 1


def test_many_clients_share_commits_and_lose_nothing(client: Client, store: Store) -> None:
    commits = REGISTRY.get_sample_value("orchestrator_event_commit_size_count") or 0.0

    def send(number: int) -> dict[str, int]:
        answers = [client.post(an_event(number * 100 + n), an_event(n)).json for n in range(10)]
        return {key: sum(answer[key] for answer in answers) for key in ("accepted", "known")}

    with ThreadPoolExecutor(16) as pool:
        totals = list(pool.map(send, range(1, 33)))
    assert sum(total["accepted"] for total in totals) == 32 * 10 + 10 == len(kept(store))
    assert sum(total["known"] for total in totals) == 32 * 10 - 10
    assert (REGISTRY.get_sample_value("orchestrator_event_commit_size_count") or 0.0) - commits < 320


def test_events_are_only_posted(client: Client, store: Store) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert client.request(method, "/v1/events", None, {"X-API-Key": KEY}).status == 405


SERVER = textwrap.dedent("""
    import sys, uvicorn
    from orchestrator.clock import SystemClock
    from orchestrator.store import Store
    from orchestrator.web.app import create_app

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            print(self.servers[0].sockets[0].getsockname()[1], flush=True)

    app = create_app(Store(sys.argv[1]), SystemClock(), api_keys=["key-of-the-app"], public_url="", callbacks={},
                     account_channels={}, health=dict)
    Server(uvicorn.Config(app, port=0, log_level="error")).run()
""")


def hammer(client: Client, acked: list[str], run: str) -> None:
    """Send until the server is gone; remember what was answered 202."""
    for number in range(100_000):
        try:
            answer = client.post({"user": "u", "name": "app_open", "id": f"{run}-{number}"})
        except OSError:
            return
        except Exception:  # noqa: BLE001  # an answer cut in half is no answer
            return
        if answer.status == 202:
            acked.append(f"{run}-{number}")


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """P12: every event answered 2xx is durable."""
    path, acked = tmp_path / "t.db", list[str]()
    store = Store(str(path))
    metadata.create_all(store.writer_engine)
    store.close()
    rng = random.Random(7)
    for round_number in range(4):
        command = [sys.executable, "-c", SERVER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            client = Client(port, None)  # type: ignore[arg-type]  # its clock is the server's own
            threads = [threading.Thread(target=hammer, args=(client, acked, f"{round_number}-{n}")) for n in range(4)]
            for thread in threads:
                thread.start()
            threading.Event().wait(0.2 + rng.random() / 2)
            process.send_signal(signal.SIGKILL)
            for thread in threads:
                thread.join()
    store = Store(str(path))
    with store.read() as connection:
        there = set(connection.execute(select(event.c.source_id)).scalars())
        assert connection.execute(select(func.count()).select_from(event)).scalar() == len(there)
    store.close()
    assert len(acked) > 20
    assert set(acked) <= there


def test_a_refusal_repeats_nothing_of_what_was_sent(client: Client) -> None:
    canary = "+49170CANARY"
    answer = client.post_raw(
        json.dumps({"events": [an_event(1, at=canary, message_id=canary) | {"user": [canary]}]}).encode()
    )
    assert answer.status == 422
    assert b"CANARY" not in answer.body
