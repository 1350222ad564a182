"""Mails a second through the whole door to a mail server on this machine: personal HTML of some 5 KB.

Against a bare client that writes the same bytes, pipelined, over as many connections, without templates or ledger; and
against postfix's ``smtp-source``, which keeps as many connections open: ``share`` is how much of its rate is reached.

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
from bench.door import plan, send_all
from bench.plan import SEGMENT
from bench.population import LUNCH_ZONES, NOW, fill
from orchestrator.channel.base import EmailPayload
from orchestrator.channel.email.smtp import open_channel
from orchestrator.channel.email.smtp_address import read_mailbox
from orchestrator.channel.email.smtp_message import Sender, Writer
from orchestrator.channel.email.smtp_signing import Signer
from orchestrator.clock import to_micros
from orchestrator.content.links import Links
from orchestrator.content.templates import TemplateSet
from orchestrator.store import Store
from tests.peers.postfix import find_postfix, sink, source_rate

CONNECTIONS = 200
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
    with tempfile.TemporaryDirectory() as folder:
        store = fill(str(Path(folder) / "bench.db"), count, LUNCH_ZONES)
        with store.write() as connection:
            for statement in _MAILBOXES:
                connection.execute(text(statement), {"old": to_micros(NOW - timedelta(days=90))})
        plan(store, DEFINITION, SEGMENT, {**letter.FILES, **letter.DEFAULTS}, {"mail": "email"})
        yield store
        store.close()


def _options(port: int, folder: Path) -> dict[str, Any]:
    key = folder / "verp.key"
    key.write_text("a key for benchmarks alone, of no use elsewhere")
    sender = {"from": "Food <news@food.example>", "bounce": "bounce@b.food.example", "verp_key_file": str(key)}
    return {"host": "127.0.0.1", "port": port, "tls": "none", "connections": CONNECTIONS, **sender}


def content_bytes() -> int:
    """How large one of these mails is."""
    templates = TemplateSet({**letter.FILES, **letter.DEFAULTS})
    mailbox = read_mailbox("news@food.example")
    assert mailbox is not None
    writer = Writer(Sender("mail", "Food", mailbox), Signer(b"k" * 32))
    user = {"name": "Name 1", "orders": 3, "favourite": "ramen", "week_orders": 2, "points": 30}
    facts = {"user": user, "campaign": {"name": "bench", "title": "bench"}, **LINKS.facts(1)}
    made = [templates.tracked(letter.NAME, "email", "en", facts, LINKS, 1).payload for _ in range(3)]
    assert isinstance(made[-1], EmailPayload)
    assert made[-1].pieces is not None, "the skeleton is part of what is measured"
    return len(writer.write("1", mailbox, made[-1], NOW).content)


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
        options = _options(port, Path(folder))
        done = send_all(store, "mail", lambda: open_channel("mail", options, ""), CONNECTIONS, links=LINKS)
        assert done.messages == count, f"{done.messages} of {count} mails were planned"
        size = content_bytes()
        content = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * (size // 72) + b".\r\n"
        reference = uvloop.run(bare(port, count, content))
        source = source_rate(postfix, port, count, size, CONNECTIONS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        **done.figures(),
        "content_bytes": size,
        "connections": CONNECTIONS,
        "reference_per_second": round(reference),
        "ratio": round(reference / done.per_second, 2),
        "source_per_second": round(source),
        "share": round(done.per_second / source, 3),
        "peak_mb": round(peak, 1),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
