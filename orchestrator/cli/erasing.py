"""``orchestrator erase``: a person who asked for it is forgotten."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from orchestrator.audience.erasing import known_of
from orchestrator.cli.context import Context
from orchestrator.errors import InputError

STAYS = (
    "What stays: members, messages and receipts of past runs with their figures, under a number that is nobody's; and "
    "as hashes that cannot be read back, what the person had refused, so that an old export does not bring them back."
)
TO_DO = (
    "What is left to you: backups (erase again after a restore), side files of imports (*.rejected.csv), exports, "
    "`seeds` and `only_to` in settings and campaigns, texts that operators wrote about suppressions, links with the "
    "person's id, the providers' own records, and the app's next import. Logs hold no addresses."
)
_WORDS = {
    "users": "users: the profile, and each other name",
    "addresses": "addresses, with their history",
    "events": "events",
    "consents": "consents, with their history",
    "suppressions": "suppressions, with their history",
    "inbox_items": "items of the app's inbox",
}


def erase(
    user: Annotated[str, typer.Argument(help="The app's own id of the user, under any of their names.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Erase a person (GDPR, PIPL): who they were, how to reach them and what they did. There is no way back."""
    context = Context.load()
    if not yes:
        _ask(context, user, silent=as_json)
    done = context.act("erase", user=user, actor=context.actor)
    if as_json:
        context.print_json(done)
        return
    _tell(context, "Erased:", done)
    words = f"{done['messages']:,} messages that waited will not be sent (erased)\n" if done["messages"] else ""
    kept = f"{done['opt_outs']:,} opt-outs kept as hashes, {done['touches']:,} opens and clicks kept as nobody's"
    context.console.print(f"{words}{kept}\n\n{STAYS}\n\n{TO_DO}", highlight=False, markup=False)


def _ask(context: Context, user: str, *, silent: bool) -> None:
    """Show what is about to go, and have somebody confirm it.

    Raises:
        InputError: nobody is there to ask.
    """
    if silent or not _watched():
        raise InputError("erasing somebody cannot be undone", hint="say --yes if that is meant")
    with context.reader() as store, store.read() as connection:
        known = known_of(connection, user)
    _tell(context, "About to be erased for good:", known)
    sent = f"{known['messages_sent']:,} messages that were sent stay in the figures as nobody's"
    context.console.print(sent, highlight=False, markup=False)
    typer.confirm("Erase this person?", abort=True)


def _watched() -> bool:
    return sys.stdin.isatty()


def _tell(context: Context, title: str, counts: dict[str, int]) -> None:
    lines = [f"{counts[name]:>7,}  {words}" for name, words in _WORDS.items()]
    context.console.print("\n".join([title, *lines]), highlight=False, markup=False)
