"""What is real in the demonstration: 18 months of purchases of an online shop, as data/cdnow/README.md tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from orchestrator.errors import InputError

CHECKOUT = Path(__file__).resolve().parents[3]
"""Where the samples stand: campaigns/, templates/ and data/ beside the package."""
SAMPLE = Path("data/cdnow/CDNOW_sample.txt")


@dataclass(frozen=True, slots=True)
class Purchase:
    """One purchase; ``customer`` is the number within the sample, ``dollars`` as written in the file."""

    customer: int
    day: date
    items: int
    dollars: str


def read_purchases(path: Path | None = None) -> list[Purchase]:
    """Every purchase of the sample, in the file's order.

    Raises:
        InputError: the file is not there, or a line of it is no purchase.
    """
    path = path or CHECKOUT / SAMPLE
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="run this in a checkout of the project") from None
    return [_purchase(path, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _purchase(path: Path, number: int, line: str) -> Purchase:
    try:
        _master, customer, day, items, dollars = line.split()
        when = datetime.strptime(day, "%Y%m%d").date()  # noqa: DTZ007  # a date without a zone is what the file has
        return Purchase(int(customer), when, int(items), f"{float(dollars):.2f}")
    except ValueError:
        raise InputError(f"{path}:{number}: no purchase", hint="see README.md beside the file") from None


@dataclass(frozen=True, slots=True)
class History:
    """One customer's purchases, the first first."""

    customer: int
    purchases: tuple[Purchase, ...]

    @property
    def last(self) -> date:
        """The day of the latest one."""
        return self.purchases[-1].day

    @property
    def mean_dollars(self) -> float:
        """What they usually spend."""
        return sum(float(one.dollars) for one in self.purchases) / len(self.purchases)


def histories(purchases: Sequence[Purchase], most: int | None = None) -> list[History]:
    """Purchases by customer; ``most`` takes customers evenly out of the whole sample."""
    found: dict[int, list[Purchase]] = {}
    for one in purchases:
        found.setdefault(one.customer, []).append(one)
    everybody = [History(number, tuple(sorted(some, key=lambda one: one.day))) for number, some in found.items()]
    return everybody if most is None else list(_evenly(everybody, most))


def _evenly(everybody: Sequence[History], most: int) -> Iterator[History]:
    taken = min(max(most, 1), len(everybody))
    return (everybody[index * len(everybody) // taken] for index in range(taken))


def last_day(purchases: Sequence[Purchase]) -> date:
    """The day of the latest purchase of all."""
    return max(one.day for one in purchases)
