"""What mails have in common that a provider's API writes out: headers beyond the usual ones, and whose they are."""

from __future__ import annotations

from email.utils import parseaddr
from urllib.parse import urlsplit

from orchestrator.channel.email.smtp_address import Mailbox, read_mailbox
from orchestrator.channel.email.smtp_message import safe_name
from orchestrator.channel.options import problem
from orchestrator.errors import ConfigError

MOST_BYTES = 10_000_000
"""Of text and HTML together. SES takes 40 MB, SendGrid 30, with all they add; mailbox providers take less."""
AUTOMATIC = {
    # Nobody on holiday answers bulk mail from a machine: RFC 3834, custom, and Exchange's own word for it.
    "Precedence": "bulk",
    "Auto-Submitted": "auto-generated",
    "X-Auto-Response-Suppress": "OOF, AutoReply",
}
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def unsubscribe_headers(url: str) -> dict[str, str]:
    """RFC 2369 and RFC 8058. One click needs https; a test on this machine may do without."""
    if not url:
        return {}
    found = {"List-Unsubscribe": f"<{url}>"}
    if url.startswith("https:") or urlsplit(url).hostname in LOOPBACK:
        found["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return found


def writer_of(account: str, text: str) -> tuple[str, Mailbox]:
    """The name and mailbox of the option ``from``.

    Raises:
        ConfigError: it is none.
    """
    name, address = parseaddr(text)
    if not safe_name(text):
        raise ConfigError([problem(account, "from", "a control character in the name")])
    return name, own_mailbox(account, "from", address)


def own_mailbox(account: str, field: str, address: str) -> Mailbox:
    """A mailbox that an option names: in plain ASCII, since APIs take no other.

    Raises:
        ConfigError: it is none.
    """
    found = read_mailbox(address)
    if found is None or found.utf8:
        raise ConfigError([problem(account, field, "is no mailbox", "write it as name@example.com")])
    return found
