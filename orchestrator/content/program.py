"""One text as a program: parse, survey, rewrite, compile the checked tree, run within a budget.

Nothing is ever compiled from source (``from_string``), and a program sees nothing but the facts it is given: its
context has no globals, its attribute lookup reads mappings and never a Python object.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, UndefinedError, nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

from orchestrator.content.budget import MAX_NUMBER, MAX_OUTPUT_BYTES, Budget, TemplateFault, fits
from orchestrator.content.filters import TESTS
from orchestrator.content.guards import GUARDED, RenderContext, printed
from orchestrator.content.rewrite import rewrite
from orchestrator.content.survey import LOOP_WORDS, Fault, Survey, survey
from orchestrator.errors import RenderError, SkipMessage

_REMEMBERED = 512
"""Texts kept compiled: campaigns that differ in their body say the same title, and new versions most of the old."""
_UNDEFINED = re.compile(r"('\w+')(?: is undefined)?$")
_FILENAME = "<message>"
"""What compiled templates are called in a traceback; how their frames are known."""


class _Environment(ImmutableSandboxedEnvironment):
    """Lookup reads mappings and lists; arithmetic is for numbers."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//"})

    @override
    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict:
            return fits(obj[attribute], attribute) if attribute in obj else self.undefined(obj=obj, name=attribute)
        if type(obj) is LoopContext and attribute in LOOP_WORDS:
            return getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    @override
    def getitem(self, obj: Any, argument: str | Any) -> Any:
        if type(obj) is dict:
            return self.getattr(obj, argument)
        if type(obj) in {list, tuple, str} and type(argument) is int and -len(obj) <= argument < len(obj):
            return fits(obj[argument], "an entry of a list")
        return self.undefined(obj=obj, name=argument)

    @override
    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        context.budget.work(1)
        if type(left) not in {int, float} or type(right) not in {int, float}:
            raise TemplateFault(f"{operator!r} is for numbers (texts are joined with ~)")
        try:
            result = self.binop_table[operator](left, right)
        except ZeroDivisionError:
            raise TemplateFault("divides by zero") from None
        if not -MAX_NUMBER <= result <= MAX_NUMBER:
            raise TemplateFault("makes too large a number")
        return result


def _environment(*, autoescape: bool) -> _Environment:
    environment = _Environment(
        autoescape=autoescape,
        undefined=StrictUndefined,
        finalize=printed,
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,
    )
    environment.filters = dict(GUARDED)
    environment.tests = {name: environment.tests[name] for name in TESTS}
    environment.globals.clear()
    return environment


ENVIRONMENT = _environment(autoescape=False)
_ESCAPING = _environment(autoescape=True)
"""For HTML parts, and there alone: everywhere else ``&`` is what was written."""


@dataclass(frozen=True, slots=True)
class Program:
    """A checked, compiled text. ``lines_before`` stand above it in its file; ``constant`` when nothing has to run."""

    file: str
    lines_before: int
    survey: Survey
    template: Template
    constant: str | None
    lines: Sequence[int] = ()
    """Which line of the source (from 0) each line came from, when the text was compiled from another."""

    @property
    def constants(self) -> frozenset[str]:
        """Every chunk that the template itself says (and other texts of its code, which never are chunks)."""
        code = self.template.root_render_func.__code__
        return frozenset(text for text in (*code.co_consts, self.constant) if isinstance(text, str))

    def run(self, facts: dict[str, Any], locale: str, budget: Budget) -> str:
        """The text for these facts, not yet cleaned; raises what :meth:`chunks` does."""
        return "".join(self.chunks(facts, locale, budget))

    def chunks(self, facts: dict[str, Any], locale: str, budget: Budget) -> Sequence[str]:
        """The text for these facts in the pieces it was made in.

        Raises:
            SkipMessage: the template said so.
            RenderError: with file and line, never with a fact's value.
        """
        if self.constant is not None:
            return (self.constant,)
        context = RenderContext(self.template.environment, facts, locale, budget)
        try:
            return self._gather(context, budget)
        except SkipMessage:
            raise
        except Exception as error:  # noqa: BLE001  # facts can make any operation fail; the message is dropped, not the batch
            where = f"{self.file}:{self._line(error.__traceback__)}"
            # Not chained: the cause's own words may hold a fact's value.
            raise RenderError(f"{where}: {_words(error)}", hint="declare a default, or mend the fact") from None

    def _gather(self, context: RenderContext, budget: Budget) -> list[str]:
        chunks: list[str] = []
        size = 0
        for chunk in self.template.root_render_func(context):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_OUTPUT_BYTES:
                raise TemplateFault(f"makes more than {MAX_OUTPUT_BYTES} bytes")
        budget.work(len(chunks))  # no more than there are nodes, or passes of a loop paid for (see guards)
        if size > MAX_OUTPUT_BYTES // 4 and len("".join(chunks).encode(errors="replace")) > MAX_OUTPUT_BYTES:
            raise TemplateFault(f"makes more than {MAX_OUTPUT_BYTES} bytes")
        return chunks

    def origin(self, line: int) -> int:
        """The line of the file that a line of this text came from."""
        return _origin(line, self.lines) + self.lines_before

    def _line(self, traceback: TracebackType | None) -> int:
        line = 1
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == _FILENAME:
                line = self.template.get_corresponding_lineno(traceback.tb_lineno)
            traceback = traceback.tb_next
        return self.origin(line)


def _words(error: Exception) -> str:
    match error:
        case TemplateFault():
            return str(error)
        case UndefinedError():
            # Jinja's words end with the name, which stands in the template; what comes before is not for operators.
            name = _UNDEFINED.search(error.message or "")
            return f"{name[1]} has no value" if name else "a name used here has no value"
        case TypeError():
            return "values of kinds that do not go together (is a fact missing, or a text where a number is meant?)"
        case _:
            return f"cannot be rendered ({type(error).__name__})"


def _origin(line: int, lines: Sequence[int]) -> int:
    return lines[min(line, len(lines)) - 1] + 1 if lines else line


def compile_text(
    text: str, file: str, lines_before: int, *, escape: bool = False, lines: Sequence[int] = ()
) -> Program | list[Fault]:
    """A program, or all that is wrong with the text; lines of faults are those of the file. ``escape``: it is HTML."""
    try:
        found, template, constant = _checked(text, escape)
    except TemplateSyntaxError as error:
        return [Fault((error.lineno or 1) + lines_before, error.message or "cannot be read")]
    except (RecursionError, MemoryError, SyntaxError):
        return [Fault(1 + lines_before, "the template is nested too deeply")]
    except ValueError:
        return [Fault(1 + lines_before, "a number in the template is too large")]
    if template is None:
        return [Fault(fault.line + lines_before, fault.message, fault.hint) for fault in found.faults]
    return Program(file, lines_before, found, template, constant, lines)


@lru_cache(maxsize=_REMEMBERED)
def _checked(text: str, escape: bool) -> tuple[Survey, Template | None, str | None]:  # noqa: FBT001
    """A text surveyed and, where nothing is wrong with it, compiled, wherever it stands; and what it always says."""
    environment = _ESCAPING if escape else ENVIRONMENT
    tree = environment.parse(text)
    found = survey(tree)
    if found.faults:
        return found, None, None
    constant = _constant(tree)
    code = environment.compile(rewrite(tree, found, environment), name=None, filename=_FILENAME)
    return found, Template.from_code(environment, code, {}), constant


def _constant(tree: nodes.Template) -> str | None:
    data: list[str] = []
    for node in tree.body:
        if not isinstance(node, nodes.Output) or not all(isinstance(child, nodes.TemplateData) for child in node.nodes):
            return None
        data.extend(child.data for child in node.nodes if isinstance(child, nodes.TemplateData))
    return "".join(data)
