"""HTTP/2 without a socket: answers, farewells and flow control; what we write is judged by others."""

from __future__ import annotations

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from hpack import Encoder
from hyperframe.frame import Frame as Judged
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.channel.http2_fields import plain, secret
from orchestrator.channel.http2_frames import (
    PREFACE,
    Code,
    Flag,
    Kind,
    Setting,
    frame,
    number_frame,
    settings_frame,
)
from orchestrator.channel.http2_session import Session
from orchestrator.channel.http2_stream import REFUSED
from orchestrator.channel.transport import Answer
from tests.channel.http2_talk import END, FIELDS, GREETING, OK, Talk, answer, fields

# Answers.


def test_an_answer_of_a_head_alone() -> None:
    talk = Talk()
    talk.hears(frame(Kind.HEADERS, END, 1, fields(("apns-id", "x"))))
    assert answer(talk) == Answer(200, {"apns-id": "x"}, b"", whole=True)
    assert talk.said() == []


def test_padding_and_priority_are_left_out() -> None:
    talk = Talk()
    head = fields(status=400)
    priority = b"\0\0\0\0\x10"
    talk.hears(
        frame(Kind.HEADERS, Flag.END_HEADERS | Flag.PADDED | Flag.PRIORITY, 1, b"\x07" + priority + head + b"\0" * 7),
        frame(Kind.DATA, Flag.PADDED, 1, b"\x03ab\0\0\0"),
        frame(Kind.DATA, Flag.PADDED, 1, b"\x02\0\0"),
        frame(Kind.DATA, Flag.END_STREAM, 1, b"cd"),
    )
    assert answer(talk) == Answer(400, {}, b"abcd", whole=True)


def test_a_head_in_pieces() -> None:
    talk = Talk()
    head = fields(("apns-id", "x" * 50))
    pieces = [head[:1], b"", head[1:20], head[20:]]
    talk.hears(
        frame(Kind.HEADERS, Flag.END_STREAM, 1, pieces[0]),
        *(frame(Kind.CONTINUATION, 0, 1, each) for each in pieces[1:-1]),
        frame(Kind.CONTINUATION, Flag.END_HEADERS, 1, pieces[-1]),
    )
    assert answer(talk).headers == {"apns-id": "x" * 50}


def test_provisional_answers_and_trailers_are_passed_over() -> None:
    talk = Talk()
    talk.hears(
        frame(Kind.HEADERS, Flag.END_HEADERS, 1, fields(("link", "x"), status=103)),
        frame(Kind.HEADERS, Flag.END_HEADERS, 1, fields(("a", "b"))),
        frame(Kind.DATA, 0, 1, b"body"),
        frame(Kind.HEADERS, END, 1, Encoder().encode([("c", "d")])),
    )
    assert answer(talk) == Answer(200, {"a": "b"}, b"body", whole=True)


def test_unknown_frames_settings_and_flags_are_passed_over() -> None:
    talk = Talk()
    talk.hears(
        bytes((0, 0, 4, 0xFA, 0xFF, 0, 0, 0, 9)) + b"what",
        frame(Kind.PRIORITY, 0, 9, b"\0\0\0\0\x10"),
        b"\0\0\x06\x04\0\0\0\0\0" + b"\xfa\xfa\0\0\0\x09",
        frame(Kind.HEADERS, END | 0xD2, 1, OK),
    )
    assert answer(talk).status == 200


def test_what_comes_after_the_end_of_a_stream_is_passed_over() -> None:
    talk = Talk()
    talk.hears(frame(Kind.HEADERS, END, 1, OK))
    talk.hears(
        frame(Kind.DATA, Flag.END_STREAM, 1, b"more"),
        frame(Kind.HEADERS, END, 1, fields(status=500)),
        number_frame(Kind.RST_STREAM, 1, Code.NO_ERROR),
        number_frame(Kind.WINDOW_UPDATE, 1, 0),
    )
    assert answer(talk) == Answer(200, {}, b"", whole=True)
    assert talk.said() == []


def test_the_table_is_kept_even_by_answers_that_nobody_waits_for() -> None:
    talk, encoder = Talk(2), Encoder()
    assert talk.session.drop(talk.streams[0])
    talk.hears(frame(Kind.HEADERS, END, 1, encoder.encode([(":status", "200"), ("apns-id", "x")])))
    talk.hears(frame(Kind.HEADERS, END, 3, encoder.encode([(":status", "200"), ("apns-id", "x")])))
    assert talk.found == [None, Answer(200, {"apns-id": "x"}, b"", whole=True)]


def test_before_its_settings_it_takes_no_streams() -> None:
    session = Session()
    assert session.most_streams == 0
    session.receive(settings_frame({Setting.MAX_CONCURRENT_STREAMS: 0}))
    assert session.most_streams == 0
    session.receive(settings_frame({Setting.MAX_CONCURRENT_STREAMS: 7}))
    assert session.most_streams == 7
    unlimited = Session()
    unlimited.receive(GREETING)
    assert unlimited.most_streams > 1000


# Pings and farewells.


def test_pings_are_answered_and_our_own_waits_for_its_own_answer() -> None:
    talk = Talk()
    talk.hears(frame(Kind.PING, 0, 0, b"12345678"))
    assert talk.said() == [(Kind.PING, Flag.ACK, 0, b"12345678")]
    talk.session.ask()
    ((kind, flags, number, payload),) = talk.said()
    assert (kind, flags, number) == (Kind.PING, 0, 0)
    talk.hears(frame(Kind.PING, Flag.ACK, 0, b"12345678"))
    assert talk.session.asking
    talk.hears(frame(Kind.PING, Flag.ACK, 0, payload))
    assert not talk.session.asking


def test_a_farewell_tells_streams_apart_and_what_it_leaves_goes_on() -> None:
    talk = Talk(3)
    talk.hears(frame(Kind.GOAWAY, 0, 0, b"\x80\0\0\x03\0\0\0\0" + b'{"reason":"Shutdown"}'))  # with the reserved bit
    assert talk.found == [None, None, REFUSED]
    assert talk.session.farewell is not None
    assert talk.session.farewell.reason == "Shutdown"
    talk.hears(frame(Kind.HEADERS, END, 3, OK), frame(Kind.GOAWAY, 0, 0, b"\0" * 8))
    assert talk.found == [REFUSED, Answer(200, {}, b"", whole=True), REFUSED]


# Flow control, ours and theirs.


def test_no_more_is_sent_than_the_windows_let_out() -> None:
    talk = Talk(0, greeting=settings_frame({Setting.INITIAL_WINDOW_SIZE: 10}))

    def sent() -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for kind, _, number, payload in talk.said():
            if kind == Kind.DATA:
                found[number] = found.get(number, b"") + payload
        return found

    one, two = talk.begin(b"a" * 30), talk.begin(b"b" * 5)
    assert sent() == {1: b"a" * 10, 3: b"b" * 5}
    talk.hears(number_frame(Kind.WINDOW_UPDATE, one.number, 5))
    assert sent() == {1: b"a" * 5}
    talk.hears(settings_frame({Setting.INITIAL_WINDOW_SIZE: 4}))  # six less: it is six in debt now
    assert one.window == -6
    talk.hears(number_frame(Kind.WINDOW_UPDATE, one.number, 6))
    assert sent() == {}
    talk.hears(number_frame(Kind.WINDOW_UPDATE, one.number, 100))
    assert sent() == {1: b"a" * 15}
    assert talk.session.drop(one)
    assert talk.session.drop(two)


def test_the_connections_window_holds_for_all_streams_together() -> None:
    talk = Talk(0, greeting=settings_frame({Setting.INITIAL_WINDOW_SIZE: 1 << 20}))
    streams = [talk.begin(bytes([65 + n]) * 30_000) for n in range(4)]
    data = [each for each in talk.said() if each[0] == Kind.DATA]
    assert sum(len(payload) for *_, payload in data) == 65_535
    assert max(len(payload) for *_, payload in data) <= 16_384
    talk.hears(number_frame(Kind.WINDOW_UPDATE, 0, 1 << 20))
    data += [each for each in talk.said() if each[0] == Kind.DATA]
    for stream in streams:
        own = [each for each in data if each[2] == stream.number]
        assert b"".join(payload for *_, payload in own) == bytes([64 + (stream.number + 1) // 2]) * 30_000
        assert [flags for _, flags, *_ in own] == [0] * (len(own) - 1) + [Flag.END_STREAM]


def test_what_was_given_up_is_not_sent_when_the_window_opens() -> None:
    talk = Talk(2, b"x" * 40_000)
    talk.session.drop(talk.streams[1])
    talk.said()
    talk.hears(number_frame(Kind.WINDOW_UPDATE, 0, 1 << 20))
    assert {number for _, _, number, _ in talk.said()} <= {1}


def test_the_window_that_answers_use_up_is_given_back() -> None:
    """A server by the book (``h2``) sends far more than one window's worth over one connection."""
    talk = Talk(0, greeting=b"")
    server = H2Connection(H2Configuration(client_side=False))
    server.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 100})
    server.initiate_connection()
    server.receive_data(talk.opening)
    talk.hears(server.data_to_send())
    for _ in range(60):
        stream = talk.begin(b"")
        server.receive_data(talk.session.take())
        server.send_headers(stream.number, [(":status", "200")])
        for n in range(4):
            server.send_data(stream.number, b"x" * 15_000, end_stream=n == 3)
        talk.hears(server.data_to_send())
        assert stream.done.result() == Answer(200, {}, b"x" * 60_000, whole=True)


# What we write, judged by others.


def test_a_head_too_large_for_a_frame_is_sent_in_pieces() -> None:
    talk = Talk(0)
    talk.begin(b"body", (*FIELDS, secret("x-long", "v" * 40_000)))
    said = talk.said()
    assert [(kind, flags) for kind, flags, *_ in said] == [
        (Kind.HEADERS, 0),
        (Kind.CONTINUATION, 0),
        (Kind.CONTINUATION, Flag.END_HEADERS),
        (Kind.DATA, Flag.END_STREAM),
    ]
    assert max(len(payload) for *_, payload in said) <= 16_384


@settings(max_examples=50, deadline=None)
@given(
    bodies=st.lists(st.integers(0, 40_000), min_size=1, max_size=5),
    tables=st.lists(st.sampled_from([0, 50, 4096, 65536]), max_size=5),
    topics=st.lists(st.sampled_from("abc"), min_size=5, max_size=5),
)
def test_a_server_by_the_book_reads_what_we_write(bodies: list[int], tables: list[int], topics: list[str]) -> None:
    talk = Talk(0, greeting=b"")
    server = H2Connection(H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(talk.opening)
    talk.hears(server.data_to_send())
    heads, read = {}, dict.fromkeys(range(1, 2 * len(bodies), 2), 0)
    for n, size in enumerate(bodies):
        topic = topics[n] * 30
        stream = talk.begin(b"x" * size, (*FIELDS, plain("apns-topic", topic), secret("apns-id", str(n))))
        for event in server.receive_data(talk.session.take()):
            if isinstance(event, events.RequestReceived):
                heads[event.stream_id] = dict(event.headers)
            elif isinstance(event, events.DataReceived):
                assert event.stream_id is not None
                read[event.stream_id] += len(event.data or b"")
                server.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        if n < len(tables):
            server.update_settings({SettingCodes.HEADER_TABLE_SIZE: tables[n]})
        talk.hears(server.data_to_send())
        assert heads[stream.number][b"apns-topic"] == topic.encode()
        assert heads[stream.number][b"apns-id"] == str(n).encode()
        talk.streams.append(stream)
    for event in server.receive_data(talk.session.take()):
        assert isinstance(event, events.DataReceived | events.StreamEnded | events.SettingsAcknowledged)
        if isinstance(event, events.DataReceived):
            read[event.stream_id or 0] += len(event.data or b"")
    assert list(read.values()) == bodies


def test_every_frame_we_write_is_one_to_another_library() -> None:
    talk = Talk(0)
    talk.begin(b"x" * 20_000)
    talk.session.ask()
    talk.session.leave(Code.CANCEL)
    talk.session.drop(next(iter(talk.session.streams.values())))
    data = talk.opening.removeprefix(PREFACE) + talk.session.take()
    kinds = []
    while data:
        one, size = Judged.parse_frame_header(memoryview(data[:9]))
        one.parse_body(memoryview(data[9 : 9 + size]))
        kinds.append(type(one).__name__.removesuffix("Frame"))
        data = data[9 + size :]
    assert kinds == [
        "Settings", "WindowUpdate", "Headers", "Data", "Data", "Ping", "GoAway", "RstStream",
    ]  # fmt: skip
