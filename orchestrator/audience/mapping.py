"""Mapping files: which column of a CSV, JSONL or Parquet file says what. One model for each kind of import.

columns:
  external_id: customer_id                                  # the value of a column
  attributes: {orders: {column: n, type: int}}              # … of a type other than text
  at: {column: date, format: "%Y%m%d", zone: UTC}           # … an instant
  name: {value: order_paid}                                 # the same for every row
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from orchestrator.audience.fault import Document, Fault, Place, faults_of
from orchestrator.audience.whereabouts import zone_names
from orchestrator.errors import ConfigError, did_you_mean


class Kind(StrEnum):
    """What a file is imported as."""

    USERS = "users"
    EVENTS = "events"
    ADDRESSES = "addresses"
    CONSENTS = "consents"
    SUPPRESSIONS = "suppressions"


def _refuse(message: str, hint: str = "", field: str = "") -> PydanticCustomError:
    return PydanticCustomError("segment", "{text}", {"text": message, "hint": hint, "field": field})


def _spelled_out(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cell(_Part):
    """A column, or a value that is the same for every row."""

    column: StrictStr | None = None
    value: str | int | float | bool | None = None
    type: Literal["text", "int", "float", "bool"] = "text"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.column is None) == (self.value is None):
            raise _refuse("needs one of the two: column or value", "column: NAME, or value: the same for every row")
        return self


class TimeCell(_Part):
    """A column with instants: ISO 8601, a strptime format, or ``unix`` / ``unix_ms``.

    ``zone`` is that of times which tell no offset themselves.
    """

    column: StrictStr
    format: StrictStr = Field(default="iso", min_length=2)
    zone: StrictStr = "UTC"

    @model_validator(mode="after")
    def _known_zone(self) -> Self:
        if self.zone not in zone_names():
            raise _refuse(f"unknown time zone {self.zone[:40]!r}", did_you_mean(self.zone[:64], zone_names()), "zone")
        if self.format not in {"iso", "unix", "unix_ms"} and "%" not in self.format:
            raise _refuse(f"unknown format {self.format[:40]!r}", 'iso, unix, unix_ms, or such as "%Y%m%d"', "format")
        return self


Detail = Literal["environment", "app", "p256dh", "auth"]
ACell = Annotated[Cell, BeforeValidator(_spelled_out)]
ATime = Annotated[TimeCell, BeforeValidator(_spelled_out)]


class UserColumns(_Part):
    """Users: a name of the app's own, and what is known of them."""

    external_id: ACell
    name: ACell | None = None
    locale: ACell | None = None
    zone: ACell | None = None
    country: ACell | None = None
    attributes: dict[str, ACell] = {}


class EventColumns(_Part):
    """Events. Without ``source_id`` an event is known by all that it says, and its number among equals in the file."""

    user: ACell
    name: ACell
    at: ATime
    source_id: ACell | None = None
    properties: dict[str, ACell] = {}


class AddressColumns(_Part):
    """Addresses. ``region`` is the country whose national numbers are meant where a phone number has no ``+``.

    ``details`` are what sending needs besides the value, each from its own column: environment, app, p256dh, auth.
    """

    user: ACell
    channel: ACell
    value: ACell
    kind: ACell | None = None
    at: ATime | None = None
    region: ACell | None = None
    platform: ACell | None = None
    details: dict[Detail, ACell] = {}


class ConsentColumns(_Part):
    """Consents. ``granted`` is true or false; without it every row is an agreement.

    ``confirmed``: the agreement was confirmed elsewhere, so that no topic's double opt-in asks for it again.
    """

    user: ACell
    channel: ACell
    topic: ACell
    granted: ACell = Cell(value=True)
    source: ACell = Cell(value="import")
    at: ATime | None = None
    confirmed: ACell = Cell(value=False)


class SuppressionColumns(_Part):
    """Suppressions, of an ``address`` or of a ``user``."""

    channel: ACell
    address: ACell | None = None
    user: ACell | None = None
    region: ACell | None = None
    reason: ACell = Cell(value="operator")
    source: ACell = Cell(value="import")
    at: ATime | None = None

    @model_validator(mode="after")
    def _some_target(self) -> Self:
        if self.address is None and self.user is None:
            raise _refuse("needs address or user", "which column says who is not to be sent to?")
        return self


Columns = UserColumns | EventColumns | AddressColumns | ConsentColumns | SuppressionColumns


class CsvMapping(_Part):
    """How to read the file. ``fallback`` is for lines not in ``encoding``, ``header`` for files that have none.

    ``format`` is told by the file's name where it is not given. Columns of JSONL and Parquet may be dotted.
    """

    format: Literal["csv", "jsonl", "parquet"] | None = None
    encoding: Literal["utf-8", "gb18030", "windows-1252"] = "utf-8"
    fallback: Literal["gb18030", "windows-1252"] | None = None
    delimiter: Literal[",", ";", "\t", "|", "whitespace"] = ","
    header: list[StrictStr] | None = Field(default=None, min_length=1)
    columns: Any

    @property
    def cells(self) -> Columns:
        """The columns, as checked."""
        assert isinstance(self.columns, BaseModel)
        return self.columns  # type: ignore[return-value]  # each kind's subclass narrows it


class UserMapping(CsvMapping):
    """A mapping file for users."""

    columns: UserColumns


class EventMapping(CsvMapping):
    """A mapping file for events."""

    columns: EventColumns


class AddressMapping(CsvMapping):
    """A mapping file for addresses."""

    columns: AddressColumns


class ConsentMapping(CsvMapping):
    """A mapping file for consents."""

    columns: ConsentColumns


class SuppressionMapping(CsvMapping):
    """A mapping file for suppressions."""

    columns: SuppressionColumns


MODELS: Mapping[Kind, type[CsvMapping]] = {
    Kind.USERS: UserMapping,
    Kind.EVENTS: EventMapping,
    Kind.ADDRESSES: AddressMapping,
    Kind.CONSENTS: ConsentMapping,
    Kind.SUPPRESSIONS: SuppressionMapping,
}


def read_mapping(kind: Kind, document: Document) -> CsvMapping:
    """The mapping in a document.

    Raises:
        ConfigError: with all that is wrong in it.
    """
    try:
        return MODELS[kind].model_validate(document.data)
    except ValidationError as error:
        faults = list(faults_of(error, MODELS[kind]))
    raise ConfigError([document.problem(fault.place, fault.message, fault.hint) for fault in faults])


def check_columns(mapping: CsvMapping, header: list[str], document: Document) -> None:
    """Whether the file has every column that the mapping names.

    Raises:
        ConfigError: naming those it does not have.
    """
    faults = [
        Fault(place, f"the file has no column {cell.column[:40]!r}", did_you_mean(cell.column[:64], header))
        for place, cell in _cells(mapping.cells, ("columns",))
        if cell.column is not None and cell.column not in header
    ]
    if faults:
        raise ConfigError([document.problem(fault.place, fault.message, fault.hint) for fault in faults])


def columns_of(mapping: CsvMapping) -> list[str]:
    """The names of the columns that a mapping reads, each once."""
    names = (cell.column for _, cell in _cells(mapping.cells, ()) if cell.column is not None)
    return list(dict.fromkeys(names))


def _cells(columns: Columns, place: Place) -> Iterator[tuple[Place, Cell | TimeCell]]:
    for name in type(columns).model_fields:
        value = getattr(columns, name)
        for key, cell in value.items() if isinstance(value, dict) else [(None, value)]:
            if cell is not None:
                yield (*place, name) if key is None else (*place, name, key), cell
