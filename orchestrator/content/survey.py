"""What a template may contain, found on its syntax tree before anything of it is compiled.

An allow-list: a node without a rule here is refused. It has to come first, because Jinja folds constants while it
compiles: ``{% if 0 %}{{ 'a'|center(500000000) }}{% endif %}`` costs ten seconds and two gigabytes, unrun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from jinja2 import nodes

from orchestrator.content.budget import MAX_NUMBER
from orchestrator.content.filters import FILTERS, LOCALISED, SIGNATURES, TESTS
from orchestrator.errors import did_you_mean

ROOTS: Final = ("user", "campaign", "trigger")
ADDRESSES: Final = ("unsubscribe_url", "preferences_url")
"""Facts that stand alone: the message's own links, made when it is composed."""
CONFIRM_URL: Final = "confirm_url"
"""The link of a confirmation mail, and of no other message."""
ALONE: Final = (*ADDRESSES, CONFIRM_URL)
LOOP_WORDS: Final = frozenset({"index", "index0", "revindex", "first", "last", "length"})
_RESERVED: Final = frozenset({*ROOTS, *ALONE, "skip", "loop", "self", "super", "caller", "varargs", "kwargs"})
_MAX_NODES = 4000
_MAX_DEPTH = 40
_MAX_LOOPS = 2
_MAX_REASON = 200

_REFUSED: Final = {
    "AssignBlock": "write {% set name = ... %}",
    "Block": "templates do not inherit",
    "CallBlock": "templates have no macros",
    "Dict": "mappings come from facts alone",
    "Extends": "templates do not inherit",
    "FilterBlock": "put the filter behind each value: {{ value|upper }}",
    "FromImport": "a template stands alone",
    "Import": "a template stands alone",
    "Include": "a template stands alone",
    "Macro": "templates have no macros",
    "Mod": "'%' is not available; is it a test you want: {% if n is even %}?",
    "Pow": "'**' is not available",
    "Slice": "use truncate, first or last",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something to mend, on a line of the text that was surveyed."""

    line: int
    message: str
    hint: str = ""


@dataclass(slots=True)
class Survey:
    """What was found. ``facts``: each dotted fact with its first line; ``required``: those without a stand-in."""

    faults: list[Fault] = field(default_factory=list)
    facts: dict[str, int] = field(default_factory=dict)
    required: dict[str, int] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    looped: set[str] = field(default_factory=set)
    used: dict[str, int] = field(default_factory=dict)

    def fault(self, node: nodes.Node, message: str, hint: str = "") -> None:
        """Refuse a node."""
        self.faults.append(Fault(node.lineno or 1, message, hint))

    def fact(self, node: nodes.Node, path: tuple[str, ...], *, optional: bool) -> None:
        """Note the use of a fact, or of a part of a local name."""
        if path[0] not in (*ROOTS, *ALONE):
            if path[0] != "loop":
                self.used.setdefault(path[0], node.lineno or 1)
            return
        dotted = ".".join(path)
        self.facts.setdefault(dotted, node.lineno or 1)
        if not optional:
            self.required.setdefault(dotted, node.lineno or 1)


def survey(tree: nodes.Template) -> Survey:
    """Everything that is wrong with a template, and what it uses."""
    found = Survey()
    stack: list[tuple[nodes.Node, int, int]] = [(tree, 0, 0)]
    seen = 0
    while stack:
        node, depth, loops = stack.pop()
        seen += 1
        loops += isinstance(node, nodes.For)
        if complaint := _too_much(seen, depth, loops):
            found.fault(node, complaint)
            break
        inner = list(_children(node, found))
        stack.extend((child, depth + 1, loops) for child in reversed(inner))
    _unknown_names(found)
    found.faults.sort(key=lambda fault: fault.line)
    return found


def path_of(node: nodes.Node | None) -> tuple[str, ...] | None:
    """``("user", "name")`` of ``user.name`` or ``user["name"]``; None of anything else."""
    parts: list[str] = []
    while True:
        match node:
            case nodes.Getattr():
                parts.append(node.attr)
                node = node.node
            case nodes.Getitem(arg=nodes.Const(value=str() | int() as key)):
                parts.append(str(key))
                node = node.node
            case nodes.Name():
                return (node.name, *reversed(parts))
            case _:
                return None


def _too_much(seen: int, depth: int, loops: int) -> str:
    if seen > _MAX_NODES:
        return "the template has too many expressions"
    if depth > _MAX_DEPTH:
        return "the template is nested too deeply"
    return "loops may be nested twice, no deeper" if loops > _MAX_LOOPS else ""


def _children(node: nodes.Node, found: Survey) -> Iterable[nodes.Node]:
    rule = _RULES.get(type(node))
    if rule is None:
        word = type(node).__name__
        found.fault(node, f"{word.lower()} is not allowed in a template", _REFUSED.get(word, ""))
        return ()
    return rule(node, found)


def _unknown_names(found: Survey) -> None:
    local = found.assigned | found.looped
    for name, line in found.used.items():
        if name not in local:
            candidates = {**{f"{root}.{name}": "" for root in ROOTS}, **dict.fromkeys(local | {*ROOTS, *ADDRESSES}, "")}
            found.faults.append(Fault(line, f"unknown name {name!r}", did_you_mean(name, candidates)))


# Rules: each complains where it must, and yields what is to be looked at next.


def _plain(node: nodes.Node, _found: Survey) -> Iterator[nodes.Node]:
    return node.iter_child_nodes()


def _path(node: nodes.Node, found: Survey, *, optional: bool = False) -> Iterable[nodes.Node]:
    path = path_of(node)
    if path is None:
        return _on_value(node, found)
    if any(part.startswith("_") for part in path):
        found.fault(node, "names that begin with '_' are not available")
    elif path[0] == "loop":
        if len(path) != 2 or path[1] not in LOOP_WORDS:  # noqa: PLR2004  # loop.index
            hint = did_you_mean(f"loop.{path[-1]}", [f"loop.{word}" for word in LOOP_WORDS])
            found.fault(node, "loop is only used as loop.index and the like", hint)
    elif path[0] in ROOTS and len(path) == 1:
        found.fault(node, f"{path[0]} is not a text", f"name one fact of it: {path[0]}.name")
    elif path[0] in ALONE and len(path) > 1:
        found.fault(node, f"{path[0]} has no parts")
    elif path[0] == "skip":
        found.fault(node, "skip is called with a reason", 'write {{ skip("reason") }}')
    else:
        found.fact(node, path, optional=optional)
    return ()


def _on_value(node: nodes.Node, found: Survey) -> Iterable[nodes.Node]:
    match node:
        case nodes.Getattr(attr=str() as attr) if not attr.startswith("_"):
            return (node.node,)
        case nodes.Getitem(arg=nodes.Const(value=int())):
            return (node.node,)
        case _:
            found.fault(node, "only a fixed name or number may stand behind a value", "write user.address.city")
            return ()


def _const(node: nodes.Const, found: Survey) -> Iterable[nodes.Node]:
    value = node.value
    if isinstance(value, int | float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        found.fault(node, "this number is too large")
    return ()


def _for(node: nodes.For, found: Survey) -> Iterable[nodes.Node]:
    if node.recursive:
        found.fault(node, "a loop may not call itself")
    if node.test is not None:
        found.fault(node, "a loop has no condition", "put {% if ... %} inside it")
    _bind(node.target, found, found.looped)
    return (node.iter, *node.body, *node.else_)


def _assign(node: nodes.Assign, found: Survey) -> Iterable[nodes.Node]:
    _bind(node.target, found, found.assigned)
    return (node.node,)


def _bind(target: nodes.Node, found: Survey, names: set[str]) -> None:
    if not isinstance(target, nodes.Name):
        found.fault(target, "one plain name at a time")
    elif target.name in _RESERVED or target.name.startswith("_"):
        found.fault(target, f"{target.name!r} cannot be used as a name of your own")
    else:
        names.add(target.name)


def _filter(node: nodes.Filter, found: Survey) -> Iterable[nodes.Node]:
    if node.name not in FILTERS:
        found.fault(node, f"unknown filter {node.name!r}", did_you_mean(node.name, FILTERS))
        return ()
    if node.dyn_args is not None or node.dyn_kwargs is not None or node.node is None:
        found.fault(node, "a filter's arguments are written out")
        return ()
    given: dict[str, Any] = {str(pair.key): pair.value for pair in node.kwargs}
    extra = {"locale": ""} if node.name in LOCALISED else {}
    try:
        SIGNATURES[node.name].bind(node.node, *node.args, **given, **extra)
    except TypeError as error:
        found.fault(node, f"filter {node.name}: {error}")
    return (*_subject(node.node, found, optional=node.name == "default"), *node.args, *given.values())


def _test(node: nodes.Test, found: Survey) -> Iterable[nodes.Node]:
    if node.name not in TESTS or node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
        found.fault(node, f"unknown test {node.name!r}", did_you_mean(node.name, TESTS))
        return ()
    return _subject(node.node, found, optional=node.name in {"defined", "undefined"})


def _subject(node: nodes.Expr, found: Survey, *, optional: bool) -> Iterable[nodes.Node]:
    if optional and path_of(node) is not None:
        return _path(node, found, optional=True)
    return (node,)


def _call(node: nodes.Call, found: Survey) -> Iterable[nodes.Node]:
    if not (isinstance(node.node, nodes.Name) and node.node.name == "skip"):
        found.fault(node, "only skip can be called", "values are changed with filters: {{ user.name|upper }}")
    elif skip_reason(node) is None:
        found.fault(node, f"skip takes one text of at most {_MAX_REASON} characters", 'write {{ skip("reason") }}')
    return ()


def skip_reason(node: nodes.Call) -> str | None:
    """The reason of ``skip("reason")``; None when it is not written as one plain text."""
    match node.args:
        case [nodes.Const(value=str() as reason)] if not (node.kwargs or node.dyn_args or node.dyn_kwargs):
            return reason.strip() if 0 < len(reason.strip()) <= _MAX_REASON else None
        case _:
            return None


def _arithmetic(node: nodes.BinExpr, found: Survey) -> Iterable[nodes.Node]:
    for side in (node.left, node.right):
        match side:
            case nodes.Const(value=bool()) | nodes.List() | nodes.Tuple() | nodes.Concat():
                found.fault(node, f"{node.operator!r} is for numbers", "texts are joined with ~")
            case nodes.Const(value=value) if not isinstance(value, int | float):
                found.fault(node, f"{node.operator!r} is for numbers", "texts are joined with ~")
            case _:
                pass
    return (node.left, node.right)


def _condition(node: nodes.CondExpr, found: Survey) -> Iterable[nodes.Node]:
    if node.expr2 is None:
        found.fault(node, "an 'if' inside {{ }} needs its 'else'")
        return (node.test, node.expr1)
    return (node.test, node.expr1, node.expr2)


_Rule = Callable[[Any, Survey], Iterable[nodes.Node]]
_RULES: Final[dict[type[nodes.Node], _Rule]] = {
    **dict.fromkeys(
        (
            nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.Compare, nodes.Operand, nodes.And,
            nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Concat, nodes.List, nodes.Tuple,
        ),
        _plain,
    ),
    **dict.fromkeys((nodes.Name, nodes.Getattr, nodes.Getitem), _path),
    **dict.fromkeys((nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv), _arithmetic),
    nodes.Const: _const,
    nodes.For: _for,
    nodes.Assign: _assign,
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.Call: _call,
    nodes.CondExpr: _condition,
}  # fmt: skip
