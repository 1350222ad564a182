"""The key that signs links: 32 random bytes as hex in a file that only its owner can read.

What else has to be secret is derived from it, each under a name of its own.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from orchestrator.errors import ConfigError, Problem

LEAST = 16
_ERASED = b"opt-outs of people who were erased"


def read_key(path: Path, *, make: bool = True) -> bytes:
    """The key in a file, made now if there is no such file. Whoever comes first makes it; the others read theirs.

    Raises:
        ConfigError: it cannot be read or made, or is too short; or is not there and not to be made.
    """
    try:
        if not path.is_file() and make:
            _make(path)
        if not path.exists():
            raise _wrong(path, "is not there", "copy the daemons' own to this machine, or say where it is")
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise _wrong(path, f"cannot be used: {error.strerror}", "let the daemon's user read and write there") from None
    except ValueError:
        raise _wrong(path, "is no key", "it holds hexadecimal digits: `openssl rand -hex 32`") from None
    if len(key) < LEAST:
        raise _wrong(path, f"is shorter than {LEAST} bytes", "`openssl rand -hex 32` makes a good one")
    return key


def seal(key: bytes) -> Callable[[str], str]:
    """What hashes opt-outs of erased people (HMAC-SHA256): the same for the same key, for ever."""
    own = hmac.digest(key, _ERASED, "sha256")
    return lambda text: hmac.digest(own, text.encode("utf-8", "surrogatepass"), "sha256").hex()


def _make(path: Path) -> None:
    """Whole or not at all: written aside, then given its name unless another process was faster."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            return
    finally:
        aside.unlink(missing_ok=True)


def _wrong(path: Path, message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(str(path), 0, "links_key_file", message, hint)])
