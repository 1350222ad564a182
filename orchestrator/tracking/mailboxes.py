"""Where returned mail waits: a maildir, or a folder of an IMAP server. A mail is marked as read once it is taken in.

Whoever is killed in between reads some mails again; taking one in twice changes nothing, since its receipt is known.
"""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from typing_extensions import override

from orchestrator.errors import InputError, OrchestratorError
from orchestrator.tracking.mail_parts import MAX_BYTES

TIMEOUT_SECONDS = 60.0
_TLS_PORT, _PLAIN_PORT = 993, 143


@dataclass(frozen=True, slots=True)
class Waiting:
    """A mail that nobody has read yet, and how to say that somebody has."""

    raw: bytes
    mark: Callable[[], None]


def maildir(folder: Path) -> Iterator[Waiting]:
    """The new mails of a maildir, oldest name first; marked ones move to ``cur`` as seen.

    Raises:
        InputError: it is no maildir.
    """
    new, current = folder / "new", folder / "cur"
    if not new.is_dir() or not current.is_dir():
        raise InputError(f"{folder} is no maildir", hint="it has the folders new, cur and tmp")
    for name in sorted(path.name for path in new.iterdir()):
        with suppress(FileNotFoundError):  # another reader was faster
            with (new / name).open("rb") as file:
                raw = file.read(MAX_BYTES)
            yield Waiting(raw, partial(_seen, new / name, current / f"{name.split(':')[0]}:2,S"))


def _seen(path: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        path.rename(target)


@dataclass(frozen=True, slots=True)
class Imap:
    """An IMAP folder. ``password`` is never shown."""

    host: str
    user: str
    password: str
    port: int | None = None
    folder: str = "INBOX"

    @override
    def __repr__(self) -> str:
        """Without the password."""
        return f"Imap({self.host!r})"

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, where a password need not be hidden from the network."""
        with suppress(ValueError):
            return ip_address(self.host).is_loopback
        return self.host == "localhost"

    @property
    def implicit_tls(self) -> bool:
        """Whether TLS comes before the first word; on the plain port, STARTTLS comes before the password."""
        return self.port != _PLAIN_PORT and not (self.loopback and self.port not in {None, _TLS_PORT})

    @contextmanager
    def waiting(
        self, connect: Callable[[], ssl.SSLContext] = ssl.create_default_context
    ) -> Iterator[Iterator[Waiting]]:
        """The unread mails, oldest first, for as long as the session is open; marked ones are flagged as seen.

        Raises:
            OrchestratorError: the server cannot be reached, refuses, or offers no TLS.
        """
        with self._session(connect()) as session:
            yield _unread(session)

    @contextmanager
    def _session(self, context: ssl.SSLContext) -> Iterator[imaplib.IMAP4]:
        try:
            session = self._open(context)
            try:
                session.login(self.user, self.password)
                _done(session.select(_quoted(self.folder)), "there is no such folder")
                yield session
            finally:
                with suppress(imaplib.IMAP4.error, OSError):
                    session.logout()
        except imaplib.IMAP4.error:
            problem = f"{self.host}: the IMAP server refused"
            raise OrchestratorError(problem, hint="check user, password and folder") from None
        except OSError as error:
            problem = f"{self.host}: no connection to the IMAP server ({type(error).__name__})"
            raise OrchestratorError(problem, hint="check host, port and certificate") from None

    def _open(self, context: ssl.SSLContext) -> imaplib.IMAP4:
        if self.implicit_tls:
            port = self.port or _TLS_PORT
            return imaplib.IMAP4_SSL(self.host, port, ssl_context=context, timeout=TIMEOUT_SECONDS)
        session = imaplib.IMAP4(self.host, self.port or _PLAIN_PORT, timeout=TIMEOUT_SECONDS)
        if "STARTTLS" in session.capabilities:
            session.starttls(context)
        elif not self.loopback:
            session.shutdown()
            raise OrchestratorError(f"{self.host} offers no TLS: the password stays here", hint="use port 993")
        return session


def _unread(session: imaplib.IMAP4) -> Iterator[Waiting]:
    for number in _words(session.uid("SEARCH", "UNSEEN")):
        raw = _fetched(session.uid("FETCH", number, f"(BODY.PEEK[]<0.{MAX_BYTES}>)"))
        if raw is not None:
            yield Waiting(raw, partial(_flag, session, number))


def _done(answer: tuple[str, Any], problem: str) -> Any:
    if answer[0] != "OK":
        raise imaplib.IMAP4.error(problem)
    return answer[1]


def _quoted(name: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'


def _words(answer: tuple[str, Any]) -> list[str]:
    found = _done(answer, "no list")
    return [number.decode() for number in (found[0] or b"").split()]


def _fetched(answer: tuple[str, Any]) -> bytes | None:
    """The literal of a FETCH; None when the mail went away meanwhile."""
    parts = _done(answer, "no mail")
    return next((part[1] for part in parts if isinstance(part, tuple)), None)


def _flag(session: imaplib.IMAP4, number: str) -> None:
    try:
        _done(session.uid("STORE", number, "+FLAGS.SILENT", r"(\Seen)"), "not marked")
    except (imaplib.IMAP4.error, OSError):
        problem = "the IMAP server does not mark mails as read"
        raise OrchestratorError(problem, hint="what was read is taken in; run it again") from None
