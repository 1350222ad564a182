"""Callbacks of providers that sign nothing: believed when they come to a path that only the provider was told.

The hook is ``WORD/SECRET``. Without a secret in the account's options nothing is believed.
"""

from __future__ import annotations

import hmac

from pydantic import BaseModel

from orchestrator.channel.options import secret_of


def knocks(hook: str, word: str, secret: str) -> bool:
    """Whether ``hook`` is ``word/secret``; compared in constant time, and never true without a secret."""
    said, _, shown = hook.partition("/")
    return bool(secret) and said == word and hmac.compare_digest(shown.encode(), secret.encode())


def secret_if_given(account: str, given: BaseModel, name: str) -> str:
    """The secret ``name`` of the options (see :func:`secret_of`), or empty when none is given.

    Raises:
        ConfigError: it is given twice, or its file does not hold one.
    """
    wanted = getattr(given, name) is not None or getattr(given, f"{name}_file") is not None
    return secret_of(account, given, name) if wanted else ""
