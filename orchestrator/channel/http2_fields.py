"""HPACK, as far as a client needs it that writes the same fields over and over (RFC 7541).

Nothing is Huffman-coded on its way out: in Python that costs more than all the rest of a request. What comes in is read
by ``hpack``; blocks that stand by themselves, which is most of them, take a shorter way to the same fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from orchestrator.channel.http2_frames import Broken, Code
from orchestrator.channel.transport import ANSWER_LIMIT

LARGEST_TABLE: Final = 4096
"""Bytes that a connection's table has unless the other side wants less: more is never of use to us."""
_STATIC: Final = ((b"", b""), *HeaderTable.STATIC_TABLE)  # from 1 on
_STATIC_SIZE: Final = len(_STATIC) - 1
_STATIC_FIELDS: Final = {0x80 + index: (n.decode(), v.decode()) for index, (n, v) in enumerate(_STATIC) if index}
_STATIC_NAMES: Final = {index: name.decode() for index, (name, _) in enumerate(_STATIC) if index}
_FIELDS: Final = {field: index for index, field in enumerate(_STATIC) if index}
_NAMES: Final = {name: index for index, (name, _) in reversed(tuple(enumerate(_STATIC))) if index}
_ENTRY: Final = 32  # bytes that an entry counts for besides its name and value (§4.1)

_INDEXED, _ADDED, _RESIZED, _NEVER, _BY_ITSELF = 0x80, 0x40, 0x20, 0x10, 0x00
_SHORT: Final = 0x7F  # a length from here on takes more than a byte
_HUFFMAN: Final = 0x80
_LARGE: Final = 1024  # a byte swells to 60 at most: what is no longer is within ``hpack``'s limit
_NAME = re.compile(r":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_CONTROL = re.compile(r"[\0\r\n]")


class Shared(NamedTuple):
    """A field that the connection's table is to remember."""

    name: bytes
    value: bytes


Field = bytes | Shared
"""Bytes: a field that is the same on every connection, as it is written."""
Fields = Sequence[Field]
"""The pseudo-header fields first, names in lower case."""
Read = list[tuple[str, str]]


def secret(name: str, value: str) -> Field:
    """A field that no table of the connection remembers, here or at any proxy (§7.1.3)."""
    text = value.encode("ascii")
    return b"%b%b%b" % (_secret_name(name), _integer(len(text), 7), text)


@lru_cache(256)
def plain(name: str, value: str) -> Field:
    """A field that is much the same in every request: sent once, referred to from then on."""
    field = Shared(name.encode("ascii"), value.encode("ascii"))
    index = _FIELDS.get(field)
    return field if index is None else _integer(index, 7, _INDEXED)


@lru_cache(1024)
def literal(name: str, value: str) -> Field:
    """A field that differs from request to request: it is not worth a place in the table."""
    return _literal(Shared(name.encode("ascii"), value.encode("ascii")), _BY_ITSELF, 4)


def size_of(fields: Fields) -> int:
    """Bytes that these take of a table, where they are for it."""
    return sum(len(each.name) + len(each.value) + _ENTRY for each in fields if isinstance(each, Shared))


class Writer:
    """Writes the fields of one connection's requests, and knows what the other side remembers of them.

    Its table is filled once and never turned over: what finds no room is written out each time. So an entry's index
    changes only when another one is added.
    """

    def __init__(self) -> None:
        self._size = self._room = LARGEST_TABLE
        self._resized = b""
        self._entries: list[Shared] = []
        self._indexed: dict[Field, bytes] = {}

    def resize(self, size: int) -> None:
        """The other side's table may have ``size`` bytes from now on. What it remembers is forgotten first (§4.2)."""
        size = min(size, LARGEST_TABLE)
        if size != self._size:
            self._size = self._room = size
            self._resized = _integer(0, 5, _RESIZED) + _integer(size, 5, _RESIZED)
            self._entries.clear()
            self._indexed.clear()

    def write(self, fields: Fields) -> bytes:
        """A block of fields, to be sent before the next one is written."""
        begin, self._resized = self._resized, b""
        known = self._indexed
        return begin + b"".join(
            [each if type(each) is bytes else known.get(each) or self._new(each) for each in fields]
        )

    def _new(self, field: Field) -> bytes:
        assert isinstance(field, Shared)
        size = size_of((field,))
        if size > self._room:
            return _literal(field, _BY_ITSELF, 4)
        self._room -= size
        self._entries.insert(0, field)
        for index, each in enumerate(self._entries, 1):  # in place: the block that is being written goes on with it
            self._indexed[each] = _integer(_STATIC_SIZE + index, 7, _INDEXED)
        return _literal(field, _ADDED, 6)


class Reader:
    """Reads the fields of one connection's answers.

    We ask for no table (HEADER_TABLE_SIZE is 0), so that every block stands by itself. A server that uses one until it
    has heard of that, or for ever, is understood as well.
    """

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=ANSWER_LIMIT)

    def read(self, block: bytes) -> Read:
        """The fields of a whole block, in their order.

        Raises:
            Broken: they cannot be read, so nothing that follows on this connection can; or they are too many.
        """
        try:
            tableless = self._decoder.header_table_size == 0
            return _standing_alone(block, tableless=tableless) or self._within_the_connection(block)
        except OversizedHeaderListError:
            raise Broken(Code.ENHANCE_YOUR_CALM) from None
        except HPACKError:
            raise Broken(Code.COMPRESSION_ERROR) from None

    def _within_the_connection(self, block: bytes) -> Read:
        return [(_decoded(name), _decoded(value)) for name, value in self._decoder.decode(block, raw=True)]


def well_formed(fields: Read) -> bool:
    """Whether these may be an answer's: ``:status`` first and alone of its kind, names in lower case, no line ends."""
    names = tuple([name for name, _ in fields])
    return _names_fit(names) and _CONTROL.search("".join([value for _, value in fields])) is None


@lru_cache(256)
def _names_fit(names: Iterable[str]) -> bool:
    first, *others = names or ("",)
    return first == ":status" and all(_NAME.fullmatch(name) and name[0] != ":" for name in others)


def _standing_alone(block: bytes, *, tableless: bool) -> Read | None:
    """The fields of a block that neither refers to the connection's table nor changes it.

    None for every other block, and for whatever is long, odd or cut off: ``hpack`` judges that.
    """
    if len(block) > _LARGE:
        return None
    fields: Read = []
    at, largest = 0, _INDEXED if tableless else _RESIZED
    try:
        while at < len(block):
            first = block[at]
            if first >= _INDEXED:
                fields.append(_STATIC_FIELDS[first])
                at += 1
            elif first >= largest or _ADDED > first >= _RESIZED:
                return None
            else:
                name, at = _name(block, at)
                value, at = _string(block, at)
                fields.append((name, value))
    except LookupError:
        return None
    return fields


def _name(block: bytes, at: int) -> tuple[str, int]:
    first = block[at]
    most = _ADDED - 1 if first >= _ADDED else _NEVER - 1
    index = first & most
    if not index:
        return _string(block, at + 1)
    if index == most:
        index += block[at + 1]
        at += 1
    return _STATIC_NAMES[index], at + 1


def _string(block: bytes, at: int) -> tuple[str, int]:
    after = at + 1 + (block[at] & _SHORT)
    block[after - 1]  # is there
    if after == at + 1 + _SHORT:
        raise LookupError
    return _text(block[at:after]), after


@lru_cache(1024)  # names, and values like a server's name and the date: the same in answer after answer
def _text(string: bytes) -> str:
    """A string with its length before it."""
    return _decoded(decode_huffman(string[1:]) if string[0] & _HUFFMAN else string[1:])


def _decoded(text: bytes) -> str:
    return bytes(text).decode("latin-1")


def _literal(field: Shared, kind: int, prefix: int) -> bytes:
    index = _NAMES.get(field.name, 0)
    name = b"" if index else _integer(len(field.name), 7) + field.name
    return b"%b%b%b%b" % (_integer(index, prefix, kind), name, _integer(len(field.value), 7), field.value)


@lru_cache(256)
def _secret_name(name: str) -> bytes:
    text = name.encode("ascii")
    index = _NAMES.get(text, 0)
    return _integer(index, 4, _NEVER) + (b"" if index else _integer(len(text), 7) + text)


@lru_cache(1024)
def _integer(number: int, prefix: int, kind: int = 0) -> bytes:
    """A number whose first bits share a byte with what kind it is of (§5.1)."""
    most = (1 << prefix) - 1
    if number < most:
        return bytes((kind | number,))
    written, number = [kind | most], number - most
    while number > _SHORT:
        written.append(number & _SHORT | 0x80)
        number >>= 7
    return bytes((*written, number))
