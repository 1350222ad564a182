"""Templates written to break out or to break the machine: refused, or bounded in time and memory (promise P16)."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest
from typing_extensions import override

from orchestrator.content.budget import Budget
from orchestrator.content.program import Program, compile_text
from orchestrator.errors import RenderError

LONG = "x" * 8000
FACTS: dict[str, Any] = {
    "user": {
        "name": "Anna",
        "text": LONG,
        "items": [LONG] * 500,
        "numbers": list(range(500)),
        "big": 10**15,
        "huge": 10**5000,
        "nested": [[[1] * 100] * 100] * 100,
    },
    "campaign": {"name": "c", "title": "t"},
}
MEGABYTES = 2**20

REFUSED = [
    # promises §4
    "{{ 'a'*500000000 }}",
    "{{ 'a'|center(500000000) }}",
    "{% if 0 %}{{ 'a'|center(500000000) }}{% endif %}",
    "{{ '%300000000d'|format(1) }}",
    "{{ '{:300000000}'.format(1) }}",
    "{{ '%300000000d' % 1 }}",
    "{{ 2**40000000 }}",
    "{{ [1]*50000000 }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{{ user.text|wordwrap(1) }}",
    "{{ user.name|attr('format') }}",
    "{{ user.name|attr('__class__') }}",
    "{{ user.name.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ user['__class__'] }}",
    "{{ user.name.format(1) }}",
    "{{ user.delete() }}",
    "{{ cycler('a').__init__.__globals__ }}",
    "{{ cycler('a', 'b') }}",
    "{{ lipsum(n=100000) }}",
    "{{ joiner(',') }}",
    "{{ namespace(a=1) }}",
    "{{ dict(a=1) }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ loop }}",
    "{{ loop.cycle('a') }}",
    "{{ user.name|map('upper') }}",
    "{{ user.numbers|sum }}",
    "{{ user|tojson }}",
    "{{ user|pprint }}",
    "{{ user.text|indent(100000) }}",
    "{{ user.name[0:5] }}",
    "{{ user[user.name] }}",
    "{{ user }}",
    "{{ user.name if true }}",
    # statements
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block a %}{% endblock %}",
    "{% call f() %}{% endcall %}",
    "{% filter upper %}a{% endfilter %}",
    "{% set a %}b{% endset %}",
    "{% set a.b = 1 %}",
    "{% set a, b = 1, 2 %}",
    "{% set user = 1 %}",
    "{% set _x = 1 %}",
    "{% set skip = 1 %}",
    "{% autoescape true %}a{% endautoescape %}",
    "{% with a = 1 %}{{ a }}{% endwith %}",
    "{% do user.items.append(1) %}",
    "{% for a in user.items recursive %}{{ loop(a) }}{% endfor %}",
    "{% for a in user.items if a %}x{% endfor %}",
    "{% for user in user.items %}x{% endfor %}",
    "{% for a in user.items %}{% for b in user.items %}{% for c in user.items %}x{% endfor %}{% endfor %}{% endfor %}",
    # calls of skip that are none
    "{{ skip }}",
    "{{ skip() }}",
    "{{ skip(user.name) }}",
    "{{ skip('a' ~ user.name) }}",
    "{{ skip('') }}",
    "{{ skip('x', 'y') }}",
    "{{ skip(*['x']) }}",
    "{{ skip('" + "x" * 201 + "') }}",
    # literals and nesting
    "{{ " + "9" * 5000 + " }}",
    "{{ 99999999999999999999 }}",
    "{{ 1e300 }}",
    "{{ {'a': 1} }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "not " * 10000 + "1 }}",
    "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "{{ " + "-" * 9000 + "1 }}",
    "{% if 1 %}" * 3000 + "{% endif %}" * 3000,
    "{{ user.name" + ".a" * 9000 + "|upper }}" + "{{ 1" + "|upper" * 5000 + " }}",
    "{{ 1 }}" * 9000,
    "{{ user.name|upper(*user.items) }}",
    "{{ user.name|truncate }}",
    "{{ user.name|truncate(5, width=6) }}",
    "{{ user.day|date(locale='x') }}",
    "{% if user.name is callable %}{% endif %}",
    "{% if user.name is filter %}{% endif %}",
    "{{ " * 2000,
    "{#" * 30000,
]

BOUNDED = [
    "{% for a in user.numbers %}{% for b in user.numbers %}{{ user.text }}{% endfor %}{% endfor %}",
    (
        "{% for a in user.numbers %}{% for b in user.numbers %}{% if user.text == user.text %}{% endif %}{% endfor %}"
        "{% endfor %}"
    ),
    (
        "{% for a in user.numbers %}{% for b in user.numbers %}{% if 'y' in user.items %}{% endif %}{% endfor %}"
        "{% endfor %}"
    ),
    "{% for a in user.numbers %}{% for b in user.numbers %}{% set x = user.text|upper %}{% endfor %}{% endfor %}",
    "{% for a in user.numbers %}{% for b in user.numbers %}"
    + "{% if a and b and a.x is defined %}{% endif %}" * 300
    + "{% endfor %}{% endfor %}",
    "{% for a in user.numbers %}" + "{% for b in user.numbers %}{% endfor %}" * 900 + "{% endfor %}",
    "{% set a = user.text %}" + "{% set a = a ~ a %}" * 900,
    "{% set a = user.text %}" + "{% set a = a|replace('x', 'xx') %}" * 500,
    "{% set a = user.text %}" + "{% set a = a|upper|lower %}" * 600,
    "{% set a = user.text %}" + "{% set a = a|title %}" * 900,
    "{% set a = user.big %}" + "{% set a = a * a %}" * 900,
    "{{ user.items|join(user.text) }}",
    "{{ user.text|replace('x', user.text) }}",
    "{{ user.text|replace('x', '你')|urlencode }}",
    "{{ user.huge }}",
    "{{ user.huge|round }}",
    "{{ user.nested|join }}",
    "{% if user.nested == user.nested %}{% endif %}",
    "{% if user.nested in [user.nested] %}{% endif %}",
    "{{ user.items }}",
    "{{ user.big|money('USD', 4) * 3 }}",
    "{{ 1|truncate(user.big) * user.big }}",
    "{{ user.name|truncate(3, user.text) }}",
    "{{ user.big|round(6) // 0 }}",
    "{{ user.numbers.append }}",
    "{{ user.name.upper }}",
    "{% for c in user.text %}x{% endfor %}",
    "{% for a in campaign.name %}x{% endfor %}",
]


@pytest.mark.parametrize("source", REFUSED, ids=range(len(REFUSED)))
def test_refused_before_anything_is_compiled(source: str) -> None:
    started = time.thread_time()
    tracemalloc.start()
    faults = compile_text("\n" + source, "t.j2", 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(faults, list), "was let through"
    assert all(fault.line >= 11 and fault.message for fault in faults)
    assert peak < 64 * MEGABYTES
    assert time.thread_time() - started < 5


@pytest.mark.parametrize("source", BOUNDED, ids=range(len(BOUNDED)))
def test_bounded_in_time_and_memory(source: str) -> None:
    program = compile_text(source, "t.j2", 0)
    assert isinstance(program, Program), program
    started = time.thread_time()
    with pytest.raises(RenderError, match=r"^t.j2:1: "):
        program.run(FACTS, "en", Budget())
    assert time.thread_time() - started < 0.25
    tracemalloc.start()
    with pytest.raises(RenderError):
        program.run(FACTS, "en", Budget())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * MEGABYTES


class Tempting:
    """An object of ours that must never be touched by a template."""

    password = "hunter2"

    def __getattr__(self, name: str) -> str:
        pytest.fail("a template reached into an object")

    @override
    def __format__(self, spec: str) -> str:
        pytest.fail("a template printed an object")

    @override
    def __str__(self) -> str:
        return format(self)

    @override
    def __repr__(self) -> str:
        return format(self)


@pytest.mark.parametrize(
    "use", ["user.o", "user.o.password", "user.o|upper", "user.o ~ 'x'", "user.list[0].password", "user.list|join"]
)
def test_an_object_among_the_facts_is_not_touched(use: str) -> None:
    program = compile_text("{{ " + use + " }}", "t.j2", 0)
    assert isinstance(program, Program)
    with pytest.raises(RenderError) as caught:
        program.run({"user": {"o": Tempting(), "list": [Tempting()]}}, "en", Budget())
    assert "hunter2" not in str(caught.value)
