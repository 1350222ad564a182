"""Every command is documented with its arguments and options, and none that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from orchestrator.audience.mapping import MODELS, CsvMapping
from orchestrator.cli.app import app
from tests.docs.pages import documented, page, rows, section

COMMANDS = page("reference/commands.md")


def walk(command: Any, path: str = "orchestrator") -> Iterator[tuple[str, Any]]:
    """The commands at the ends of the tree; click's classes differ between releases of typer, so none is named."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from walk(inner, f"{path} {name}")
    if not getattr(command, "commands", {}):
        yield path, command


TREE = dict(walk(typer.main.get_command(app)))


def words(command: Any) -> set[str]:
    """What may be given to a command, as it is written; hidden options are not."""
    found: set[str] = set()
    for param in command.params:
        if param.param_type_name == "argument":
            found.add(re.sub(r"\W+", "", param.metavar or param.name.upper()))
        elif not param.hidden and param.name not in {"help", "install_completion", "show_completion"}:
            found |= {*param.opts, *param.secondary_opts}
    return found


@pytest.mark.parametrize("path", TREE)
def test_every_command_is_documented_with_all_that_may_be_given(path: str) -> None:
    told = section(COMMANDS, f"### `{path}`")
    named = {word for cells in rows(told) for word in re.findall(r"`([^`]+)`", cells[0])}
    assert named == words(TREE[path])
    assert len(told.split()) > 5


def test_no_command_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"^### `([^`]+)`$", COMMANDS, re.MULTILINE)) == set(TREE)


def test_every_field_of_mapping_files_is_documented() -> None:
    table = documented(section(COMMANDS, "## Mapping files"))
    assert set(CsvMapping.model_fields) <= set(table)
    for kind, model in MODELS.items():
        columns = model.model_fields["columns"].annotation
        assert columns is not None
        assert re.findall(r"`(\w+)`", table[kind]) == list(columns.model_fields)
