"""Lines out of blocks, in both directions."""

import gzip
import io
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.logs.reading import _blocks
from metaexpert.logs.reading._blocks import (
    Inflater,
    SeekableInflater,
    gzip_backward,
    plain_backward,
    plain_forward,
    whole_backward,
    whole_forward,
)

DATA = st.lists(st.sampled_from([b"a", b"bb", b"\n", b"\n\n", b"long line of text", b"\r\n", b"\x00"])).map(b"".join)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@given(DATA, st.integers(1, 7))
def test_pieces_forward_hold_whole_lines(data: bytes, size: int) -> None:
    """Whatever the size of the blocks, the pieces are the whole text, and each ends with a line, maybe the last one."""
    pieces = list(whole_forward(cut(data, size)))
    assert b"".join(piece for _, piece in pieces) == data
    assert all(length == len(piece) > 0 for length, piece in pieces)
    assert all(piece.endswith(b"\n") for _, piece in pieces[:-1])


@given(DATA, st.integers(1, 7))
def test_pieces_backward_are_the_mirror_image(data: bytes, size: int) -> None:
    """Read from the end, the same text comes in whole lines, the last first."""
    pieces = list(whole_backward(reversed(cut(data, size))))
    assert b"".join(reversed(pieces)) == data
    assert all(piece.endswith(b"\n") for piece in pieces[1:])


@given(st.lists(st.integers(0, 60), max_size=6), st.integers(1, 9), st.booleans())
def test_long_lines_are_cut_in_both_directions(lengths: list[int], size: int, ended: bool) -> None:
    """Of a line beyond the limit its beginning stays, with a mark that tells what is missing; the others are whole."""
    lines = [bytes([97 + number % 26]) * length for number, length in enumerate(lengths)]
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "LONGEST_LINE", 20)
        patch.setattr(_blocks, "KEPT", 10)
        forward = list(whole_forward(cut(data, size)))
        backward = list(whole_backward(reversed(cut(data, size))))
    assert sum(length for length, _ in forward) == len(data)
    for text in (b"".join(piece for _, piece in forward), b"".join(reversed(backward))):
        for line, shown in zip(lines, text.split(b"\n"), strict=False):
            whole = shown == line
            assert whole or shown.startswith(line[:10] + "…[cut ".encode())
            assert whole or len(line) >= 20
            assert not whole or len(line) <= 20 + size


def test_a_line_without_end_takes_little_memory() -> None:
    """A hundred megabytes without a line end are read in either direction within some blocks."""
    tracemalloc.start()
    try:
        block = b"x" * (1 << 20)
        for pieces in (
            (p for _, p in whole_forward(block for _ in range(100))),
            whole_backward(block for _ in range(100)),
        ):
            assert sum(map(len, pieces)) < _blocks.KEPT + 100
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20


@given(
    st.binary(max_size=600),
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 100)), max_size=12),
    st.integers(1, 40),
)
def test_ranges_of_a_compressed_file(data: bytes, ranges: list[tuple[int, int]], block: int) -> None:
    """Any ranges, in any order, are those of the inflated text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "FORWARD_BLOCK", block)
        patch.setattr(_blocks, "_MOST_CHECKPOINTS", 3)
        inflater = SeekableInflater(io.BytesIO(gzip.compress(data)))
        for offset, length in ranges:
            assert b"".join(inflater.read(offset, length)) == data[offset : offset + length]


@given(DATA, st.integers(1, 40))
def test_plain_blocks_hold_the_first_bytes(data: bytes, size: int) -> None:
    """Both directions give the first bytes of a file that grew since, each once."""
    handle = io.BytesIO(data + b"later\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "FORWARD_BLOCK", size)
        patch.setattr(_blocks, "BACKWARD_BLOCK", size)
        assert b"".join(plain_forward(handle, len(data))) == data
        assert b"".join(list(plain_backward(handle, len(data)))[::-1]) == data


def test_a_file_that_shrinks_ends() -> None:
    """A file truncated while it is read ends where its bytes do."""
    assert b"".join(plain_forward(io.BytesIO(b"short"), 100)) == b"short"


@given(st.lists(st.binary(max_size=300), max_size=3), st.integers(1, 50), st.integers(1, 20))
def test_inflating_in_both_directions(members: list[bytes], block: int, chunk: int) -> None:
    """A gzip file of any number of members, padded or not, inflates to its text from either end."""
    handle = io.BytesIO(b"".join(gzip.compress(m) + b"\0" * (i % 2) for i, m in enumerate(members)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_blocks, "FORWARD_BLOCK", block)
        patch.setattr(_blocks, "_COMPRESSED_BLOCK", chunk)
        inflater = Inflater(handle)
        assert b"".join(inflater) == b"".join(members)
        assert not inflater.damage
        assert b"".join(list(gzip_backward(Inflater(handle)))[::-1]) == b"".join(members)


def test_a_cut_gzip_file_gives_what_there_is() -> None:
    """What a gzip file holds before it ends too early is read, and the damage told."""
    data = b"".join(b"line %d\n" % i for i in range(5000))
    cut = gzip.compress(data)[:-2000]
    inflater = Inflater(io.BytesIO(cut))
    got = b"".join(inflater)
    assert got
    assert data.startswith(got)
    assert got == zlib.decompressobj(31).decompress(cut)
    assert inflater.damage == "the gzip data ends too early"
    assert b"".join(list(gzip_backward(Inflater(io.BytesIO(cut))))[::-1]) == got


def test_damaged_gzip_data_end_the_file() -> None:
    """Damage in the middle ends the data; what came before stands, in either direction."""
    data = b"".join(b"line %d %d\n" % (i, i * i) for i in range(200_000))
    packed = bytearray(gzip.compress(data))
    packed[-1000:-900] = b"\xff" * 100
    inflater = Inflater(io.BytesIO(packed))
    got = b"".join(inflater)
    assert len(got) > 2 << 20
    assert inflater.damage.startswith("damaged gzip data")
    backward = Inflater(io.BytesIO(packed))
    assert b"".join(list(gzip_backward(backward))[::-1]) == got
    assert backward.damage.startswith("damaged gzip data")
    assert "damaged" in _damage(b"no gzip at all")


def _damage(data: bytes) -> str:
    inflater = Inflater(io.BytesIO(data))
    assert list(inflater) == []
    return inflater.damage


def test_reading_a_gzip_file_backward_is_bounded() -> None:
    """The last lines of a gzip file come without holding its text: 64 MB inflate within 12 MB."""
    packed = io.BytesIO(gzip.compress((b"x" * 99 + b"\n") * 640_000, compresslevel=1))
    tracemalloc.start()
    try:
        last = next(iter(whole_backward(gzip_backward(Inflater(packed))))).splitlines()[-1]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert last == b"x" * 99
    assert peak < 12 << 20
