"""How a gateway is described: what is asked of it, what its answers mean, what it calls back. Pydantic reads it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from orchestrator.channel.base import OutcomeClass, Scope
from orchestrator.channel.sms.gateway_patterns import Path, Pattern, places

PLACES = frozenset({"to", "text", "id", "sender", "ttl_s", "secret", "basic"})
_PRIVATE = frozenset({"to", "text"})
_MOST_RULES = 100

_Strict = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
_Texts = dict[str, str]


class Expectation(BaseModel):
    """Something that is true of an answer: its status, and what stands at a path, or anywhere in its text."""

    model_config = _Strict

    status: int | list[int] | None = None
    path: Path | None = None
    equals: str | int | bool | None = None
    matches: Pattern | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.path is None and self.equals is not None:
            raise ValueError("'equals' needs a 'path'")
        if self.path is not None and self.equals is None and self.matches is None:
            raise ValueError("'path' needs 'equals' or 'matches'")
        if self.status is None and self.path is None and self.matches is None:
            raise ValueError("says nothing: give status, path or matches")
        return self

    @property
    def statuses(self) -> frozenset[int] | None:
        """The statuses it is about; None: all."""
        if self.status is None:
            return None
        return frozenset(self.status if isinstance(self.status, list) else [self.status])


class ErrorRule(Expectation):
    """What an answer means. ``wait`` belongs to retry_after."""

    kind: OutcomeClass
    wait: Annotated[timedelta | None, Field(gt=timedelta(), le=timedelta(days=31))] = None
    scope: Scope | None = None

    @model_validator(mode="after")
    def _refusal(self) -> Self:
        if self.kind is OutcomeClass.ACCEPTED:
            raise ValueError("an error is not accepted: describe that under 'success'")
        if self.wait is not None and self.kind is not OutcomeClass.RETRY_AFTER:
            raise ValueError("'wait' belongs to kind retry_after")
        return self


class Where(BaseModel):
    """Where the gateway's id of a text stands in its answer."""

    model_config = _Strict

    path: Path | None = None
    matches: Pattern | None = None
    header: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")] = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(each is not None for each in (self.path, self.matches, self.header)) != 1:
            raise ValueError("give one of path, matches and header")
        return self


class RequestSpec(BaseModel):
    """The one request that carries a text. Names in braces are filled in."""

    model_config = _Strict

    method: Literal["POST", "PUT", "GET"] = "POST"
    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=500)] = "/"
    query: _Texts = Field(default_factory=dict)
    headers: _Texts = Field(default_factory=dict)
    json_: Annotated[dict[str, Any] | list[Any] | None, Field(alias="json")] = None
    form: _Texts | None = None
    text: str | None = None
    media_type: Annotated[str, Field(pattern=r"^[!-~ ]{0,100}$")] = ""
    charset: Literal["utf-8", "gbk", "gb18030", "latin-1", "utf-16-be"] = "utf-8"
    number: Literal["e164", "digits", "double_zero", "china"] = "e164"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        bodies = [each for each in (self.json_, self.form, self.text) if each is not None]
        if len(bodies) > 1:
            raise ValueError("give one of json, form and text")
        if bodies and self.method == "GET":
            raise ValueError("a GET has no body: use query")
        used = {name for template in _templates(self) for name in places(template)}
        if unknown := used - PLACES:
            raise ValueError(f"unknown {{{min(unknown)}}}: there are {', '.join(sorted(PLACES))}")
        if missing := _PRIVATE - used:
            raise ValueError(f"{{{min(missing)}}} stands nowhere in the request")
        if any(places(each) & {"text"} for each in self.headers.values()):
            raise ValueError("{text} cannot stand in a header")
        return self


class SuccessSpec(Expectation):
    """What an accepted text is answered with. Without ``status``: 200, 201 and 202."""

    status: int | list[int] | None = Field(default_factory=lambda: [200, 201, 202])


class ReceiptSpec(BaseModel):
    """What the gateway posts to ``report/SECRET``: where things stand in it, and what its words mean."""

    model_config = _Strict

    format: Literal["json", "form", "list"] = "json"
    items: Path | None = None
    id: Path
    message: Path | None = None
    status: Path
    statuses: dict[str, Literal["sent", "delivered", "undelivered"]]
    code: Path | None = None
    codes: dict[str, Literal["drop_address", "suppress", "stop_channel"]] = Field(default_factory=dict)
    answer: Annotated[str, Field(max_length=1000)] = ""


class ReplySpec(BaseModel):
    """What the gateway posts to ``reply/SECRET`` when a person writes back."""

    model_config = _Strict

    format: Literal["json", "form", "list"] = "json"
    items: Path | None = None
    from_: Annotated[Path, Field(alias="from")]
    text: Path
    id: Path | None = None
    country: Annotated[str, Field(pattern=r"^\d{0,4}$")] = ""
    answer: Annotated[str, Field(max_length=1000)] = ""


class CheckSpec(BaseModel):
    """A GET that shows whether the credentials work, and sends nothing."""

    model_config = _Strict

    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=500)]
    headers: _Texts = Field(default_factory=dict)
    status: int | list[int] = 200

    @model_validator(mode="after")
    def _sound(self) -> Self:
        used = {name for template in self.headers.values() for name in places(template)}
        if unknown := used - {"secret", "basic"}:
            raise ValueError(f"{{{min(unknown)}}} is not known when nothing is sent: there are basic, secret")
        return self


def _templates(spec: RequestSpec) -> Iterator[str]:
    yield from (spec.text or "", *spec.headers.values(), *spec.query.values(), *(spec.form or {}).values())
    yield from texts_in(spec.json_)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)
