"""HTTP/2: frames as they should not be end a stream or the connection, in whatever pieces they come."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import pytest
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.channel.http2_frames import (
    Broken,
    Code,
    Flag,
    Incoming,
    Kind,
    Setting,
    frame,
    number_frame,
    settings_frame,
)
from orchestrator.channel.http2_session import Session
from orchestrator.channel.http2_stream import BROKEN
from orchestrator.channel.transport import ANSWER_LIMIT, Answer, NoAnswer
from tests.channel.http2_talk import END, GREETING, OK, Talk, answer, fields, resets

# Answers that are none: the stream ends, and is reset; the connection goes on.


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(Kind.DATA, Flag.END_STREAM, 1, b"early")], Code.PROTOCOL_ERROR),
        ([frame(Kind.HEADERS, END, 1, Encoder().encode([("a", "b")]))], Code.PROTOCOL_ERROR),
        ([frame(Kind.HEADERS, END, 1, fields((":status", "200")))], Code.PROTOCOL_ERROR),
        ([frame(Kind.HEADERS, END, 1, fields(("a", "b\r\nc: d")))], Code.PROTOCOL_ERROR),
        ([frame(Kind.HEADERS, END, 1, fields(status=101))], Code.PROTOCOL_ERROR),
        ([frame(Kind.HEADERS, END, 1, fields(status=100))], Code.PROTOCOL_ERROR),
        ([frame(Kind.HEADERS, END, 1, fields(status=20))], Code.PROTOCOL_ERROR),
        ([frame(Kind.HEADERS, END, 1, b"")], Code.PROTOCOL_ERROR),
        ([number_frame(Kind.WINDOW_UPDATE, 1, 0)], Code.PROTOCOL_ERROR),
        ([number_frame(Kind.WINDOW_UPDATE, 1, 0x7FFF_FFFF)], Code.FLOW_CONTROL_ERROR),
    ],
)
def test_a_malformed_answer_ends_its_stream_alone(frames: list[bytes], code: Code) -> None:
    talk = Talk(2)
    talk.hears(*frames)
    assert talk.found == [BROKEN, None]
    assert resets(talk.said()) == [(1, code)]
    talk.hears(frame(Kind.HEADERS, END, 3, OK))
    assert talk.found[1] == Answer(200, {}, b"", whole=True)


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ([frame(Kind.HEADERS, Flag.END_HEADERS, 1, OK)], Code.PROTOCOL_ERROR),  # trailers that are not the end
        ([frame(Kind.DATA, Flag.END_STREAM, 1, b"shor")], Code.PROTOCOL_ERROR),
        ([frame(Kind.DATA, Flag.END_STREAM, 1, b"too long")], Code.PROTOCOL_ERROR),
        ([frame(Kind.DATA, 0, 1, b"x" * 16384)] * 5, Code.CANCEL),
        ([frame(Kind.DATA, Flag.PADDED, 1, b"\xff" + b"\0" * 255)] * 513, Code.FLOW_CONTROL_ERROR),
        ([number_frame(Kind.WINDOW_UPDATE, 1, 0)], Code.PROTOCOL_ERROR),
    ],
)
def test_a_status_is_an_answer_whatever_comes_behind_it(rest: list[bytes], code: Code) -> None:
    talk = Talk()
    talk.hears(frame(Kind.HEADERS, Flag.END_HEADERS, 1, fields(("content-length", "5"), status=403)), *rest)
    found = answer(talk)
    assert (found.status, found.whole) == (403, False)
    assert len(found.body) <= ANSWER_LIMIT
    assert resets(talk.said()) == [(1, code)]


# What ends the connection.


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], Code.FRAME_SIZE_ERROR),
        ([bytes((0, 0x40, 1, Kind.DATA, 0, 0, 0, 0, 1))], Code.FRAME_SIZE_ERROR),  # a byte more than we allow
        ([frame(Kind.DATA, 0, 0, b"x")], Code.PROTOCOL_ERROR),
        ([frame(Kind.DATA, Flag.PADDED, 1, b"")], Code.FRAME_SIZE_ERROR),
        ([frame(Kind.HEADERS, Flag.END_HEADERS, 0, OK)], Code.PROTOCOL_ERROR),
        ([frame(Kind.HEADERS, Flag.END_HEADERS, 3, OK)], Code.PROTOCOL_ERROR),  # a stream that nobody has opened
        ([frame(Kind.HEADERS, Flag.END_HEADERS, 2, OK)], Code.PROTOCOL_ERROR),
        ([frame(Kind.HEADERS, END | Flag.PADDED, 1, b"\x05" + OK)], Code.PROTOCOL_ERROR),
        ([frame(Kind.HEADERS, END | Flag.PRIORITY, 1, b"\0\0")], Code.PROTOCOL_ERROR),
        ([frame(Kind.HEADERS, END, 1, b"\xff")], Code.COMPRESSION_ERROR),
        ([frame(Kind.HEADERS, END, 1, b"\xbe")], Code.COMPRESSION_ERROR),  # an entry that is not there
        ([frame(Kind.HEADERS, END, 1, b"\x00\x01a\x81\x00")], Code.COMPRESSION_ERROR),  # Huffman coding broken off
        ([frame(Kind.CONTINUATION, Flag.END_HEADERS, 1, OK)], Code.PROTOCOL_ERROR),
        ([number_frame(Kind.RST_STREAM, 0, 0)], Code.PROTOCOL_ERROR),
        ([number_frame(Kind.RST_STREAM, 5, 0)], Code.PROTOCOL_ERROR),
        ([frame(Kind.RST_STREAM, 0, 1, b"\0")], Code.FRAME_SIZE_ERROR),
        ([frame(Kind.SETTINGS, 0, 1)], Code.PROTOCOL_ERROR),
        ([frame(Kind.SETTINGS, 0, 0, b"\0\x03\0")], Code.FRAME_SIZE_ERROR),
        ([frame(Kind.SETTINGS, Flag.ACK, 0, b"\0" * 6)], Code.FRAME_SIZE_ERROR),
        ([settings_frame({Setting.ENABLE_PUSH: 1})], Code.PROTOCOL_ERROR),
        ([settings_frame({Setting.MAX_FRAME_SIZE: 16383})], Code.PROTOCOL_ERROR),
        ([settings_frame({Setting.MAX_FRAME_SIZE: 1 << 24})], Code.PROTOCOL_ERROR),
        ([settings_frame({Setting.INITIAL_WINDOW_SIZE: 1 << 31})], Code.FLOW_CONTROL_ERROR),
        (
            [number_frame(Kind.WINDOW_UPDATE, 1, 1 << 30), settings_frame({Setting.INITIAL_WINDOW_SIZE: 3 << 29})],
            Code.FLOW_CONTROL_ERROR,
        ),
        ([frame(Kind.PUSH_PROMISE, Flag.END_HEADERS, 1, b"\0\0\0\x02" + OK)], Code.PROTOCOL_ERROR),
        ([frame(Kind.PING, 0, 0, b"seven..")], Code.FRAME_SIZE_ERROR),
        ([frame(Kind.PING, 0, 1, b"8 bytes.")], Code.PROTOCOL_ERROR),
        ([frame(Kind.GOAWAY, 0, 0, b"\0" * 7)], Code.FRAME_SIZE_ERROR),
        ([frame(Kind.GOAWAY, 0, 1, b"\0" * 8)], Code.PROTOCOL_ERROR),
        ([frame(Kind.WINDOW_UPDATE, 0, 0, b"\0\0\1")], Code.FRAME_SIZE_ERROR),
        ([number_frame(Kind.WINDOW_UPDATE, 0, 0)], Code.PROTOCOL_ERROR),
        ([number_frame(Kind.WINDOW_UPDATE, 0, 0x7FFF_FFFF)], Code.FLOW_CONTROL_ERROR),
        ([number_frame(Kind.WINDOW_UPDATE, 7, 1)], Code.PROTOCOL_ERROR),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(frames: list[bytes], code: Code) -> None:
    talk = Talk()
    with pytest.raises(Broken) as broken:
        talk.hears(*frames)
    assert broken.value.code is code


@pytest.mark.parametrize(
    "between",
    [
        frame(Kind.DATA, 0, 1, b"x"),
        frame(Kind.PING, 0, 0, b"8 bytes."),
        frame(Kind.HEADERS, END, 1, OK),
        frame(Kind.CONTINUATION, Flag.END_HEADERS, 3, OK),
        bytes((0, 0, 0, 0xFA, 0, 0, 0, 0, 0)),
    ],
)
def test_nothing_may_stand_between_the_pieces_of_a_head(between: bytes) -> None:
    talk = Talk(2)
    with pytest.raises(Broken) as broken:
        talk.hears(frame(Kind.HEADERS, 0, 1, OK), between)
    assert broken.value.code is Code.PROTOCOL_ERROR


@pytest.mark.parametrize("piece", [b"", b"\0" * 16384])
def test_a_head_that_never_ends_is_given_up(piece: bytes) -> None:
    talk = Talk()
    with pytest.raises(Broken) as broken:
        talk.hears(frame(Kind.HEADERS, 0, 1, OK), *[frame(Kind.CONTINUATION, 0, 1, piece)] * 70)
    assert broken.value.code is Code.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("asks", [frame(Kind.PING, 0, 0, b"8 bytes."), settings_frame({})])
def test_who_asks_without_end_and_does_not_read_is_left(asks: bytes) -> None:
    talk = Talk()
    for _ in range(5):
        talk.hears(*[asks] * 400)
        assert [flags for _, flags, *_ in talk.said()] == [Flag.ACK] * 400
    with pytest.raises(Broken) as broken:
        talk.hears(*[asks] * 1001)
    assert broken.value.code is Code.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    "first", [frame(Kind.PING, 0, 0, b"8 bytes."), number_frame(Kind.WINDOW_UPDATE, 0, 1), b"\0\0\0\xfa\0\0\0\0\0"]
)
def test_a_server_begins_with_its_settings(first: bytes) -> None:
    with pytest.raises(Broken) as broken:
        Session().receive(first)
    assert broken.value.code is Code.PROTOCOL_ERROR


# In whatever pieces.

PIECES = st.one_of(
    st.sampled_from(
        [
            GREETING,
            settings_frame({Setting.INITIAL_WINDOW_SIZE: 3}),
            settings_frame({Setting.HEADER_TABLE_SIZE: 0}),
            frame(Kind.PING, 0, 0, b"12345678"),
            frame(Kind.GOAWAY, 0, 0, b"\0\0\0\x03\0\0\0\0why"),
            number_frame(Kind.WINDOW_UPDATE, 0, 10),
            number_frame(Kind.WINDOW_UPDATE, 1, 10),
            number_frame(Kind.RST_STREAM, 3, Code.REFUSED_STREAM),
            frame(Kind.HEADERS, END, 1, OK),
            frame(Kind.HEADERS, Flag.END_HEADERS, 3, fields(("a", "b"))),
            frame(Kind.HEADERS, 0, 5, OK) + frame(Kind.CONTINUATION, Flag.END_HEADERS, 5, b""),
            frame(Kind.HEADERS, 0, 5, OK),
            frame(Kind.DATA, 0, 3, b"some"),
            frame(Kind.DATA, Flag.PADDED | Flag.END_STREAM, 3, b"\x02more\0\0"),
            b"\0\0\x02\xfa\0\0\0\0\0??",
        ]
    ),
    st.builds(frame, st.sampled_from(Kind), st.integers(0, 255), st.integers(0, 7), st.binary(max_size=10)),
)


def outcome(pieces: Sequence[bytes]) -> object:
    """All that can be known of a talk after it: each stream, all that was said, and how it broke."""
    talk, code, said = Talk(3, b"x" * 30_000), None, b""
    try:
        for piece in pieces:
            talk.hears(piece)
    except Broken as broken:
        code = broken.code
    said = talk.session.take()
    parts = [(each.status, bytes(each.body), each.window, each.rest) for each in talk.streams]
    return talk.found, parts, code, sorted(Incoming().frames(said)), talk.session.farewell


@settings(max_examples=200, deadline=None)
@given(frames=st.lists(PIECES, max_size=12), cuts=st.lists(st.integers(0, 200), max_size=10))
def test_bytes_mean_the_same_however_they_are_cut(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frames)
    at = [0, *sorted(min(each, len(data)) for each in cuts), len(data)]
    whole = outcome([data])
    assert outcome([data[a:b] for a, b in pairwise(at)]) == whole
    assert outcome([data[n : n + 1] for n in range(len(data))]) == whole


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_nonsense_never_raises_anything_else(data: bytes) -> None:
    talk = Talk(2)
    with suppress(Broken):
        talk.hears(data)
    assert all(isinstance(each, Answer | NoAnswer | None) for each in talk.found)
