"""Who gets which arm, who is held out: a stable hash of (campaign, user), the same in Python and in SQL.

The draw knows nothing of runs, time, machines or other draws: a user keeps arm and holdout over runs and
restarts, and the two are drawn from different texts, so that one says nothing about the other. Changing the
weights moves borders, not users: who stays on the same side of them keeps their arm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from math import isfinite

from orchestrator.errors import InputError
from orchestrator.store.dialect import BUCKETS, bucket, bucket_sql

Arms = Sequence[tuple[str, int]]
"""Names and weights, in the campaign's order."""

_NAME = re.compile(r"[\w .-]{1,100}")  # stands in SQL text, where quotes, colons and backslashes mean something


def arm_of(campaign: str, external_id: str, arms: Arms) -> str:
    """The arm of a user.

    Raises:
        InputError: no arms, weights that are negative or all zero, or a name that no arm can have.
    """
    drawn = bucket(f"{campaign}:arm:{external_id}")
    return next(name for name, border in _borders(tuple(arms)) if drawn < border)


def held_out(campaign: str, external_id: str, share: float) -> bool:
    """Whether a user belongs to the holdout; ``share`` is from 0 (nobody) to 1 (everybody)."""
    return bucket(f"{campaign}:holdout:{external_id}") < _border(share)


def arm_sql(dialect: str, campaign_param: str, external_id_column: str, arms: Arms) -> str:
    """:func:`arm_of` as SQL text; ``campaign_param`` is a bind parameter's name, the column is a SQL expression."""
    *others, (last, _all) = _borders(tuple(arms))
    if not others:
        return f"'{last}'"
    drawn = _drawn(dialect, campaign_param, "arm", external_id_column)
    cases = " ".join(f"WHEN {drawn} < {border} THEN '{name}'" for name, border in others)
    return f"CASE {cases} ELSE '{last}' END"


def held_out_sql(dialect: str, campaign_param: str, external_id_column: str, share: float) -> str:
    """:func:`held_out` as SQL text: a condition."""
    return f"({_drawn(dialect, campaign_param, 'holdout', external_id_column)} < {_border(share)})"


@lru_cache(maxsize=256)
def _borders(arms: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    """Each arm that can be drawn, with the bucket below which it ends; the last one's is :data:`BUCKETS`."""
    _refuse_nonsense(arms)
    total = sum(weight for _name, weight in arms)
    reached = accumulate(weight for _name, weight in arms)
    return tuple((arm[0], BUCKETS * at // total) for arm, at in zip(arms, reached, strict=True) if arm[1])


def _refuse_nonsense(arms: Arms) -> None:
    weights = [weight for _name, weight in arms]
    if not any(weights) or min(weights) < 0:
        raise InputError(
            "an experiment needs arms with a weight above 0", hint="give each arm `weight: 1` for equal shares"
        )
    for name, _weight in arms:
        if _NAME.fullmatch(name) is None:
            raise InputError(f"{name[:64]!r} cannot name an arm", hint="use letters, digits, space, dot, - and _")


def _border(share: float) -> int:
    if not isfinite(share) or not 0 <= share <= 1:
        raise InputError(f"a share of {share}", hint="from 0 (nobody) to 1 (everybody)")
    return round(share * BUCKETS)


def _drawn(dialect: str, campaign_param: str, what: str, external_id_column: str) -> str:
    # the cast tells PostgreSQL the parameter's type; SQLAlchemy does not take ":arm:" for a parameter
    return bucket_sql(dialect, f"CAST(:{campaign_param} AS TEXT) || ':{what}:' || {external_id_column}")
