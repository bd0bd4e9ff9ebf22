"""`verify_seal` names the first line that is not as it was sealed, and whatever else of the seal was changed."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sealed_log import SealedLog, checked, line, problems

from metaexpert.logger.entry.rfc5424 import escape_text, escape_value
from metaexpert.logger.seal.keys import Keys
from metaexpert.logger.seal.note import Checkpoint, VerifierKey, open_note
from metaexpert.logger.seal.tree import HASH, leaf_hash, nodes_of_leaves, root
from metaexpert.logs.seal._differences import first_difference

#: Lines of the three files, oldest first, and all of them.
FILES = {"trades.log.2.gz": 4, "trades.log.1": 5, "trades.log": 4}
COUNT = sum(FILES.values())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SealedLog]:
    """A log in three files, with a seal in the middle of each and one at its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metaexpert.logger.seal.sealer._COURTESY", 0.0)
        log = SealedLog(tmp_path_factory.mktemp("template"), epoch=60)
        for number, (name, count) in enumerate(FILES.items()):
            log.write(2)
            log.seal()
            log.write(count - 2)
            log.seal()
            if number < 2:
                log.rotate(compress=name.endswith(".gz"))
        yield log


class Copy:
    """A copy of the log, to be changed."""

    def __init__(self, template: SealedLog, directory: Path) -> None:
        self.directory = directory
        self.key = template.key()
        shutil.copytree(template.directory, directory)
        self.seal = directory / ".metaexpert/seal"

    def lines(self) -> list[list[bytes]]:
        """Return the lines of each file, the oldest first."""
        found = []
        for name in FILES:
            data = (self.directory / name).read_bytes()
            found.append((gzip.decompress(data) if name.endswith(".gz") else data).splitlines(keepends=True))
        return found

    def put(self, files: list[list[bytes]]) -> None:
        """Replace them."""
        for name, lines in zip(FILES, files, strict=True):
            data = b"".join(lines)
            (self.directory / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)

    def problems(self, *anchors: str) -> list[tuple[str, str, int]]:
        return problems(self.directory, self.key, *anchors)


@pytest.fixture
def copy(template: SealedLog, tmp_path: Path) -> Copy:
    return Copy(template, tmp_path / "copy")


def place(index: int) -> tuple[str, int]:
    """Return file and line number of a line by its index."""
    for name, count in FILES.items():
        if index < count:
            return name, index + 1
        index -= count
    return "trades.log", FILES["trades.log"] + index + 1


Mutation = Callable[[list[bytes], int], list[bytes]]
OTHER_DAY = b'{"message":"Order of another day"}\n'
#: What is done with line i, the kind of problem, and the line where it shows, counted from i.
MUTATIONS: dict[str, tuple[Mutation, str, int]] = {
    "changed": (lambda all_, i: [*all_[:i], all_[i].replace(b"filled", b"failed"), *all_[i + 1 :]], "changed", 0),
    "dropped": (lambda all_, i: [*all_[:i], *all_[i + 1 :]], "removed", 0),
    "inserted": (lambda all_, i: [*all_[:i], OTHER_DAY, *all_[i:]], "inserted", 0),
    "swapped": (lambda all_, i: [*all_[:i], all_[i + 1], all_[i], *all_[i + 2 :]], "reordered", 0),
    "replaced by one of another day": (lambda all_, i: [*all_[:i], OTHER_DAY, *all_[i + 1 :]], "changed", 0),
    "doubled": (lambda all_, i: [*all_[: i + 1], all_[i], *all_[i + 1 :]], "inserted", 1),
    "cut off": (lambda all_, i: all_[:i], "cut off", -1),
}


def spread(lines: list[bytes]) -> list[list[bytes]]:
    """Spread lines over the files as they were; what is more goes into the last one."""
    first, second = FILES["trades.log.2.gz"], FILES["trades.log.1"]
    return [lines[:first], lines[first : first + second], lines[first + second :]]


class TestMutations:
    def test_an_untouched_log_passes(self, copy: Copy) -> None:
        """And is told by its last seal."""
        report = checked(copy.directory, copy.key)
        assert report.ok
        assert "6 seals of metaexpert/" in report.remarks[-1]
        assert f"the last, 5, covers {COUNT} lines and is of 2027-01-15 08:06:00Z" in report.remarks[-1]

    @pytest.mark.parametrize("name", MUTATIONS)
    def test_each_line_that_is_changed_in_any_way_is_named(self, copy: Copy, name: str) -> None:
        """Every line of every file: the kind of change, the file, and the number of the line."""
        mutate, kind, shift = MUTATIONS[name]
        lines = [one for file in copy.lines() for one in file]
        for index in range(COUNT):
            if name == "swapped" and index == COUNT - 1:
                continue
            copy.put(spread(mutate(lines, index)))
            expected_kind, expected_place = kind, place(index + shift)
            if name == "dropped" and index == COUNT - 1:
                expected_kind, expected_place = "cut off", place(index - 1)
            if name == "cut off" and index == 0:
                expected_place = ("trades.log", 0)
            elif name == "cut off" and place(index)[1] == 1 and index < COUNT:
                expected_place = expected_place if index > 9 else (place(index)[0], 0)
            found = copy.problems()
            assert [problem[0] for problem in found] == [expected_kind], (index, found)
            if name != "cut off":
                assert found[0][1:] == expected_place, (index, found)

    def test_a_line_that_is_copied_to_the_end_is_named(self, copy: Copy) -> None:
        """Sealed lines that stand once more in what is not sealed yet."""
        files = copy.lines()
        files[2].append(files[0][1])
        copy.put(files)
        assert copy.problems() == [("inserted", "trades.log", 5)]

    def test_lines_that_are_not_sealed_yet_are_no_problem(self, copy: Copy) -> None:
        """They are counted."""
        files = copy.lines()
        files[2] += [line(COUNT), line(COUNT + 1)]
        copy.put(files)
        report = checked(copy.directory, copy.key)
        assert report.ok
        assert report.remarks[-1].endswith("; 2 lines after it are not sealed yet")

    def test_a_file_of_yesterday_is_found(self, copy: Copy) -> None:
        """The current file as it was, an older file twice, files exchanged, a backup gone, all files gone."""
        files = copy.lines()
        for number, (change, expected) in enumerate(
            [
                (lambda a, b, c: [a, b, c[:1]], ("cut off", "trades.log", 1)),
                (lambda a, b, c: [a, b, b], ("inserted", "trades.log", 1)),
                (lambda a, b, c: [b, a, c], ("removed", "trades.log.2.gz", 1)),
                (lambda a, b, c: [a, [], c], ("removed", "trades.log", 1)),
                (lambda a, b, c: [[], b, c], ("removed", "trades.log.1", 1)),
                (lambda a, b, c: [[], [], []], ("cut off", "trades.log", 0)),
            ]
        ):
            copy.put(change(*files))
            found = copy.problems()
            assert len(found) == 1
            if expected[0] == "removed" and number == 2:
                expected = ("reordered", "trades.log.2.gz", 1)
            assert found[0] == expected, number


class TestSeals:
    def records(self, copy: Copy) -> list[dict[str, object]]:
        return [json.loads(record) for record in (copy.seal / "seals.jsonl").read_text("utf-8").splitlines()]

    def put(self, copy: Copy, records: list[dict[str, object]]) -> None:
        text = "".join(f"{json.dumps(record)}\n" for record in records)
        (copy.seal / "seals.jsonl").write_text(text, "utf-8")
        (copy.seal / "checkpoint").write_text(str(records[-1]["checkpoint"]), "utf-8")

    def test_a_changed_seal_is_named(self, copy: Copy) -> None:
        """Size, root, time, signature, number, certificate; a seal left out; two exchanged; one that is none."""
        for number in range(6):
            for change in (
                lambda r: r.update(checkpoint=r["checkpoint"].replace("\n", "\n1", 1)),
                lambda r: r.update(checkpoint=r["checkpoint"].replace("time 2027", "time 2026")),
                lambda r: r.update(checkpoint=r["checkpoint"][:-9] + r["checkpoint"][-9:].swapcase()),
                lambda r: r.update(number=r["number"] + 1),
                lambda r: r.update(certificates=["AAAA"]),
                lambda r: r.clear(),
            ):
                before = self.records(copy)
                records = self.records(copy)
                change(records[number])
                text = "".join(f"{json.dumps(record)}\n" for record in records)
                (copy.seal / "seals.jsonl").write_text(text, "utf-8")
                found = copy.problems()
                assert found[0][0] == "seal", (number, found)
                assert found[0][2] in (number + 1, 0)
                self.put(copy, before)
        assert copy.problems() == []

    @pytest.mark.parametrize("gone", [0, 2, 4])
    def test_a_seal_that_is_left_out_is_missed(self, copy: Copy, gone: int) -> None:
        """Their numbers have no gap (CVE-2023-31438)."""
        records = self.records(copy)
        del records[gone]
        self.put(copy, records)
        assert copy.problems()[0] == ("seal", "seals.jsonl", gone + 1)
        assert f"seal {gone} is missing" in checked(copy.directory, copy.key).problems[0].text

    @pytest.mark.parametrize("number", [0, 3, 5])
    def test_old_epochs_cannot_be_sealed_again_with_the_key_of_now(self, copy: Copy, number: int) -> None:
        """An attacker with all that is on the disk changes a line, and re-seals what covers it (CVE-2023-31439)."""
        copied = SealedLog(copy.directory)
        secrets = copied.sealer.store.secrets()
        lines = [one for file in copy.lines() for one in file]
        lines[1] = lines[1].replace(b"filled", b"failed")
        copy.put(spread(lines))
        leaves = [leaf_hash(one.rstrip(b"\n")) for one in lines]
        nodes = nodes_of_leaves(leaves)
        (copy.seal / "tile/0/000.p/13").write_bytes(b"".join(leaves))
        records = self.records(copy)
        for record in records[number:]:
            seal = Checkpoint.parse(open_note(str(record["checkpoint"]))[0])
            forged = Checkpoint(seal.origin, seal.size, root(seal.size, nodes), seal.time, seal.first)
            record["checkpoint"] = secrets.keys.sign(forged.text(), seal.origin)
            record["certificates"] = [*record["certificates"]] if record["certificates"] else []  # type: ignore[misc]
        self.put(copy, records)
        found = checked(copy.directory, copy.key).problems
        assert (found[0].kind, found[0].line) == ("seal", number + 1)
        assert "not signed by the key of its number" in found[0].text

    def test_truncating_and_sealing_on_is_found(self, copy: Copy) -> None:
        """An attacker cuts lines and seals, and goes on as the writer would: the keys of between are missing."""
        files = copy.lines()
        copy.put([files[0], files[1], []])
        self.put(copy, self.records(copy)[:4])
        state = json.loads((copy.seal / "state").read_bytes())
        (copy.seal / "state").unlink()
        assert copy.problems() == []  # cut back at a seal: an anchor shows it, and the age of the last seal
        later = self.records(copy)
        secrets = SealedLog(copy.directory).sealer.store.secrets()
        note = open_note(str(later[-1]["checkpoint"]))[0]
        later.append({"number": 4, "checkpoint": secrets.keys.sign(note, copy.key.name), "certificates": []})
        self.put(copy, later)
        assert copy.problems()[0] == ("seal", "seals.jsonl", 5)
        assert state["size"] == COUNT

    def test_a_log_that_was_begun_anew_is_not_of_the_key(self, copy: Copy) -> None:
        """All seals of the new one are of another key; and a directory without any seal."""
        shutil.rmtree(copy.seal)
        assert copy.problems() == [("seal", "seals.jsonl", 0)]
        SealedLog(copy.directory).seal()
        assert copy.problems()[0] == ("seal", "seals.jsonl", 1)

    def test_a_seal_of_another_tree_is_named(self, copy: Copy) -> None:
        """One that was signed by its key, and is of another origin or of fewer lines than the one before."""
        keys, public = Keys.create()
        seal = Checkpoint.parse(open_note(str(self.records(copy)[-1]["checkpoint"]))[0])
        for size, origin, text in ((13, "other", "is of another log"), (3, "x", "and the one before 13")):
            keys, public = Keys.create()
            records = []
            for number, lines in enumerate((13, size)):
                name = origin if number and origin == "other" else "x"
                forged = Checkpoint(name, lines, seal.root, seal.time)
                certificates = list(keys.new_certificates)
                from metaexpert.logger.seal.note import encoded

                records.append(
                    {
                        "number": number,
                        "checkpoint": keys.sign(forged.text(), name),
                        "certificates": [encoded(certificate) for certificate in certificates],
                    }
                )
                keys.advance()
            self.put(copy, records)
            [problem] = [p for p in checked(copy.directory, VerifierKey("x", public)).problems if p.line == 2]
            assert text in problem.text

    def test_the_checkpoint_is_the_last_seal(self, copy: Copy) -> None:
        """Another one there is a problem."""
        (copy.seal / "checkpoint").write_text(str(self.records(copy)[2]["checkpoint"]), "utf-8")
        assert copy.problems() == [("seal", "checkpoint", 0)]
        (copy.seal / "checkpoint").write_text(str(self.records(copy)[4]["checkpoint"]), "utf-8")
        assert copy.problems() == []  # a kill came before the file was replaced


class TestTiles:
    def test_a_changed_tile_is_told_and_the_lines_are_checked_without(self, copy: Copy) -> None:
        """Each hash of it; the lines are then compared with the roots in the seals."""
        path = copy.seal / "tile/0/000.p/13"
        data = path.read_bytes()
        for index in range(COUNT):
            path.write_bytes(data[: index * HASH] + bytes(HASH) + data[(index + 1) * HASH :])
            assert copy.problems() == [("tile", "tile", 0)]
        assert "the lines are as they were sealed" in checked(copy.directory, copy.key).remarks[0]

    @pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
    def test_lines_are_found_changed_without_tiles(self, copy: Copy, damage: str) -> None:
        """Up to the seal before; the first piece that does not fit is named."""
        shutil.rmtree(copy.seal / "tile") if damage == "gone" else None
        if damage != "gone":
            path = copy.seal / "tile/0/000.p/13"
            path.write_bytes(path.read_bytes()[: 12 * HASH] + b"x" * (HASH if damage == "changed" else 3))
        lines = [one for file in copy.lines() for one in file]
        copy.put(spread([*lines[:7], lines[7].replace(b"7", b"8"), *lines[8:]]))
        assert copy.problems()[1] == ("changed", "trades.log.1", 3)
        copy.put(spread(lines[:-2]))
        assert copy.problems()[1][0] == "cut off"

    def test_retention_and_lost_tiles(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lines over whole tiles, of which retention has taken the first, are compared with what is left."""
        monkeypatch.setattr("metaexpert.logger.seal.sealer._COURTESY", 0.0)
        log = SealedLog(tmp_path, backups=1)
        for _ in range(3):
            log.write(400)
            log.seal()
            log.rotate()
        log.write(1)
        log.seal()
        assert problems(tmp_path, log.key()) == []
        data = log.path.with_name("trades.log.1").read_bytes()
        log.path.with_name("trades.log.1").write_bytes(data.replace(b"Order 900 ", b"Order 901 "))
        assert problems(tmp_path, log.key()) == [("changed", "trades.log.1", 101)]
        (log.sealer.store.path / "tile/0/003").write_bytes(b"")
        assert [problem[0] for problem in problems(tmp_path, log.key())] == ["tile", "tile"]

    def test_a_tail_that_was_read_and_not_sealed_is_missed(self, copy: Copy) -> None:
        """The writer's note proves nothing, and tells that there were more."""
        log = SealedLog(copy.directory)
        log.count = COUNT
        log.write(2)
        log.sealer.catch_up()
        files = copy.lines()
        copy.put([files[0], files[1], files[2][:-1]])
        assert copy.problems() == [("cut off", "trades.log", 5)]


class TestAnchors:
    def test_what_a_witness_has_seen_must_be_there(self, copy: Copy) -> None:
        """As it came, within JSON, of a part of the log that was cut off since, of another log, or none at all."""
        note = (copy.seal / "checkpoint").read_text("utf-8")
        as_json = json.dumps({"message": "log.sealed", "checkpoint": note})
        for text in (note, f"Seal 5\n{note}\nbye", as_json, as_json + "\n" + as_json):
            report = checked(copy.directory, copy.key, text)
            assert report.ok
            assert f"a witness has seen the first {COUNT} lines" in report.remarks[0]
        tests = TestSeals()
        tests.put(copy, tests.records(copy)[:4])
        files = copy.lines()
        copy.put([files[0], files[1], []])
        (copy.seal / "state").unlink()
        assert copy.problems() == []
        assert copy.problems(note) == [("anchor", "anchor", 0)]
        assert copy.problems("hello") == [("anchor", "anchor", 0)]
        assert copy.problems(note.replace(copy.key.name, "metaexpert/other")) == [("anchor", "anchor", 0)]

    @pytest.mark.parametrize(
        "spelled",
        [
            lambda note: note.replace("\n", "\r\n"),
            lambda note: escape_value(escape_text(note)),
            lambda note: json.dumps(escape_value(escape_text(note))),
            lambda note: json.dumps(json.dumps(note)),
            lambda note: note.replace("\n", "#012"),
            lambda note: "".join(f"\\u{ord(one):04X}" if not one.isalnum() else one for one in note),
            lambda note: json.dumps(note).replace("/", "\\/"),
        ],
        ids=["CRLF", "syslog", "syslog in JSON", "JSON in JSON", "rsyslog", "unicode escapes", "slashes"],
    )
    def test_a_witness_may_escape_what_it_received(self, copy: Copy, spelled: Callable[[str], str]) -> None:
        """Once or several times, by the escapes of syslog, of rsyslog, and of any program that writes JSON."""
        text = spelled((copy.seal / "checkpoint").read_text("utf-8"))
        assert f"a witness has seen the first {COUNT} lines" in checked(copy.directory, copy.key, text).remarks[0]

    def test_a_damaged_checkpoint_of_a_witness_is_a_problem(self, copy: Copy) -> None:
        """It says nothing about the log; a whole one beside it does."""
        note = (copy.seal / "checkpoint").read_text("utf-8")
        for old, new in (("time 20", "time 2O"), (f"\n{COUNT}\n", f"\n{'9' * 5000}\n"), ("=\ntime", "x=\ntime")):
            damaged = note.replace(old, new)
            assert damaged != note
            assert {*copy.problems(damaged)} == {("anchor", "anchor", 0)}
            report = checked(copy.directory, copy.key, damaged + note)
            assert any(f"a witness has seen the first {COUNT} lines" in remark for remark in report.remarks)


@pytest.mark.parametrize(
    ("sealed", "lines", "expected"),
    [
        ("", "", None),
        ("", "abc", None),
        ("abc", "abcd", None),
        ("abc", "", ("cut off", 0)),
        ("abc", "ab", ("cut off", 2)),
        ("abcd", "axd", ("changed", 1)),
        ("abcd", "axyzd", ("changed", 1)),
        ("abcd", "abxy", ("changed", 2)),
        ("abcd", "bacd", ("reordered", 0)),
        ("abcd", "dabc", ("reordered", 0)),
        ("abcd", "acbd", ("reordered", 1)),
        ("abcd", "xabcd", ("inserted", 0)),
        ("abcd", "abxcd", ("inserted", 2)),
        ("abcd", "cd", ("removed", 0)),
        ("abcd", "aabcd", ("inserted", 1)),
        ("abcd", "abcda", ("inserted", 4)),
        ("abcd", "x", ("changed", 0)),
    ],
)
def test_the_first_difference(sealed: str, lines: str, expected: tuple[str, int] | None) -> None:
    """By letters."""
    found = first_difference([c.encode() for c in sealed], [c.encode() for c in lines])
    assert (None if found is None else (found.kind, found.place)) == expected
