"""What was rendered before, and where it goes: where nothing that is known of users changes, as in a rehearsal.

Which addresses may be used, the gate asks the database; what one is called never changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.campaign.spec import Campaign
from orchestrator.content.links import Tracked
from orchestrator.content.templates import TemplateSet
from orchestrator.ledger.claim import Claimed, Lane

MOST = 250_000
"""Messages whose words are kept: some hundred megabytes. What comes after them is rendered each time."""
Destination = tuple[str, str, dict[str, str] | None]
"""An address: its value, its kind, and what else sending to it needs."""
_Shelf = dict[int, Tracked]
_Key = tuple[str, int, str, str]


@dataclass(slots=True)
class Wordings:
    """Rendered messages by version, step, account and arm, and by user.

    Kept is only what depends on the user and the campaign alone; a mail's links are each message's own.
    """

    most: int = MOST
    places: dict[int, Destination] = field(default_factory=dict)
    """By the addresses' ids."""
    _shelves: dict[_Key, _Shelf | None] = field(default_factory=dict)
    """None: not to be kept."""
    _count: int = 0

    def of(self, lane: Lane, batch: Sequence[Claimed]) -> dict[int, Tracked]:
        """The words of those of a lane's messages that are known, by the messages' ids."""
        found: dict[int, Tracked] = {}
        for message in batch:
            shelf = self._shelves.get(_key(lane, message))
            if shelf and (made := shelf.get(message.user_id)) is not None:
                found[message.id] = made
        return found

    def keep(self, campaign: Campaign, compiled: TemplateSet, lane: Lane, message: Claimed, made: Tracked) -> None:
        """Remember the words of a message, if the next one to the same user will have the same."""
        key = _key(lane, message)
        if key not in self._shelves:
            step = campaign.steps[message.step - 1]
            template = campaign.template_of(campaign.arm(message.arm), step)
            same = step.channel != "email" and compiled.of_user_alone(template, step.channel)
            self._shelves[key] = {} if same else None
        shelf = self._shelves[key]
        if shelf is not None and self._count < self.most:
            shelf[message.user_id] = made
            self._count += 1


def _key(lane: Lane, message: Claimed) -> _Key:
    return (lane.version, message.step, lane.account, message.arm)
