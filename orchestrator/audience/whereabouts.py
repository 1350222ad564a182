"""Where a user is, from what their profile and phone number say. What cannot be understood is counted, never an error.

The rules for a *zone key* are those of the timing room, which this one may not import (a test holds both equal); names
are those of the pinned ``tzdata`` package, never the machine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from orchestrator.errors import InputError

_LONGEST_NUMBER = 40
_LONGEST_MAILBOX = 320


@cache
def zone_names() -> frozenset[str]:
    """Every IANA name; "Factory" means "nobody set a zone"."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()) - {"Factory"}


@cache
def _countries() -> frozenset[str]:
    table = files("tzdata.zoneinfo").joinpath("zone.tab").read_text(encoding="utf-8")
    return frozenset(line.partition("\t")[0] for line in table.splitlines() if not line.startswith("#"))


def known_zone(name: str) -> str | None:
    """An IANA name, or None."""
    return name.strip() if name.strip() in zone_names() else None


def known_country(code: str) -> str | None:
    """An ISO 3166 alpha-2 code that has zones, in capitals, or None."""
    return code.strip().upper() if code.strip().upper() in _countries() else None


def zone_key(zone: str | None, country: str | None) -> str:
    """What is known of somebody's zone: ``Europe/Berlin``, else ``country:DE``, else ``""``."""
    if zone and known_zone(zone):
        return zone.strip()
    code = known_country(country) if country else None
    return f"country:{code}" if code else ""


@cache
def zone(name: str) -> ZoneInfo:
    """A zone with its rules out of the pinned package, whatever the process has told zoneinfo to read.

    Raises:
        InputError: there is no such zone.
    """
    if name not in zone_names():
        raise InputError(f"unknown time zone {name[:64]!r}", hint="give an IANA name such as Europe/Berlin")
    with files("tzdata.zoneinfo").joinpath(name).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=name)


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone number in E.164, with its country where it has one."""

    value: str
    country: str | None


@lru_cache(maxsize=4096)
def phone(text: str, region: str | None = None) -> Phone:
    """A phone number however it is written; ``region`` says whose national numbers are meant.

    Raises:
        InputError: it is not a number; the error does not repeat it.
    """
    try:
        number = phonenumbers.parse(text.strip()[: _LONGEST_NUMBER + 1], region)
    except phonenumbers.NumberParseException as error:
        raise InputError(_WHY_NO_NUMBER.get(error.error_type, "is not a phone number")) from None
    possible = phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
    if len(text.strip()) > _LONGEST_NUMBER or not possible:
        raise InputError("is not a phone number: it has too few or too many digits")
    country = phonenumbers.region_code_for_number(number)
    value = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return Phone(value, known_country(country) if country else None)


@lru_cache(maxsize=4096)
def mailbox(text: str) -> str:
    """A mailbox however it is written, in small letters: whose case matters, nobody can tell from outside.

    Raises:
        InputError: it is none by its syntax (nobody is asked whether it exists); the error does not repeat it.
    """
    if len(text) > _LONGEST_MAILBOX:
        raise InputError("is not a mailbox: it is too long")
    try:
        return validate_email(text.strip(), check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        raise InputError("is not a mailbox") from None


_WHY_NO_NUMBER = {
    phonenumbers.NumberParseException.INVALID_COUNTRY_CODE: (
        "is not a phone number: it has no known country code (write it with +, or map a region)"
    ),
}
