"""The guards put around what a surveyed template says, before it is compiled.

* a fact that is printed, joined or filtered must be there and not be blank; tests may see what they like
* texts joined with ``~`` have a bounded length; a loop goes over a list and pays for every pass
* what is compared is charged by its size; ``skip("reason")`` becomes the filter that leaves the template
"""

from __future__ import annotations

from typing import Final

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer

from orchestrator.content.survey import ALONE, ROOTS, Survey, path_of, skip_reason

PRESENT: Final = "(present)"
CONCAT: Final = "(concat)"
EACH: Final = "(each)"
OPERAND: Final = "(operand)"
SKIP: Final = "(skip)"
"""Names no template can write."""


def rewrite(tree: nodes.Template, found: Survey, environment: Environment) -> nodes.Template:
    """The guarded tree; the one given is used up."""
    guarded: nodes.Template = _Guards(found).visit(tree)
    guarded.set_environment(environment)
    return guarded


def _guard(name: str, node: nodes.Expr, *args: nodes.Expr) -> nodes.Filter:
    guard = nodes.Filter(node, name, list(args), [], None, None)
    return guard.set_lineno(node.lineno)  # type: ignore[return-value]


class _Guards(NodeTransformer):
    """Visits statements and conditions as they are; :meth:`value` is for what ends up in the text."""

    def __init__(self, found: Survey) -> None:
        # A name that is both assigned and looped over may be blank on purpose.
        self._strict = {*ROOTS, *ALONE, *(found.looped - found.assigned)}

    def value(self, node: nodes.Expr) -> nodes.Expr:
        """An expression whose result becomes text."""
        path = path_of(node)
        if path is not None and path[0] in self._strict:
            return _guard(PRESENT, node, nodes.Const(".".join(path)))
        match node:
            case nodes.Filter(node=nodes.Expr() as subject) if node.name != "default":
                node.node = self.value(subject)
                self._arguments(node)
                return node
            case nodes.CondExpr(expr2=nodes.Expr() as other):
                node.test = self.visit(node.test)
                node.expr1, node.expr2 = self.value(node.expr1), self.value(other)
                return node
            case _:
                visited: nodes.Expr = self.visit(node)
                return visited

    def _arguments(self, node: nodes.Filter) -> None:
        node.args = [self.value(argument) for argument in node.args]
        for pair in node.kwargs:
            pair.value = self.value(pair.value)

    def visit_Output(self, node: nodes.Output) -> nodes.Output:  # noqa: N802
        node.nodes = [self.value(child) for child in node.nodes]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        head, *tail = [self.value(child) for child in node.nodes]
        return _guard(CONCAT, head, *tail)

    def visit_Call(self, node: nodes.Call) -> nodes.Filter:  # noqa: N802
        reason = nodes.Const(skip_reason(node))
        reason.set_lineno(node.lineno)
        return _guard(SKIP, reason)

    def visit_Operand(self, node: nodes.Operand) -> nodes.Operand:  # noqa: N802
        node.expr = _guard(OPERAND, self.visit(node.expr), nodes.Const(node.op in {"in", "notin"}))
        return node

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        size = sum(1 for statement in node.body for _ in statement.find_all(nodes.Node)) + 1
        node.iter = _guard(EACH, self.visit(node.iter), nodes.Const(size))
        node.body = [self.visit(child) for child in node.body]
        node.else_ = [self.visit(child) for child in node.else_]
        return node
