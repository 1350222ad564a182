"""What a running template's filters are: the guards, and every filter of ours with the budget around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from jinja2 import Undefined, pass_context
from jinja2.environment import Environment
from jinja2.nodes import EvalContext
from jinja2.runtime import Context

from orchestrator.content import rewrite
from orchestrator.content.budget import MAX_VALUE, Budget, TemplateFault, fits
from orchestrator.content.filters import FILTERS, LOCALISED
from orchestrator.errors import SkipMessage

_WORTH_A_STEP = 8
"""A right shift: 256 characters looked at are one step."""


@cache
def _evaluation(environment: Environment) -> EvalContext:
    """Shared by all renders: only blocks that survey refuses could change it."""
    return EvalContext(environment)


class RenderContext(Context):
    """One render's facts, which it never changes, with its budget and locale. It has no globals."""

    def __init__(self, environment: Environment, facts: dict[str, Any], locale: str, budget: Budget) -> None:
        # What Jinja's own does for a template without name, globals and blocks; it took as long as a filter.
        self.environment, self.parent, self.name = environment, facts, None
        self.vars, self.exported_vars = {}, set()
        self.eval_ctx = _evaluation(environment)
        self.globals_keys, self.blocks = set(), {}
        self.budget = budget
        self.locale = locale


@pass_context
def _present(context: RenderContext, value: Any, name: str) -> Any:
    context.budget.work(1)
    if isinstance(value, Undefined):
        raise TemplateFault(f"{name} has no value and no default")
    if value is None or (isinstance(value, str) and (not value or value.isspace())):
        raise TemplateFault(f"{name} is blank and has no default")
    return value


@pass_context
def _concat(context: RenderContext, *values: Any) -> str:
    texts = [printed(value) for value in values]
    size = sum(map(len, texts))
    context.budget.work(1 + (size >> _WORTH_A_STEP))
    context.budget.made(size)
    return "".join(texts)


@pass_context
def _each(context: RenderContext, value: Any, size: int) -> Iterator[Any]:
    if not isinstance(value, list | tuple):
        raise TemplateFault("a loop needs a list")
    return _passes(context.budget, value, size)


def _passes(budget: Budget, items: list[Any] | tuple[Any, ...], size: int) -> Iterator[Any]:
    for item in items:
        budget.work(size)
        yield fits(item, "an entry of a list")


@pass_context
def _operand(context: RenderContext, value: Any, listed: bool) -> Any:  # noqa: FBT001  # called by position, by Jinja
    match value:
        case str():
            size = len(value)
        case list() | tuple() if listed:
            size = sum(len(item) if isinstance(item, str) else _deep(item) for item in value)
        case dict() | list() | tuple():
            raise TemplateFault("a list or mapping cannot be compared")
        case _:
            size = 0
    context.budget.work(1 + (size >> _WORTH_A_STEP))
    return value


def _deep(item: object) -> int:
    if isinstance(item, list | tuple | dict):
        raise TemplateFault("'in' looks through a list of plain values")
    return 1


def _skip(reason: str) -> str:
    raise SkipMessage(reason)


def printed(value: Any) -> str:
    """A value as it stands in a message. Whole floats lose their ``.0``.

    Raises:
        TemplateFault: it is nothing that can be printed.
    """
    if type(value) is str:  # nearly all are
        return value
    match value:
        case str():
            return value
        case bool() | None:
            raise TemplateFault("would print a value that is no text: None, true or false")
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() else str(round(value, 6))
        case Undefined():
            return str(value)  # raises, naming it
        case _:
            raise TemplateFault("would print a list or mapping: use join, or name one of its facts")


def _bounded(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    strict, localised = name != "default", name in LOCALISED

    @pass_context
    def run(context: RenderContext, value: Any, *args: Any, **named: Any) -> Any:
        if isinstance(value, Undefined) and not strict:
            value = None
        _admit(context.budget, (value, *args, *named.values()) if strict else (*args, *named.values()))
        if localised:
            named["locale"] = context.locale
        result = filter_(value, *args, **named)
        if isinstance(result, str):
            context.budget.made(len(result))
        return result

    return run


def _admit(budget: Budget, values: tuple[Any, ...]) -> None:
    size = 0
    for value in values:
        if isinstance(value, Undefined):
            str(value)  # raises, naming it
        if value is None:
            raise TemplateFault("a filter was given a fact without a value")
        if isinstance(value, str):
            size += len(value)
    if size > 2 * MAX_VALUE:
        raise TemplateFault("a filter was given too long a text")
    budget.work(1 + (size >> _WORTH_A_STEP))


GUARDED: Final[dict[str, Callable[..., Any]]] = {
    **{name: _bounded(name, filter_) for name, filter_ in FILTERS.items()},
    rewrite.PRESENT: _present,
    rewrite.CONCAT: _concat,
    rewrite.EACH: _each,
    rewrite.OPERAND: _operand,
    # Not given the context, yet never folded: what a constant's filter raises while compiling is left for the run.
    rewrite.SKIP: _skip,
}
