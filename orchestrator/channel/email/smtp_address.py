"""A mailbox as it stands on the wire (RFC 5321 §4.1.2): nothing that could end a command or a header gets through."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import idna

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
_LOCAL = re.compile(rf'{_ATOM}(\.{_ATOM})*|"([ !#-\[\]-~]|\\[ -~])*"')
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*|\[[0-9A-Za-z.:]{{2,50}}\]")
_FORBIDDEN = re.compile("[\x80-\x9f\ud800-\udfff\u2028\u2029]")
_LONGEST_LOCAL, _LONGEST_DOMAIN = 64, 255


@dataclass(frozen=True, slots=True)
class Mailbox:
    """``local@domain`` with the domain in ASCII; ``utf8``: only a server that speaks SMTPUTF8 can take it."""

    local: str
    domain: str

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.local}@{self.domain}"

    @property
    def utf8(self) -> bool:
        """Whether the local part is not plain ASCII."""
        return not self.local.isascii()


def read_mailbox(address: str) -> Mailbox | None:
    """The mailbox, or None when it is none."""
    local, at, domain = address.strip(" ").rpartition("@")
    if not at or not _LOCAL.fullmatch(local) or _FORBIDDEN.search(local):
        return None
    ascii_domain = _ascii(domain)
    if ascii_domain is None or len(local.encode()) > _LONGEST_LOCAL or len(ascii_domain) > _LONGEST_DOMAIN:
        return None
    return Mailbox(local, ascii_domain)


@lru_cache(maxsize=4096)
def _ascii(domain: str) -> str | None:
    try:
        text = domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return None
    return text.lower() if _DOMAIN.fullmatch(text) else None
