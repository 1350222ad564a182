"""``bounce classify`` and ``bounce read``: what a mail is, and taking it in from where it waits, once."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, select
from typer.testing import CliRunner, Result

from orchestrator.cli.app import app
from orchestrator.clock import SystemClock
from orchestrator.daemon.control import serve, socket_path
from orchestrator.daemon.verbs import Desk
from orchestrator.errors import InputError, OrchestratorError
from orchestrator.settings import load_settings
from orchestrator.store import Store, upgrade
from orchestrator.store.tables import address, message, receipt, suppression
from orchestrator.tracking.mailboxes import Imap
from tests.tracking.imap_end import Box, imap_end
from tests.tracking.mails import SIGNER, arf, dsn, unsubscribing, verp
from tests.tracking.world import World

CORPUS = Path(__file__).parents[1] / "tracking/bounces"
SETTINGS = """\
database: t.db
accounts:
  mail:
    channel: email
    provider: smtp
    options:
      host: 127.0.0.1
      port: 2525
      from: Food <news@food.example>
      bounce: bounce@b.food.example
      verp_key_file: verp.key
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orchestrator.yaml").write_text(SETTINGS)
    (tmp_path / "verp.key").write_text((b"k" * 32).decode())
    for name in ("new", "cur", "tmp"):
        (tmp_path / "mail" / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def sent(project: Path) -> list[int]:
    """Messages to twenty users."""
    store = Store(str(project / "t.db"))
    upgrade(store)
    world = World(store)
    run = world.run()
    for user in range(1, 21):
        world.phone(user, f"u{user}@mail.example")
    found = [world.message(run, user, account="mail") for user in range(1, 21)]
    store.close()
    return found


def run(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)


def states(project: Path) -> list[str]:
    store = Store(str(project / "t.db"), writer=False)
    with store.read() as connection:
        found = list(connection.execute(select(message.c.state).order_by(message.c.id)).scalars())
    store.close()
    return found


def rows(project: Path, table: Any) -> int:
    store = Store(str(project / "t.db"), writer=False)
    with store.read() as connection:
        found = len(connection.execute(table if isinstance(table, Select) else select(table)).all())
    store.close()
    return found


def put(project: Path, *mails: bytes) -> None:
    for number, raw in enumerate(mails):
        (project / f"mail/new/{1700000000 + number}.M{number}.host").write_bytes(raw)


def test_classify_says_of_each_file_what_it_is() -> None:
    names = ["qmail-unknown", "qq-full-html", "arf-yahoo", "auto-de", "postfix-delayed"]
    files = [str(CORPUS / f"{name}.eml") for name in names]
    found = json.loads(run("bounce", "classify", *files, "--json").stdout)
    assert [one["file"] for one in found] == files
    assert [one["kind"] for one in found] == ["hard", "soft", "complaint", "auto-reply", "none"]
    assert found[0] == {
        "file": files[0], "kind": "hard", "recipient": "ada@mail.example", "status": "5.1.1", "reason": "no-mailbox",
    }  # fmt: skip
    shown = run("bounce", "classify", *files).stdout
    assert "hard" in shown
    assert "complaint" in shown


def test_classify_reads_standard_input_and_needs_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [found] = json.loads(run("bounce", "classify", "-", "--json", stdin=dsn(verp(17))).stdout)
    assert (found["file"], found["kind"]) == ("-", "hard")
    with pytest.raises(InputError, match="cannot be read"):
        run("bounce", "classify", "nothing.eml")


def test_a_maildir_is_taken_in_once_and_marked(project: Path, sent: list[int]) -> None:
    quoted = f"<{SIGNER.token('message', str(sent[1]))}@food.example>"  # type: ignore[arg-type]
    put(
        project,
        dsn(verp(sent[0])),
        arf(quoted),
        unsubscribing(sent[2]),
        b"Subject: hi\r\n\r\nhello",
        dsn("x@y.example"),
    )
    done = json.loads(run("bounce", "read", "--maildir", "mail", "--json").stdout)
    assert done == {"read": 5, "taken": 3, "known": 0, "ignored": 2}
    assert list((project / "mail/new").iterdir()) == []
    assert all(path.name.endswith(":2,S") for path in (project / "mail/cur").iterdir())
    assert (rows(project, receipt), rows(project, suppression)) == (3, 4)
    put(project, dsn(verp(sent[0])))
    again = run("bounce", "read", "--maildir", "mail").stdout
    assert again == "1 mails read: 0 taken in, 1 known before, 0 that say nothing of ours\n"
    assert "u1@mail" not in again


def test_beside_a_running_daemon_it_goes_through_it(project: Path, sent: list[int]) -> None:
    """The daemon holds the file; its socket takes what was read, and remembers storms over several commands."""
    store, loop = Store(str(project / "t.db")), asyncio.new_event_loop()
    desk = Desk(store, SystemClock(), load_settings())
    server = loop.run_until_complete(serve(desk, socket_path((project / "t.db").resolve())))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        for number in sent[:12]:
            done = json.loads(run("bounce", "read", "-", "--json", stdin=dsn(verp(number))).stdout)
            assert done["taken"] == 1
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
        store.close()
    assert states(project).count("undelivered") == 12
    assert rows(project, address.select().where(address.c.end_reason == "dead")) == 0  # twelve dead, nobody reached


def test_one_mail_from_a_mail_server_s_pipe(project: Path, sent: list[int]) -> None:
    done = json.loads(run("bounce", "read", "-", "--account", "mail", "--json", stdin=dsn(verp(sent[4]))).stdout)
    assert done["taken"] == 1
    assert states(project)[4] == "undelivered"


def test_where_the_mail_is_has_to_be_said(project: Path, sent: list[int]) -> None:
    for arguments in ([], ["-", "--maildir", "mail"], ["other"]):
        with pytest.raises(InputError, match="where is the mail"):
            run("bounce", "read", *arguments)
    with pytest.raises(InputError, match="is no maildir"):
        run("bounce", "read", "--maildir", ".")
    with pytest.raises(InputError, match="no account 'other' of mail"):
        run("bounce", "read", "-", "--account", "other")


def test_who_is_killed_in_between_takes_everything_in_once(project: Path, sent: list[int]) -> None:
    """At any moment, what is marked is in the ledger; what is not is read again, and changes nothing twice."""
    put(project, *(dsn(verp(number)) for number in sent for _ in range(10)))
    command = [sys.executable, "-m", "orchestrator", "bounce", "read", "--maildir", "mail"]
    for _ in range(8):
        reader = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL)
        before = len(list((project / "mail/cur").iterdir()))
        deadline = time.monotonic() + 20
        while reader.poll() is None and len(list((project / "mail/cur").iterdir())) <= before:
            assert time.monotonic() < deadline, "nothing was read"
        reader.send_signal(signal.SIGKILL)
        reader.wait(20)
        marked = len(list((project / "mail/cur").iterdir()))
        assert states(project).count("undelivered") >= marked // 10
        if not any((project / "mail/new").iterdir()):
            break
    run("bounce", "read", "--maildir", "mail")
    assert not any((project / "mail/new").iterdir())
    assert states(project) == ["undelivered"] * 20
    assert rows(project, receipt) == 20


def test_what_could_not_be_written_is_not_marked(
    project: Path, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marked first and written later would lose the mail of whoever is killed in between."""
    put(project, *(dsn(verp(number)) for number in sent))
    monkeypatch.setattr("orchestrator.daemon.verbs.VERBS", {})
    monkeypatch.setattr("orchestrator.cli.context.VERBS", {})
    with pytest.raises(KeyError):
        run("bounce", "read", "--maildir", "mail")
    assert len(list((project / "mail/new").iterdir())) == 20


def test_an_imap_folder_is_taken_in_once_and_marked(project: Path, sent: list[int]) -> None:
    box = Box({3: dsn(verp(sent[0])), 9: b"Subject: hi\r\n\r\nhello", 12: dsn(verp(sent[1]))})
    (project / "password").write_text("secret\n")
    with imap_end(box) as port:
        source = ["--imap", "127.0.0.1", "--port", str(port), "--user", "me", "--password-file", "password"]
        done = json.loads(run("bounce", "read", *source, "--json").stdout)
        assert done == {"read": 3, "taken": 2, "known": 0, "ignored": 1}
        assert box.seen == {3, 9, 12}
        assert json.loads(run("bounce", "read", *source, "--json").stdout)["read"] == 0
    assert states(project)[:3] == ["undelivered", "undelivered", "accepted"]


def test_an_imap_server_that_refuses_says_so_without_the_password(
    project: Path, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAP_PASSWORD", "wrong")
    with imap_end(Box({})) as port:
        source = ["--imap", "127.0.0.1", "--port", str(port), "--user", "me", "--password-env", "IMAP_PASSWORD"]
        with pytest.raises(OrchestratorError, match="the IMAP server refused") as refused:
            run("bounce", "read", *source)
    assert "wrong" not in str(refused.value)
    with pytest.raises(OrchestratorError, match="no connection"):
        run("bounce", "read", *source)
    with pytest.raises(InputError, match="wants a password"):
        run("bounce", "read", "--imap", "127.0.0.1", "--password-env", "NO_SUCH_VARIABLE")


@pytest.mark.parametrize(
    ("host", "port", "first"),
    [
        ("mail.example", None, True),
        ("mail.example", 993, True),
        ("mail.example", 2993, True),
        ("mail.example", 143, False),  # STARTTLS before the password, or nothing
        ("127.0.0.1", 1143, False),
        ("localhost", 993, True),
        ("::1", 1143, False),
    ],
)
def test_tls_comes_before_the_password(host: str, port: int | None, first: bool) -> None:
    assert Imap(host, "me", "secret", port).implicit_tls is first
    assert "secret" not in repr(Imap(host, "me", "secret", port))


def test_a_server_elsewhere_without_tls_never_sees_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box({})
    with imap_end(box) as port:
        monkeypatch.setattr("orchestrator.tracking.mailboxes._PLAIN_PORT", port)
        monkeypatch.setattr(Imap, "loopback", False)
        with (
            pytest.raises(OrchestratorError, match="offers no TLS"),
            Imap("127.0.0.1", "me", "secret", port).waiting(),
        ):
            pass
    assert "LOGIN" not in box.heard
