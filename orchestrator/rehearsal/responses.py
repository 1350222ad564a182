"""How people and providers answer in a rehearsal: rates per channel, and one draw per message that never changes.

Every draw is a hash of (seed, message, question): the same message is answered the same however often a rehearsal is
repeated, in whatever order it is worked through, and whatever else the campaign does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from struct import Struct
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.campaign.reading import read_document
from orchestrator.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
_DRAWS = 1 << 32
_NUMBERS = Struct(">16I").unpack


class Rates(BaseModel):
    """What becomes of messages of one channel, as shares of those accepted (``dead``: of those sent)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delivered: Share = Field(default=0.95, description="of those accepted: proven to have arrived")
    opened: Share = Field(default=0.05, description="of those accepted: the message was opened")
    clicked: Share = Field(default=0.02, description="of those accepted: a link in it was followed")
    reopened: Share = Field(
        default=0.08, description="of those accepted: come back because of it, within the goal window"
    )
    converted: Share = Field(default=0.2, description="of those who reopened: the conversion")
    unsubscribed: Share = Field(default=0.002, description="of those accepted: refuse the topic on this channel")
    dead: Share = Field(default=0.005, description="of those sent: the provider says that the address is dead")
    failed: Share = Field(default=0.0, description="of those sent: refused by the provider, for this message alone")


DEFAULTS: Mapping[str, Rates] = {
    "push": Rates(delivered=0.75, opened=0.04, clicked=0.02, reopened=0.08, unsubscribed=0.001, dead=0.01),
    "sms": Rates(delivered=0.95, opened=0.0, clicked=0.03, reopened=0.07, unsubscribed=0.004, dead=0.005),
    "email": Rates(delivered=0.97, opened=0.18, clicked=0.02, reopened=0.04, unsubscribed=0.003, dead=0.005),
    "inbox": Rates(delivered=0.3, opened=0.05, clicked=0.02, reopened=0.03, unsubscribed=0.0, dead=0.0),
    "webhook": Rates(delivered=1.0, opened=0.0, clicked=0.0, reopened=0.05, unsubscribed=0.0, dead=0.0),
}
"""Where nothing is known: assumptions, and shown as such."""
SILENT = Rates(delivered=0, opened=0, clicked=0, reopened=0, converted=0, unsubscribed=0, dead=0, failed=0)
"""Everything is accepted, and nobody does anything."""


@dataclass(frozen=True, slots=True)
class Responses:
    """The model of a rehearsal. ``by_themselves``: members who do the goal event in its window without any message.

    ``sources`` says per channel where its rates come from: ``history``, ``file`` or ``assumed``.
    """

    rates: Mapping[str, Rates] = field(default_factory=lambda: DEFAULTS)
    by_themselves: float = 0.03
    seed: int = 1
    sources: Mapping[str, str] = field(default_factory=dict)

    def of(self, channel: str) -> Rates:
        """The rates of a channel; of one nobody has heard of, those of push."""
        return self.rates.get(channel) or DEFAULTS.get(channel) or DEFAULTS["push"]

    def draws(self, what: str, ident: int | str) -> Draws:
        """The draws of one message, member or address (of which nothing is kept)."""
        return Draws(_NUMBERS(hashlib.blake2b(f"{self.seed}:{what}:{ident}".encode(), digest_size=64).digest()))


@dataclass(frozen=True, slots=True)
class Draws:
    """Sixteen numbers in [0, 1) that are always the same for the same message."""

    numbers: tuple[int, ...]
    """Each below 2^32."""

    def __getitem__(self, n: int) -> float:
        """The n-th draw."""
        return self.numbers[n] / _DRAWS

    def after(self, n: int, within: timedelta) -> timedelta:
        """A delay below ``within`` by the n-th draw: half of all answers come in the first eighth of it."""
        return within * (self[n] ** 3)


class _File(BaseModel):
    """A file of stated rates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by_themselves: Share | None = None
    channels: dict[str, dict[str, Any]] = Field(default={})


def read_rates(path: Path, known: Responses) -> Responses:
    """``known`` with what a file of rates says instead.

    Raises:
        ConfigError: it cannot be read, or says what is no rate.
    """
    document = read_document(path)
    place: tuple[str, ...] = ()
    try:
        written = _File.model_validate(document.data)
        stated = {}
        for channel, given in written.channels.items():
            place = ("channels", channel)
            stated[channel] = Rates.model_validate({**known.of(channel).model_dump(), **given})
    except ValidationError as error:
        raise ConfigError(
            [
                document.problem((*place, *item["loc"]), item["msg"], f"a share from 0 to 1 of: {', '.join(_NAMES)}")
                for item in error.errors(include_input=False, include_url=False)
            ]
        ) from None
    sources = {**known.sources, **dict.fromkeys(stated, "file")}
    alone = known.by_themselves if written.by_themselves is None else written.by_themselves
    return Responses({**known.rates, **stated}, alone, known.seed, sources)


_NAMES = tuple(Rates.model_fields)
