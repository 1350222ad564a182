"""HPACK: what we write is what ``hpack`` reads, what ``hpack`` writes is what we read, and nothing secret is kept."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.channel.http2_fields import Field, Reader, Shared, Writer, plain, secret, well_formed
from orchestrator.channel.http2_frames import Broken, Code
from orchestrator.channel.transport import ANSWER_LIMIT

NAMES = st.sampled_from([":authority", ":path", ":method", "authorization", "apns-topic", "apns-id", "x" * 200])
VALUES = st.one_of(
    st.sampled_from(["", "POST", "/", "10", "v" * 126, "v" * 127, "v" * 300]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
)
FIELD = st.tuples(NAMES, VALUES, st.booleans())


def judged(decoder: Decoder, block: bytes) -> list[tuple[str, str]]:
    fields = decoder.decode(block, raw=True)
    return [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in fields]


STEP = st.one_of(st.lists(FIELD, min_size=1, max_size=8), st.integers(0, 9000))


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=12))
@example([[("x" * 200, "v" * 300, True)] * 3, 0, [("x" * 200, "v" * 300, True)] * 2, 4096, [("a", "b", True)]])
@example([[("x" * 200, str(n), True) for n in range(30)] * 2])  # the table is full
def test_what_is_written_is_read_whatever_the_size_of_the_table(steps: list[list[tuple[str, str, bool]] | int]) -> None:
    """A number: the server allows a table of so many bytes from now on."""
    writer, decoder, allowed = Writer(), Decoder(), 4096
    for step in steps:
        if isinstance(step, int):
            writer.resize(step)
            decoder.max_allowed_table_size = allowed = step
            continue
        block = writer.write([plain(*each[:2]) if each[2] else secret(*each[:2]) for each in step])
        assert judged(decoder, block) == [each[:2] for each in step]
        assert decoder.header_table_size <= min(allowed, 4096)


def test_what_is_shared_is_sent_once_and_what_is_secret_never_kept() -> None:
    writer, decoder = Writer(), Decoder()
    fields: list[Field] = [plain("apns-topic", "com.example.app"), secret("authorization", "bearer abc")]
    first, second = writer.write(fields), writer.write(fields)
    assert b"com.example.app" in first
    assert b"com.example.app" not in second
    for block in (first, second):
        assert b"bearer abc" in block
        topic, token = decoder.decode(block)
        assert not isinstance(topic, NeverIndexedHeaderTuple)
        assert isinstance(token, NeverIndexedHeaderTuple)
    assert [name for name, _ in decoder.header_table.dynamic_entries] == [b"apns-topic"]


def test_what_the_static_table_has_is_one_byte() -> None:
    assert [plain(":method", "POST"), plain(":scheme", "https"), plain(":path", "/")] == [b"\x83", b"\x87", b"\x84"]
    assert isinstance(plain(":path", "/x"), Shared)


def test_a_full_table_is_left_as_it_is() -> None:
    """What finds no room is written out; what is there keeps its place."""
    writer, decoder = Writer(), Decoder()
    for n in range(200):
        topic = plain("apns-topic", f"com.example.app{n}")
        assert judged(decoder, writer.write([topic])) == [("apns-topic", f"com.example.app{n}")]
    assert len(writer.write([plain("apns-topic", "com.example.app0")])) <= 2
    assert len(writer.write([plain("apns-topic", "com.example.app199")])) > 15


ANSWER_NAMES = st.sampled_from([":status", "server", "date", "apns-id", "content-length", "x-odd"])
ANSWER_VALUES = st.one_of(
    st.sampled_from(["200", "404", "0", "e" * 126, "e" * 127, "5b0c2f3e-6c1b-5a2f-9e62-0f4fb8cf23ab"]),
    st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=12),
)
BLOCK = st.lists(st.tuples(ANSWER_NAMES, ANSWER_VALUES, st.booleans()), max_size=8)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(BLOCK, st.booleans()), max_size=8), st.sampled_from([0, 100, 4096]), st.integers(0, 8))
def test_answers_are_read_as_hpack_reads_them(
    blocks: list[tuple[list[tuple[str, str, bool]], bool]], size: int, when: int
) -> None:
    """From a server that gives up its table at once, later, or never; with Huffman coding and without."""
    reader, encoder = Reader(), Encoder()
    for n, (fields, huffman) in enumerate(blocks):
        if n == when:
            encoder.header_table_size = size
        raw = [(name.encode(), value.encode("latin-1"), sensitive) for name, value, sensitive in fields]
        assert reader.read(encoder.encode(raw, huffman=huffman)) == [each[:2] for each in fields]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.binary(max_size=12), max_size=4), st.booleans())
@example([b"\x1f"], True)
@example([b"\x40\x01a\x01b\x80"], True)
@example([b"\x0f\x2f\x00", b"\x7f\x00\x01a"], True)
@example([b"\x00\x81\xff\x01a"], False)  # Huffman-coded, and nothing but padding
def test_any_lengthare_read_as_hpack_reads_them_or_refused(blocks: list[bytes], tableless: bool) -> None:
    reader, judge = Reader(), Decoder()
    for block in [b"\x20"] * tableless + blocks:
        try:
            expected = judged(judge, block)
        except HPACKError:
            with pytest.raises(Broken):
                reader.read(block)
            return
        assert reader.read(block) == expected
        assert reader._decoder.header_table.dynamic_entries == judge.header_table.dynamic_entries


@pytest.mark.parametrize("length", [1024, 1025, 1092, 1093, 4096, 60_000])
def test_what_swells_most_is_read_and_refused_as_hpack_does(length: int) -> None:
    """Each byte is ``accept-encoding: gzip, deflate``, which counts for 60."""
    block, judge = b"\x90" * length, Decoder(max_header_list_size=ANSWER_LIMIT)
    if length * 60 <= ANSWER_LIMIT:
        assert Reader().read(block) == judged(judge, block)
        return
    with pytest.raises(OversizedHeaderListError):
        judge.decode(block)
    with pytest.raises(Broken):
        Reader().read(block)


def test_a_list_of_fields_that_swells_is_refused() -> None:
    """One entry of 4,000 bytes, and a byte for each time it is referred to."""
    reader, encoder = Reader(), Encoder()
    bomb = encoder.encode([("x", "y" * 4000)] * 100, huffman=False)
    assert len(bomb) < 5000
    with pytest.raises(Broken) as broken:
        reader.read(bomb)
    assert broken.value.code is Code.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    ("fields", "fit"),
    [
        ([(":status", "200"), ("a", "b")], True),
        ([(":status", "200")], True),
        ([], False),
        ([("a", "b")], False),
        ([("a", "b"), (":status", "200")], False),
        ([(":status", "200"), (":status", "200")], False),
        ([(":status", "200"), (":path", "/")], False),
        ([(":status", "200"), ("Server", "b")], False),
        ([(":status", "200"), ("", "b")], False),
        ([(":status", "200"), ("a b", "b")], False),
        ([(":status", "200"), ("a", "b\r\nc: d")], False),
        ([(":status", "200"), ("a", "b\0")], False),
    ],
)
def test_what_may_be_an_answers_fields(fields: list[tuple[str, str]], fit: bool) -> None:
    assert well_formed(fields) is fit
