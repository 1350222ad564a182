"""A far end that speaks enough IMAP4rev1 (RFC 3501) for a reader of one folder; keeps what was flagged."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from typing_extensions import override


@dataclass
class Box:
    """The folder: mails by UID, the flagged ones, and what was said to it."""

    mails: dict[int, bytes]
    password: str = "secret"
    seen: set[int] = field(default_factory=set)
    heard: list[str] = field(default_factory=list)


class _Session(socketserver.StreamRequestHandler):
    box: Box

    @override
    def handle(self) -> None:
        self._say("* OK ready")
        for raw in self.rfile:
            tag, _, command = raw.decode().rstrip("\r\n").partition(" ")
            self.box.heard.append(command.split(" ", 1)[0] if command.startswith("LOGIN") else command)
            if not self._answer(tag, command):
                return

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def _answer(self, tag: str, command: str) -> bool:  # noqa: C901  # one branch a command
        end = f"{tag} OK done"
        word = command.upper()
        if word.startswith("CAPABILITY"):
            self._say("* CAPABILITY IMAP4REV1")
        elif word.startswith("LOGIN"):
            if self.box.password not in command:
                end = f"{tag} NO [AUTHENTICATIONFAILED] no"
        elif word.startswith("SELECT"):
            self._say(f"* {len(self.box.mails)} EXISTS")
        elif word.startswith("UID SEARCH"):
            self._say(" ".join(["* SEARCH", *(str(n) for n in sorted(self.box.mails) if n not in self.box.seen)]))
        elif found := re.match(r"UID FETCH (\d+) \(BODY\.PEEK\[\]<0\.(\d+)>\)", command, re.IGNORECASE):
            self._fetch(int(found[1]), int(found[2]))
        elif found := re.match(r"UID STORE (\d+) \+FLAGS\.SILENT \(\\Seen\)", command, re.IGNORECASE):
            self.box.seen.add(int(found[1]))
        elif word == "LOGOUT":
            self._say("* BYE")
        else:
            end = f"{tag} BAD {command[:20]}"
        self._say(end)
        return word != "LOGOUT"

    def _fetch(self, number: int, most: int) -> None:
        mail = self.box.mails[number][:most]
        self._say(f"* 1 FETCH (UID {number} BODY[]<0> {{{len(mail)}}}")
        self.wfile.write(mail + b")\r\n")


@contextmanager
def imap_end(box: Box) -> Iterator[int]:
    """The port it listens on."""
    handler = type("Session", (_Session,), {"box": box})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(5)
