"""``orchestrator sms count``: what a text message will be billed as."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from orchestrator.content.sms import SmsCount, count, foreign

app = typer.Typer(help="Text messages.", no_args_is_help=True)
_SHOWN = 10


@app.callback()
def _group() -> None:
    """Text messages."""


@app.command("count")
def count_text(
    text: Annotated[str, typer.Argument(help="The text as it will be sent; - reads it from standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for machines.")] = False,
) -> None:
    """Count the parts a text is billed as, signature and opt-out words included."""
    given = _standard_input() if text == "-" else text
    counted = count(given)
    if as_json:
        typer.echo(json.dumps(asdict(counted)))
        return
    Console(soft_wrap=True).print(_sentence(given, counted))


def _standard_input() -> str:
    try:
        read = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"standard input is not UTF-8 text (byte {error.start})") from None
    # The one line end that echo or an editor put there is not part of the message.
    return read.removesuffix("\n").removesuffix("\r")


def _sentence(text: str, counted: SmsCount) -> Text:
    if not counted.parts:
        return Text("Nothing to send: the text is empty.", style="yellow")
    kind = "septets" if counted.encoding == "GSM-7" else "code units"
    line = Text.assemble(
        (
            f"{counted.parts} part{'s' if counted.parts > 1 else ''}",
            "bold green" if counted.parts == 1 else "bold yellow",
        ),
        f" · {counted.encoding} · {counted.units} {kind}",
    )
    outside = foreign(text) if counted.encoding == "UCS-2" else []
    if outside:
        shown = " ".join(repr(char) for char in outside[:_SHOWN]) + (" …" if len(outside) > _SHOWN else "")
        line.append(f" · outside the SMS alphabet: {shown}")
    return line
