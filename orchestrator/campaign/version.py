"""A campaign as launched: one canonical JSON text with its segments and templates, stored under its sha256.

Workers render from it alone, on any machine. Only content counts: comments, the order of fields and the layout of a
file do not change the hash; a word in a template or a number in a segment does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text

from orchestrator.campaign.document import Document
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.spec import Campaign
from orchestrator.clock import to_micros
from orchestrator.errors import NotFoundError, OrchestratorError
from orchestrator.store.tables import version

FORMAT = 1
KEPT = 512
"""Versions that a process keeps at hand: a worker goes round all that run, and what it goes round has to fit."""
_INSERT = text(  # both databases say it alike; two launches at once store one row
    "INSERT INTO version (hash, campaign, body, created_at) VALUES (:hash, :campaign, :body, :created_at)"
    " ON CONFLICT (hash) DO NOTHING"
)
_bundles: dict[str, Bundle] = {}
"""Versions already read, by hash. What a hash names never changes, so nothing here goes stale."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything a campaign needs to run: itself, the raw definition, segments and templates by name and path."""

    campaign: Campaign
    definition: Mapping[str, Any]
    segments: Mapping[str, Mapping[str, Any]]
    templates: Mapping[str, str]


def to_json(bundle: Bundle) -> str:
    """The canonical text: sorted keys, no spaces, UTF-8 as it is."""
    body = {
        "format": FORMAT,
        "definition": bundle.definition,
        "segments": bundle.segments,
        "templates": bundle.templates,
    }
    return json.dumps(body, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_json(stored: str) -> Bundle:
    """The bundle of a canonical text, through the same parser as the files.

    Raises:
        ConfigError: this release does not take that definition any more.
    """
    body = json.loads(stored)
    if body["format"] != FORMAT:
        raise OrchestratorError(
            f"this version was stored in format {body['format']}, and this release reads {FORMAT}",
            hint="upgrade the orchestrator on this machine, or launch the campaign again",
        )
    definition = body["definition"]
    document = Document(f"the launched version of {definition.get('name', '?')}", definition)
    return Bundle(parse_campaign(document), definition, body["segments"], body["templates"])


def hash_of(bundle: Bundle) -> str:
    """The version's name: sha256 of its canonical text, in hex."""
    return _digest(to_json(bundle))


def save_version(connection: Connection, bundle: Bundle, now: datetime) -> str:
    """Store a bundle unless it is there already; its hash either way."""
    body = to_json(bundle)
    digest = _digest(body)
    row = {"hash": digest, "campaign": bundle.campaign.name, "body": body, "created_at": to_micros(now)}
    connection.execute(_INSERT, row)
    return digest


def read_bundle(connection: Connection, digest: str) -> Bundle:
    """The bundle stored under a hash. Cheap after the first time.

    Raises:
        NotFoundError: there is no such version.
        OrchestratorError: the stored text is not what the hash says.
    """
    bundle = _bundles.get(digest)
    if bundle is None:
        bundle = _read(connection, digest)
        while len(_bundles) >= KEPT:
            _bundles.pop(next(iter(_bundles)), None)
        _bundles[digest] = bundle
    return bundle


def about(connection: Connection, digest: str) -> tuple[str, Mapping[str, str]]:
    """What a version's messages are about: its topic and its titles.

    Of a version that this release does not take any more too, without titles: unsubscribing has to work for ever.

    Raises:
        NotFoundError: there is no such version.
    """
    try:
        campaign = read_bundle(connection, digest).campaign
    except NotFoundError:
        raise
    except OrchestratorError:
        body = json.loads(connection.execute(select(version.c.body).where(version.c.hash == digest)).scalar_one())
        return str(body["definition"]["topic"]), {}
    return campaign.topic, campaign.title


def forget_versions() -> None:
    """Read every version afresh from now on."""
    _bundles.clear()


def _read(connection: Connection, digest: str) -> Bundle:
    body = connection.execute(select(version.c.body).where(version.c.hash == digest)).scalar()
    if body is None:
        raise NotFoundError(f"there is no version {digest[:12]}", hint="launch the campaign to store one")
    if _digest(body) != digest:
        raise OrchestratorError(
            f"the stored version {digest[:12]} has been changed",
            hint="restore the database, or launch the campaign again",
        )
    return from_json(body)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
