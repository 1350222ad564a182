"""HTTP/2's frames: their nine bytes of head, what stands in them, and what is wrong with them (RFC 9113 §4, §6, §7)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

import orjson

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SMALLEST_LIMIT: Final = 1 << 14
"""Bytes in a frame that everybody takes; we neither allow nor write larger ones."""
LAST_STREAM: Final = 0x7FFF_FFFF
LARGEST_WINDOW: Final = 0x7FFF_FFFF
FIRST_WINDOW: Final = 65_535
"""What a connection and each of its streams may carry until something else is agreed on."""

_HEAD = Struct(">HBBBL")  # 24 bits of size, type, flags, stream
_HEAD_SIZE = 9
_SETTING = Struct(">HL")
_FAREWELL = Struct(">LL")
_PRIORITY_SIZE = 5
_WORD = re.compile(r"[A-Za-z0-9]{1,64}")


class Kind(IntEnum):
    """Types of frames. A type that is not here is passed over (§5.5)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag:
    """Flags, as plain numbers: an enumeration's ``&`` costs ten times theirs. ACK and END_STREAM share a bit."""

    ACK: Final = 0x1
    END_STREAM: Final = 0x1
    END_HEADERS: Final = 0x4
    PADDED: Final = 0x8
    PRIORITY: Final = 0x20


class Setting(IntEnum):
    """Settings that we read or write. Another one is passed over (§6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    FLOW_CONTROL_ERROR = 3
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Broken(Exception):  # noqa: N818  # what it says of a connection
    """The other side does not keep to the protocol: the connection ends, with ``code``."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


@dataclass(frozen=True, slots=True)
class Farewell:
    """A GOAWAY: streams above ``last_stream`` were not and will not be processed. ``debug``: free text."""

    last_stream: int
    code: int
    debug: bytes

    @property
    def reason(self) -> str:
        """What APNs writes as ``{"reason": …}``; empty when it is not there."""
        try:
            read = orjson.loads(self.debug)
        except orjson.JSONDecodeError:
            return ""
        reason = read.get("reason") if isinstance(read, dict) else None
        return reason if isinstance(reason, str) and _WORD.fullmatch(reason) else ""


Frame = tuple[int, int, int, bytes]
"""Type, flags, stream, payload."""


class Incoming:
    """Bytes as they come, cut into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def frames(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now. To be read to its end.

        Raises:
            Broken: a frame is larger than what we allow; so is nearly everything that is no HTTP/2.
        """
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        while end - at >= _HEAD_SIZE:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            size = high << 8 | low
            if size > SMALLEST_LIMIT:
                raise Broken(Code.FRAME_SIZE_ERROR)
            after = at + _HEAD_SIZE + size
            if after > end:
                break
            yield kind, flags, stream & LAST_STREAM, data[at + _HEAD_SIZE : after]
            at = after
        self._rest = data[at:]


def frame(kind: Kind, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame to write."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings_frame(values: dict[Setting, int]) -> bytes:
    """Our settings."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in values.items()))


def number_frame(kind: Kind, stream: int, number: int) -> bytes:
    """A frame that carries one number: RST_STREAM its code, WINDOW_UPDATE an increment."""
    return frame(kind, 0, stream, number.to_bytes(4))


def goaway_frame(code: Code) -> bytes:
    """Our farewell. The server opens no streams, so the last one of them is none."""
    return frame(Kind.GOAWAY, 0, 0, _FAREWELL.pack(0, code))


def unpadded(flags: int, payload: bytes) -> bytes:
    """What stands between the length of the padding and the padding, priority left out.

    Raises:
        Broken: there is more padding than payload, or no room for the priority.
    """
    begin, end = 0, len(payload)
    if flags & Flag.PADDED:
        if not payload:
            raise Broken(Code.FRAME_SIZE_ERROR)
        begin, end = 1, end - payload[0]
    if flags & Flag.PRIORITY:
        begin += _PRIORITY_SIZE
    if begin > end:
        raise Broken(Code.PROTOCOL_ERROR)
    return payload[begin:end]


def number_in(payload: bytes) -> int:
    """What :func:`number_frame` wrote, without its reserved bit where it is an increment.

    Raises:
        Broken: it is no four bytes.
    """
    if len(payload) != 4:  # noqa: PLR2004
        raise Broken(Code.FRAME_SIZE_ERROR)
    return int.from_bytes(payload)


def settings_in(payload: bytes) -> Iterator[tuple[int, int]]:
    """Settings by their number, in their order.

    Raises:
        Broken: they do not come out even.
    """
    if len(payload) % _SETTING.size:
        raise Broken(Code.FRAME_SIZE_ERROR)
    return _SETTING.iter_unpack(payload)


def farewell_in(payload: bytes) -> Farewell:
    """A GOAWAY.

    Raises:
        Broken: it is too short to be one.
    """
    if len(payload) < _FAREWELL.size:
        raise Broken(Code.FRAME_SIZE_ERROR)
    last, code = _FAREWELL.unpack_from(payload)
    return Farewell(last & LAST_STREAM, code, payload[_FAREWELL.size :][:1000])
