"""The confirmation mail of double opt-in: the built-in one in English and Chinese, or the deployment's own.

``templates/_confirm/email.en.j2`` and the like stand in the place of the built-in mail, all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from orchestrator.channel.base import EmailPayload
from orchestrator.content.files import read_folder
from orchestrator.content.source import CONFIRMATION
from orchestrator.content.survey import CONFIRM_URL
from orchestrator.content.templates import TemplateSet
from orchestrator.errors import ConfigError, Problem, RenderError

KNOWN = ("user.id", "user.name", "user.locale", "user.country")
_BUILT_IN = Path(__file__).with_name("confirmation")


def confirmation_mail(templates: Path) -> TemplateSet:
    """The mail's templates.

    Raises:
        ConfigError: the deployment's own cannot be used.
    """
    if not (templates / CONFIRMATION).is_dir():
        return _built_in()
    own = TemplateSet(read_folder(templates, CONFIRMATION), root=str(templates))
    problems = own.problems(KNOWN)
    if not problems and (gone := own.missing(CONFIRMATION, "email")):
        problems = [Problem(str(templates / CONFIRMATION), 0, "", *gone)]
    if problems:
        raise ConfigError(problems)
    return own


def check_confirmation(templates: Path) -> Sequence[Problem]:
    """What is wrong with the deployment's own mail, if it has one."""
    try:
        confirmation_mail(templates)
    except ConfigError as error:
        return error.problems
    return ()


def confirmation(mail: TemplateSet, user: dict[str, object], topic: tuple[str, str], link: str) -> EmailPayload:
    """The mail to one person; ``topic`` is its name, and what it is called.

    Raises:
        RenderError: it cannot be composed.
        SkipMessage: the template decided against it.
    """
    facts = {"user": user, "campaign": {"name": topic[0], "title": topic[1]}, CONFIRM_URL: link}
    made = mail.render(CONFIRMATION, "email", str(user["locale"] or ""), facts)
    if not isinstance(made, EmailPayload):
        raise RenderError(f"{CONFIRMATION} is no mail")
    return made


@cache
def _built_in() -> TemplateSet:
    files = {f"{CONFIRMATION}/{path.name}": path.read_text(encoding="utf-8") for path in _BUILT_IN.glob("*.j2")}
    return TemplateSet(files)
