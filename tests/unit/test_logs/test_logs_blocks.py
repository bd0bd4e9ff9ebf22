"""Lines out of blocks, in both directions."""

import gzip
import io
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.logs import blocks
from metaexpert.logs.blocks import (
    Inflater,
    gzip_backward,
    lines_backward,
    lines_forward,
    plain_backward,
    plain_forward,
)

DATA = st.lists(st.sampled_from([b"a", b"bb", b"\n", b"\n\n", b"long line of text", b"\r\n", b"\x00"])).map(b"".join)


def expected(data: bytes) -> list[bytes]:
    return [part for part in data.split(b"\n") if part]


@given(DATA, st.integers(1, 7))
def test_lines_forward_are_those_of_split(data: bytes, size: int) -> None:
    """Whatever the size of the blocks, the lines are those of the whole text, blank ones left out."""
    assert list(lines_forward(data[i : i + size] for i in range(0, len(data), size))) == expected(data)


@given(DATA, st.integers(1, 7))
def test_lines_backward_are_the_mirror_image(data: bytes, size: int) -> None:
    """Read from the end, the same lines come in reverse."""
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert list(lines_backward(reversed(pieces))) == expected(data)[::-1]


@given(DATA, st.integers(1, 40))
def test_plain_blocks_hold_the_first_bytes(data: bytes, size: int) -> None:
    """Both directions give the first bytes of a file that grew since, each once."""
    handle = io.BytesIO(data + b"later\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "FORWARD_BLOCK", size)
        patch.setattr(blocks, "BACKWARD_BLOCK", size)
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
        patch.setattr(blocks, "FORWARD_BLOCK", block)
        patch.setattr(blocks, "_COMPRESSED_BLOCK", chunk)
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
        last = next(iter(lines_backward(gzip_backward(Inflater(packed)))))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert last == b"x" * 99
    assert peak < 12 << 20
