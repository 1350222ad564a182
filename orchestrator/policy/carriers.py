"""Which account carries a message: the one answer to routing, as a set form in SQL and a single form in Python.

An account takes the kinds of addresses its provider knows, and what its route names. Those that name more come first;
among equals the one written first, unless it has a ``share``: then all equals that have one part the users among
themselves by a stable hash, so that a user stays with an account over runs and restarts, and moves only when theirs
takes the message no more. The SQL holds no value that came from outside: :class:`Carrier` refuses such names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from orchestrator.errors import ConfigError, Problem, did_you_mean
from orchestrator.store.dialect import BUCKETS, bucket, bucket_sql

ANY = frozenset({"*"})
"""The kinds of an account that takes every address of its channel."""
_WORD = re.compile(r"[\w*-]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Carrier:
    """An account as routing sees it; ``countries`` and ``platforms``: empty for all of them.

    Raises:
        ValueError: a kind, country or platform that could not stand in SQL.
    """

    name: str
    channel: str
    kinds: frozenset[str] = ANY
    countries: frozenset[str] = frozenset()
    platforms: frozenset[str] = frozenset()
    share: int | None = None

    def __post_init__(self) -> None:
        """Words alone stand in SQL."""
        for word in (*self.kinds, *self.countries, *self.platforms):
            if not _WORD.fullmatch(word):
                raise ValueError(f"{word[:40]!r} names no kind, country or platform")

    @property
    def rank(self) -> int:
        """How much its route names."""
        return bool(self.countries) + bool(self.platforms)

    def takes(self, kind: str, platform: str | None, country: str) -> bool:
        """Whether it carries to such an address; ``country`` is "" where it is not known."""
        return (
            (self.kinds == ANY or kind in self.kinds)
            and (not self.countries or country in self.countries)
            and (not self.platforms or platform in self.platforms)
        )


Carriers = tuple[Carrier, ...]
"""The accounts that a step may use, in the order of preference."""


def in_order(carriers: Iterable[Carrier]) -> Carriers:
    """Those that name more first, else as given."""
    return tuple(sorted(carriers, key=lambda one: -one.rank))


def choose(carriers: Carriers, kind: str, platform: str | None, country: str, user: str) -> Carrier | None:
    """The account of one message; None when none takes it. ``user`` is the app's own id."""
    fitting = [one for one in carriers if one.takes(kind, platform, country)]
    if not fitting or fitting[0].share is None:
        return fitting[0] if fitting else None
    equals = [one for one in fitting if one.rank == fitting[0].rank and one.share is not None]
    drawn = bucket(_draw(fitting[0].channel, user)) * sum(one.share or 0 for one in equals)
    reached = 0
    for one in equals:
        reached += one.share or 0
        if drawn < reached * BUCKETS:
            return one
    raise AssertionError("a draw is below the sum of the shares")


def _draw(channel: str, user: str) -> str:
    return f"{channel}:account:{user}"


def carried_sql(carriers: Carriers, address: str, country: str) -> str:
    """A condition: some account takes the address row ``address``; "" if all. ``country``: SQL for the user's place."""
    ways = [_takes_sql(one, address, country) for one in carriers]
    return "" if not ways or "TRUE" in ways else f"AND ({' OR '.join(ways)})"


def _takes_sql(one: Carrier, address: str, country: str) -> str:
    named = [("kind", one.kinds if one.kinds != ANY else ()), ("platform", one.platforms)]
    parts = [f"{address}.{column} IN ({_quoted(words)})" for column, words in named if words]
    if one.countries:
        parts.append(f"coalesce({address}.country, substr({country}, 1, 2)) IN ({_quoted(one.countries)})")
    return f"({' AND '.join(parts)})" if parts else "TRUE"


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


def choice_sql(  # one SQL expression each
    dialect: str, carriers: Carriers, lanes: Mapping[str, str], address: str, country: str, user: str
) -> str:
    """:func:`choose` as a SQL expression: the lane of the account, by ``lanes`` (account → SQL); NULL for none.

    ``user`` is SQL for the app's own id of the user; it is asked for only where accounts have shares.
    """
    cases = [_case(dialect, group, one, lanes, address, country, user) for group, one in _groups(carriers)]
    return f"CASE {' '.join(cases)} END" if cases else "NULL"


def _groups(carriers: Carriers) -> Iterable[tuple[Carriers, Carrier]]:
    """Each account in the order of preference, with its equals."""
    for _, same in groupby(carriers, key=lambda one: one.rank):
        group = tuple(same)
        yield from ((group, one) for one in group)


def _case(  # as above
    dialect: str,
    group: Carriers,
    one: Carrier,
    lanes: Mapping[str, str],
    address: str,
    country: str,
    user: str,
) -> str:
    takes = _takes_sql(one, address, country)
    if one.share is None:
        return f"WHEN {takes} THEN {lanes[one.name]}"
    shares = [(each, _share_sql(each, address, country)) for each in group if each.share is not None]
    total = " + ".join(share for _, share in shares)
    draw = bucket_sql(dialect, f"'{one.channel}:account:' || {user}")
    cases, reached = [], ""
    for each, share in shares:
        reached = f"{reached} + {share}" if reached else share
        cases.append(f"WHEN ({draw}) * ({total}) < ({reached}) * {BUCKETS} THEN {lanes[each.name]}")
    return f"WHEN {takes} THEN CASE {' '.join(cases)} END"


def _share_sql(one: Carrier, address: str, country: str) -> str:
    takes = _takes_sql(one, address, country)
    return str(one.share) if takes == "TRUE" else f"CASE WHEN {takes} THEN {one.share} ELSE 0 END"


def parted(carriers: Carriers) -> bool:
    """Whether any of them has a share, so that the user's own id is asked for."""
    return any(one.share is not None for one in carriers)


@dataclass(frozen=True, slots=True)
class Routing:
    """All accounts of a deployment, in the order in which they are written."""

    carriers: Carriers = ()

    @classmethod
    def plain(cls, channels: Mapping[str, str]) -> Routing:
        """Accounts that take everything of their channel."""
        return cls(tuple(Carrier(name, channel) for name, channel in channels.items()))

    def found(self, channel: str, named: str | None) -> Carriers:
        """The accounts that a step may use: all of its channel, or the one that it names; empty if there is none."""
        return in_order(one for one in self.carriers if one.channel == channel and named in {None, one.name})

    def of(self, channel: str, named: str | None) -> Carriers:
        """:meth:`found`.

        Raises:
            ConfigError: there is none.
        """
        if found := self.found(channel, named):
            return found
        wanted = f"no account {named!r} for {channel}" if named else f"no account for channel {channel!r}"
        names = [one.name for one in self.carriers if one.channel == channel]
        hint = did_you_mean(named, names) if named else "add one under accounts in orchestrator.yaml"
        raise ConfigError([Problem("orchestrator.yaml", 0, "accounts", wanted, hint)])


UNKNOWN = Routing()
"""Nothing is known of accounts: what was planned stays where it is, and every address will do."""


def without(carriers: Sequence[Carrier], names: Iterable[str]) -> Carriers:
    """Those that are left when some must not be used."""
    gone = frozenset(names)
    return tuple(one for one in carriers if one.name not in gone)
