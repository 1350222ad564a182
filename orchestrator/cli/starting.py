"""``orchestrator init``: a new project folder that works: settings, a commented campaign, two small files of data."""

from __future__ import annotations

import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.errors import InputError

app = typer.Typer()

RENAMED = {"gitignore": ".gitignore"}
"""Files that would act on our own repository under their real names."""


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder, or an empty one.")]) -> None:
    """Make a new project folder with a commented campaign."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file", hint="give the name of a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: nothing is overwritten", hint="give the name of a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _copy(files("orchestrator.cli") / "starter", folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}", hint="choose another folder") from None
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"[bold]{folder}[/] is ready. What to do next stands in its README.md (English) and README.zh.md (中文):"
    )
    console.print(f"\n  cd {folder}\n  orchestrator validate\n  cat README.md", markup=False)


def _copy(source: Traversable, target: Path) -> None:
    for entry in sorted(source.iterdir(), key=lambda each: each.name):
        place = target / RENAMED.get(entry.name, entry.name)
        if entry.is_dir():
            place.mkdir()
            _copy(entry, place)
        else:
            with place.open("xb") as file:
                file.write(entry.read_bytes())
                os.fchmod(file.fileno(), 0o644)
