"""GOAWAY, taken out of the stream of frames before ``h2`` sees it (RFC 9113 §4.1, §6.8).

``h2`` closes a connection at the first GOAWAY: an answer that comes after it, to a stream that the server said it would
still process, would be an error. So it never hears of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
from h2.exceptions import FrameTooLargeError

_HEAD = 9
_TYPE = 3
_GOAWAY = 7
_FIXED = 8  # last stream and error code
_LARGEST = 1 << 14  # we allow no larger ones
_STREAM_BITS = 0x7FFF_FFFF
_WORD = re.compile(r"[A-Za-z0-9]{1,64}")


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


def split_goaways(data: bytes) -> tuple[bytes, list[bytes | Farewell]]:
    """What is left of an unfinished frame, and whole frames in their order, with each GOAWAY apart.

    Raises:
        FrameTooLargeError: what comes is larger than what we allow, or no HTTP/2.
    """
    found: list[bytes | Farewell] = []
    start = 0  # of the frames that are passed on together
    end = 0
    for begin, end in _frames(data):
        if data[begin + _TYPE] == _GOAWAY and end - begin >= _HEAD + _FIXED:
            if begin > start:
                found.append(data[start:begin])
            found.append(_farewell(data[begin + _HEAD : end]))
            start = end
    if end > start:
        found.append(data[start:end])
    return data[end:], found


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each whole frame begins and ends."""
    begin = 0
    while len(data) - begin >= _HEAD:
        size = int.from_bytes(data[begin : begin + 3])
        if size > _LARGEST:  # or no frame at all; ``h2`` would wait for its end
            raise FrameTooLargeError(f"a frame of {size} bytes")
        end = begin + _HEAD + size
        if end > len(data):
            return
        yield begin, end
        begin = end


def _farewell(payload: bytes) -> Farewell:
    last = int.from_bytes(payload[:4]) & _STREAM_BITS
    return Farewell(last, int.from_bytes(payload[4:_FIXED]), payload[_FIXED:][:1000])
