"""Mails a second through the whole door to a mail server on this machine: personal HTML of some 5 KB.

Against a bare client that writes the same bytes, pipelined, over as many connections, without templates or ledger; and
against postfix's ``smtp-source``.

Run as ``python -m bench.mail COUNT``; prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import text

from bench import letter
from bench.channels import Counted
from bench.dispatch import LUNCH, Watch, states_of
from bench.plan import SEGMENT
from bench.population import LUNCH_ZONES, NOW, fill
from orchestrator.campaign.document import Document
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.version import Bundle, save_version
from orchestrator.channel.base import EmailPayload
from orchestrator.channel.email.smtp import open_channel
from orchestrator.channel.email.smtp_address import read_mailbox
from orchestrator.channel.email.smtp_message import Sender, Writer
from orchestrator.channel.email.smtp_signing import Signer
from orchestrator.clock import AcceleratedClock, ManualClock, SystemClock, to_micros
from orchestrator.content.links import Links
from orchestrator.content.templates import TemplateSet
from orchestrator.dispatch.account import open_account
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger import runs
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Routing
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours
from tests.peers.postfix import find_postfix, sink, source_rate

CONNECTIONS = 32
LINKS = Links("https://push.food.example", b"a key of links, for benchmarks!!")
DEFINITION = {
    "name": "bench",
    "topic": "promotions",
    "audience": {"segment": "dormant"},
    "schedule": {"dates": ["2026-12-07"]},
    "window": {"local": "10:30-11:45", "late": "skip"},
    "steps": [{"channel": "email", "template": letter.NAME}],
    "goal": {"event": "app_open", "within": "24h"},
    "facts": ["orders", "favourite", "week_orders", "points"],
}
_MAILBOXES = (
    """INSERT INTO address (user_id, channel, kind, value, last_seen_at, valid_from)
       SELECT id, 'email', 'mailbox', 'user-' || id || '@mail.example', :old, :old FROM users""",
    """INSERT INTO consent (user_id, channel, topic, granted, source, valid_from)
       SELECT id, 'email', 'promotions', 1, 'bench', :old FROM users""",
)


@contextmanager
def planned(count: int) -> Iterator[Store]:
    """A database with a run of ``count`` mails planned and due."""
    templates = {**letter.FILES, **letter.DEFAULTS}
    what = Bundle(parse_campaign(Document("bench.yaml", DEFINITION)), DEFINITION, {"dormant": SEGMENT}, templates)
    with tempfile.TemporaryDirectory() as folder:
        store = fill(str(Path(folder) / "bench.db"), count, LUNCH_ZONES)
        with store.write() as connection:
            for statement in _MAILBOXES:
                connection.execute(text(statement), {"old": to_micros(NOW - timedelta(days=90))})
            runs.launch(connection, "bench", save_version(connection, what, NOW), NOW, "bench")
            [(item, found)] = due_runs(connection, NOW)
        Planner(ManualClock(NOW), QuietHours.load(None), Routing.plain({"mail": "email"})).plan(store, item, found)
        yield store
        store.close()


def _options(port: int, folder: Path) -> dict[str, Any]:
    key = folder / "verp.key"
    key.write_text("a key for benchmarks alone, of no use elsewhere")
    sender = {"from": "Food <news@food.example>", "bounce": "bounce@b.food.example", "verp_key_file": str(key)}
    return {"host": "127.0.0.1", "port": port, "tls": "none", "connections": CONNECTIONS, **sender}


async def through_the_door(store: Store, count: int, port: int, folder: Path) -> dict[str, Any]:
    """Send all of it as the daemon does."""
    channel = Counted(open_channel("mail", _options(port, folder), ""), count)
    system, watch = SystemClock(), Watch()
    account = open_account(
        "mail",
        channel,
        rate=1e6,
        burst=100_000,
        ramp=timedelta(0),
        connections=CONNECTIONS,
        limiter=MemoryLimiter(system.monotonic),
        monotonic=system.monotonic,
    )
    clock = AcceleratedClock(LUNCH, 1.0, system.machine())
    worker = Worker(store, clock, QuietHours.load(None), {"mail": account}, timedelta(seconds=60), watch.probe)
    worker.links = LINKS
    worker.start()
    began, used = time.perf_counter(), time.process_time()
    running = asyncio.create_task(worker.run())
    everything = asyncio.create_task(channel.done.wait())
    await asyncio.wait({everything, running}, timeout=600, return_when=asyncio.FIRST_COMPLETED)
    everything.cancel()
    worker.stop()
    await running
    seconds, used = time.perf_counter() - began, time.process_time() - used
    await channel.close()
    states = states_of(store)
    assert states.get("accepted") == count, f"only {states} of {count}"
    split = {name: round(spent / count * 1e6, 1) for name, spent in watch.seconds.items()}
    split["event_loop"] = round(used / count * 1e6 - sum(split.values()), 1)
    return {
        "per_second": round(count / seconds),
        "cpu_us_per_message": round(used / count * 1e6, 1),
        "cpu_us_split": split,
        "duplicates": len(channel.sent) - len(set(channel.sent)),
    }


def content_bytes() -> int:
    """How large one of these mails is."""
    templates = TemplateSet({**letter.FILES, **letter.DEFAULTS})
    mailbox = read_mailbox("news@food.example")
    assert mailbox is not None
    writer = Writer(Sender("mail", "Food", mailbox), Signer(b"k" * 32))
    user = {"name": "Name 1", "orders": 3, "favourite": "ramen", "week_orders": 2, "points": 30}
    facts = {"user": user, "campaign": {"name": "bench", "title": "bench"}, **LINKS.facts(1)}
    payload = LINKS.track(templates.render(letter.NAME, "email", "en", facts), 1).payload
    assert isinstance(payload, EmailPayload)
    return len(writer.write("1", mailbox, payload, NOW).content)


async def bare(port: int, count: int, content: bytes) -> float:
    """Mails a second of a client that only writes bytes: two round trips a mail, nothing in between."""
    left = iter(range(count))
    commands = b"MAIL FROM:<news@food.example>\r\nRCPT TO:<ada@mail.example>\r\nDATA\r\n"

    async def one_after_another() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.readline()
        writer.write(b"EHLO bench.example\r\n")
        while not (await reader.readline()).startswith(b"250 "):
            pass
        for _ in left:
            writer.write(commands)
            replies = [await reader.readline() for _ in range(3)]
            assert replies[2].startswith(b"354"), replies
            writer.write(content)
            assert (await reader.readline()).startswith(b"250")
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(CONNECTIONS)))
    return count / (time.perf_counter() - began)


def measure(count: int) -> dict[str, Any]:
    """All three, one after another, against one sink."""
    postfix = find_postfix()
    if postfix is None:
        raise SystemExit("bench.mail needs postfix's smtp-sink: apt-get install postfix, or let apt-get download it")
    with sink(postfix) as port, planned(count) as store, tempfile.TemporaryDirectory() as folder:
        figures = uvloop.run(through_the_door(store, count, port, Path(folder)))
        size = content_bytes()
        content = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * (size // 72) + b".\r\n"
        reference = uvloop.run(bare(port, count, content))
        source = source_rate(postfix, port, count, size, CONNECTIONS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        **figures,
        "messages": count,
        "content_bytes": size,
        "connections": CONNECTIONS,
        "reference_per_second": round(reference),
        "ratio": round(reference / figures["per_second"], 2),
        "source_per_second": round(source),
        "peak_mb": round(peak, 1),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
