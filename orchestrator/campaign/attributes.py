"""The file that declares attributes, beside the campaigns."""

from __future__ import annotations

from pathlib import Path

from orchestrator.audience.attributes import Declared, read_declarations
from orchestrator.campaign.reading import read_document
from orchestrator.errors import ConfigError

FILE = "attributes.yaml"


def declared_in(campaigns: Path) -> dict[str, Declared]:
    """The attributes that ``campaigns/attributes.yaml`` declares; none when there is no such file.

    Raises:
        ConfigError: with all that is wrong in it.
    """
    path = campaigns / FILE
    if not path.is_file():
        return {}
    document = read_document(path)
    if document.problems:
        raise ConfigError(document.problems)
    return read_declarations(document)
