"""The formats of the seal: the tree of RFC 9162, tiles, signed notes, keys that are forgotten, and proofs."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from metaexpert.logger.seal.keys import DEPTH, Keys, Verifier
from metaexpert.logger.seal.note import Checkpoint, FormatError, VerifierKey, open_note, sign
from metaexpert.logger.seal.proof import Proof, parse_proofs
from metaexpert.logger.seal.tree import (
    EMPTY,
    HASH,
    Tree,
    inclusion,
    leaf_hash,
    nodes_of,
    nodes_of_leaves,
    root,
    root_of_inclusion,
    tile_path,
)

#: The tree that implementations of RFC 6962 and RFC 9162 share as a test: eight leaves, and the root of each size.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SEAL = Checkpoint("metaexpert/0a1b", 8, bytes.fromhex(ROOTS[8]), datetime(2026, 11, 29, 2, tzinfo=UTC), 3)


def hashes(count: int) -> list[bytes]:
    return [leaf_hash(b"line %d" % number) for number in range(count)]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH as RFC 9162, 2.1.1 defines it."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else sha256().digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\1" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


class TestTree:
    def test_the_roots_are_those_of_the_shared_vectors(self) -> None:
        """Each size of the tree of eight leaves has the known root, by both ways."""
        leaves = [leaf_hash(bytes.fromhex(text)) for text in LEAVES]
        grown = Tree()
        for size, expected in enumerate(ROOTS):
            assert root(size, nodes_of_leaves(leaves)).hex() == expected
            assert grown.root().hex() == expected
            if size < len(leaves):
                grown.add(leaves[size])
        assert EMPTY.hex() == ROOTS[0]

    def test_proofs_are_those_of_the_example_of_rfc_9162(self) -> None:
        """RFC 9162, 2.1.5: the proofs of d0, d3, d4 and d6 in a tree of seven leaves, by the names of the nodes."""
        leaves = hashes(7)
        a, b, c, d, e, f, j = leaves
        node: Callable[[bytes, bytes], bytes] = lambda left, right: sha256(b"\1" + left + right).digest()  # noqa: E731
        g, h, i = node(a, b), node(c, d), node(e, f)
        k, last = node(g, h), node(i, j)
        nodes = nodes_of_leaves(leaves)
        assert root(7, nodes) == node(k, last)
        expected = {0: [b, h, last], 3: [c, g, last], 4: [f, j, k], 6: [i, k]}
        assert {index: inclusion(index, 7, nodes) for index in expected} == expected

    @settings(max_examples=examples(60))
    @given(st.integers(1, 700), st.data())
    def test_every_proof_leads_to_the_root_and_no_other_does(self, size: int, data: st.DataObject) -> None:
        """A proof holds for its leaf, place and size, and for none beside."""
        leaves = hashes(size)
        nodes, index = nodes_of_leaves(leaves), data.draw(st.integers(0, size - 1))
        path, expected = inclusion(index, size, nodes), naive_root(leaves)
        assert root_of_inclusion(leaves[index], index, size, path) == expected == root(size, nodes)
        assert root_of_inclusion(leaf_hash(b"other"), index, size, path) != expected
        assert root_of_inclusion(leaves[index], index, size, [*path, EMPTY]) != expected
        assert root_of_inclusion(leaves[index], index - 1, size, path) != expected
        assert root_of_inclusion(leaves[index], index, index, path) is None
        if path:
            assert root_of_inclusion(leaves[index], index, size, path[:-1]) != expected

    @pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 70_000])
    def test_tiles_hold_the_tree(self, size: int) -> None:
        """Full and partial tiles are as many and as wide as tlog-tiles says, and give the root."""
        full: dict[tuple[int, int], bytes] = {}
        tree = Tree(on_full=lambda level, number, data: full.update({(level, number): data}))
        leaves = hashes(size)
        for leaf in leaves:
            tree.add(leaf)
        partial = {(level, number): data for level, number, data in tree.partial_tiles()}
        widths = {key: len(data) // HASH for key, data in partial.items()}
        assert widths == {
            (level, size // 256 ** (level + 1)): size // 256**level % 256
            for level in range(3)
            if size // 256**level % 256
        }
        assert all(len(data) == 8192 for data in full.values())
        tiles = full | partial

        def entries(level: int, start: int, count: int) -> bytes:
            return tiles[level, start // 256][start % 256 * HASH :][: count * HASH]

        assert root(size, nodes_of(entries)) == tree.root() == naive_root(leaves)
        if size == 70_000:
            assert len([key for key in full if key[0] == 0]) == 273
            assert widths == {(0, 273): 112, (1, 1): 17, (2, 0): 1}

    def test_tiles_have_the_paths_of_the_specification(self) -> None:
        """The examples of tlog-tiles."""
        assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
        assert tile_path(2, 0) == "tile/2/000"
        assert tile_path(0, 273, 112) == "tile/0/273.p/112"
        assert tile_path(1, 1000) == "tile/1/x001/000"


class TestNote:
    def test_the_example_of_the_specification_verifies(self) -> None:
        """The key, the note and the signature that signed-note shows."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        text = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
        key = VerifierKey.parse(f"{text}\n")
        assert str(key) == text
        signature = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
        note = f"This is an example message.\n\n— example.com/foo {signature}\n"
        body, [(name, number, value)] = open_note(note)
        assert (body, name, number.hex()) == ("This is an example message.\n", "example.com/foo", "530d903a")
        Ed25519PublicKey.from_public_bytes(key.public).verify(value, body.encode())
        assert sign(body, name, key.public, value) == note

    def test_a_checkpoint_goes_to_text_and_back(self) -> None:
        """Five lines; the first three are those of tlog-checkpoint."""
        assert SEAL.text().split("\n")[:2] == ["metaexpert/0a1b", "8"]
        assert Checkpoint.parse(SEAL.text()) == SEAL

    @pytest.mark.parametrize(
        ("old", "new"),
        [("\n8\n", "\n08\n"), ("\n8\n", "\n-8\n"), ("time 2026-", "time 26-"), ("first 3\n", ""), ("Xcna", "Xc a"),
         ("metaexpert/0a1b", ""), ("metaexpert/0a1b", "two words"), ("first 3", "first x"),
         ("first 3\n", "first 3\nx\n")],
    )  # fmt: skip
    def test_another_text_is_no_checkpoint(self, old: str, new: str) -> None:
        """A line too few or too many, a number with a zero before it, no base64."""
        assert old in SEAL.text()
        with pytest.raises(FormatError):
            Checkpoint.parse(SEAL.text().replace(old, new))

    @pytest.mark.parametrize(
        "text", ["", "a\n", "a\n\n", "a\n\n— b\n", "a\n\n- b AAAAAAAA\n", "a\n\n— b AAAAAAAA", "a\r\n\n— b AAAAAAAA\n"]
    )
    def test_another_text_is_no_note(self, text: str) -> None:
        """Without a blank line, a dash, a key and a signature it is none."""
        with pytest.raises(FormatError):
            open_note(text)

    @pytest.mark.parametrize("text", ["", "a+b", "a+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "a+b+!"])
    def test_another_text_is_no_key(self, text: str) -> None:
        """A key whose id does not fit is damaged."""
        with pytest.raises(FormatError):
            VerifierKey.parse(text)


class TestKeys:
    def test_one_key_verifies_the_seals_of_all(self) -> None:
        """Each seal comes with the certificates that the one before did not need; one alone with all of them."""
        keys, public = Keys.create()
        together = Verifier(public)
        for number in range(20):
            note = keys.sign(SEAL.text(), SEAL.origin)
            assert keys.number == number
            assert together.check(note, number, keys.new_certificates) == SEAL.text()
            assert Verifier(public).check(note, number, keys.certificates) == SEAL.text()
            keys.advance()
        assert len(keys.certificates) == DEPTH

    def test_what_is_left_of_the_keys_signs_no_seal_of_the_past(self) -> None:
        """After a key has been forgotten, no key that is left, as it is or by its children, fits a number before."""
        keys, public = Keys.create()
        for _ in range(5):
            keys.advance()
        left = [keys.private, *(private for _, private in keys.later)]
        for number in range(5):
            for private in left:
                forged = dataclasses.replace(keys, private=private).sign(SEAL.text(), SEAL.origin)
                with pytest.raises(FormatError):
                    Verifier(public).check(forged, number, keys.certificates)
        ways = [way for way, _ in keys.later]
        assert all(int(way.ljust(DEPTH, "0"), 2) > keys.number for way in ways)

    def test_other_keys_and_changed_texts_are_refused(self) -> None:
        """A log that was begun anew, a text that was changed, a number or a certificate of another seal."""
        keys, public = Keys.create()
        other, other_public = Keys.create()
        note = keys.sign(SEAL.text(), SEAL.origin)
        for wrong in (note.replace("\n8\n", "\n9\n"), other.sign(SEAL.text(), SEAL.origin)):
            with pytest.raises(FormatError, match=r"signature|signed by"):
                Verifier(public).check(wrong, 0, keys.certificates)
        with pytest.raises(FormatError, match="vouched"):
            Verifier(other_public).check(note, 0, keys.certificates)
        with pytest.raises(FormatError):
            Verifier(public).check(note, 1, keys.certificates)
        with pytest.raises(FormatError, match="no key"):
            Verifier(public).check(note, 1 << DEPTH, keys.certificates)
        own = note.splitlines()[-1]
        bad = f"{own[:-20]}{'A' * 19}="
        for beside in (f"{bad}\n{own}", f"{own}\n{bad}"):  # signed-note: one that does not verify spoils the note
            with pytest.raises(FormatError, match="does not fit"):
                Verifier(public).check(note.replace(own, beside), 0, keys.certificates)
        stranger = f"\u2014 witness.example {base64.b64encode(bytes(68)).decode()}"
        assert Verifier(public).check(note.replace(own, f"{stranger}\n{own}"), 0, keys.certificates) == SEAL.text()
        for certificates in (keys.certificates[1:], [b"", *keys.certificates[1:]], [b"", *keys.certificates], []):
            with pytest.raises(FormatError, match="missing"):
                Verifier(public).check(note, 0, certificates)

    def test_the_last_key_is_the_last(self) -> None:
        """When all have been used, signing says so."""
        keys = Keys(number=(1 << DEPTH) - 1, private=bytes(32))
        assert keys.sign(SEAL.text(), SEAL.origin)
        keys.advance()
        with pytest.raises(LookupError, match="begin anew"):
            keys.sign(SEAL.text(), SEAL.origin)


def a_proof(index: int = 5, size: int = 8) -> tuple[Proof, VerifierKey]:
    lines = [b'{"message":"Order %d"}' % number for number in range(size)]
    nodes = nodes_of_leaves([leaf_hash(line) for line in lines])
    keys, public = Keys.create()
    key = VerifierKey(SEAL.origin, public)
    note = keys.sign(dataclasses.replace(SEAL, size=size, root=root(size, nodes)).text(), SEAL.origin)
    return Proof(lines[index], index, inclusion(index, size, nodes), note, 0, tuple(keys.certificates), key), key


def independent_check(text: str, vkey: str) -> bytes:
    """Check a proof by C2SP tlog-proof, signed-note, RFC 9162 2.1.3.2 and docs/seal.md alone. Returns the line."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    unbase = base64.b64decode
    head, body, signatures = text.split("\n\n")
    magic, extra_line, index_line, *path = head.split("\n")
    extra = json.loads(unbase(extra_line.removeprefix("extra ")))
    origin, size_text, root_text, *_ = body.split("\n")
    index, size, line = int(index_line.split(" ")[1]), int(size_text), extra["line"].encode()
    public, bits = unbase(vkey.split("+", 2)[2])[1:], format(extra["seal"], "020b")
    for depth, certificate in enumerate(map(unbase, extra["certificates"])):
        signed = b"metaexpert seal certificate v1\n" + bits[:depth].encode() + b"\n" + certificate[:64]
        Ed25519PublicKey.from_public_bytes(public).verify(certificate[64:], signed)
        public = certificate[32:64] if bits[depth] == "1" else certificate[:32]
    dash, name, signature = signatures.strip("\n").split(" ")
    Ed25519PublicKey.from_public_bytes(public).verify(unbase(signature)[4:], (body + "\n").encode())
    assert (magic, dash, name, vkey.partition("+")[0]) == ("c2sp.org/tlog-proof@v1", "\u2014", origin, origin)
    value, fn, sn = sha256(b"\x00" + line).digest(), index, size - 1
    for sibling in map(unbase, path):
        assert sn != 0
        if fn % 2 == 1 or fn == sn:
            value = sha256(b"\x01" + sibling + value).digest()
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn // 2, sn // 2
        else:
            value = sha256(b"\x01" + value + sibling).digest()
        fn, sn = fn // 2, sn // 2
    assert (sn, value) == (0, unbase(root_text))
    return bytes(line)


class TestProof:
    def test_a_proof_goes_to_text_and_back_and_holds(self) -> None:
        """One after another in a file, each with its line."""
        (one, key), (two, other) = a_proof(5), a_proof(0, 1)
        assert parse_proofs(one.text() + two.text()) == [
            dataclasses.replace(proof, path=list(proof.path), certificates=list(proof.certificates))
            for proof in (one, two)
        ]
        assert one.check(key).size == 8
        assert two.check(other).size == 1
        with pytest.raises(FormatError):
            one.check(other)

    @pytest.mark.parametrize(("index", "size"), [(0, 1), (5, 8), (6, 7), (255, 257), (256, 257)])
    def test_a_checker_that_shares_no_code_accepts_it(self, index: int, size: int) -> None:
        """It was written from the specifications and from docs/seal.md alone."""
        proof, key = a_proof(index, size)
        assert independent_check(proof.text(), str(key)) == proof.line

    @settings(max_examples=examples(150))
    @given(st.data())
    def test_a_proof_with_one_changed_byte_does_not_hold(self, data: st.DataObject) -> None:
        """Wherever it was changed: it is refused by a `FormatError`, or says the same."""
        proof, key = a_proof()
        text = proof.text()
        place = data.draw(st.integers(0, len(text) - 1))
        changed = text[:place] + chr(ord(text[place]) ^ data.draw(st.integers(1, 15))) + text[place + 1 :]
        try:
            [found] = parse_proofs(changed)
            found.check(key)
        except FormatError:
            return
        assert (found.line, found.index) == (proof.line, proof.index)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'"seal": 1', b'"seal": true'), (b'"seal": 1', b'"seal": 1.0'), (b'"seal": 1', b'"seal": NaN'),
            (b'"seal": 1', b'"a": Infinity, "seal": 1'), (b'"seal": 1', b'"seal": ' + b"9" * 5000),
            (b'"key": "', b'"key": " '), (b'{"line"', b'\xef\xbb\xbf{"line"'),
            (b'{"line"', b'{"\xed\xa0\x80": 1, "line"'),
        ],
    )  # fmt: skip
    def test_its_extra_line_has_one_form(self, old: bytes, new: bytes) -> None:
        """What another program would read otherwise, or not at all, is refused."""
        proof, _ = a_proof()
        head, extra, *rest = dataclasses.replace(proof, number=1).text().split("\n")
        told = base64.b64decode(extra.removeprefix("extra "))
        for changed in (told.replace(old, new), told.decode().encode("utf-16")):
            assert changed != told
            text = "\n".join([head, f"extra {base64.b64encode(changed).decode()}", *rest])
            with pytest.raises(FormatError, match=r"extra line|the number|the key"):
                parse_proofs(text)

    def test_base64_has_one_spelling(self) -> None:
        """The bits behind the last byte are zero, so that no proof has a twin."""
        proof, _ = a_proof()
        lines = proof.text().split("\n")
        assert lines[3].endswith("=")
        twin = chr(ord(lines[3][-2]) + 1)
        assert base64.b64decode(lines[3][:-2] + twin + "=") == base64.b64decode(lines[3])
        lines[3] = lines[3][:-2] + twin + "="
        with pytest.raises(FormatError, match="base64"):
            parse_proofs("\n".join(lines))

    def test_bytes_that_are_no_utf_8_are_no_note(self) -> None:
        """They are refused, as other texts are."""
        proof, key = a_proof()
        for name in ("metaexpert/\udc80", "\udcff"):
            changed = proof.text().replace(f"\u2014 {SEAL.origin}", f"\u2014 {name}")
            with pytest.raises(FormatError, match="signed note"):
                parse_proofs(changed)[0].check(key)

    @pytest.mark.parametrize("text", ["", "x", "c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v1\nindex 0\n\nx\n"])
    def test_another_text_is_no_proof(self, text: str) -> None:
        """A clear error tells what it should be."""
        with pytest.raises(FormatError, match="proof"):
            parse_proofs(text)
