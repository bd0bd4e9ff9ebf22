"""The writer's side of the seal: which lines are in the tree, after whatever happened to files and processes."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples
from sealed_log import SealedLog, checked, line, problems

from metaexpert.logger.seal import _store, sealer
from metaexpert.logger.seal._lines import PIECE
from metaexpert.logger.seal._store import Secrets, State, Store
from metaexpert.logger.seal.note import Checkpoint, open_note
from metaexpert.logger.seal.tree import leaf_hash, nodes_of_leaves, root
from metaexpert.logger.system.locks import DirectoryLock


@pytest.fixture(autouse=True)
def _no_courtesy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "_COURTESY", 0.0)


def expected_root(count: int) -> bytes:
    leaves = [leaf_hash(line(number).rstrip(b"\n")) for number in range(count)]
    return root(count, nodes_of_leaves(leaves)) if count else root(0, nodes_of_leaves([b""]))


def last_seal(log: SealedLog) -> Checkpoint:
    return Checkpoint.parse(open_note((log.sealer.store.path / "checkpoint").read_text("utf-8"))[0])


class TestTree:
    def test_the_root_is_that_of_the_lines_in_their_order(self, tmp_path: Path) -> None:
        """Over rotation, compression, and more lines than one piece takes."""
        log = SealedLog(tmp_path)
        log.seal()
        assert (last_seal(log).size, last_seal(log).root) == (0, expected_root(0))
        for count, compress in ((3, True), (1, False), (2 * PIECE // 40, True), (2, False)):
            log.write(count)
            log.rotate(compress=compress)
        log.write(2)
        log.seal()
        assert (last_seal(log).size, last_seal(log).root) == (log.count, expected_root(log.count))
        assert problems(tmp_path, log.key()) == []

    def test_half_a_line_waits_for_its_end(self, tmp_path: Path) -> None:
        """A process died while it wrote; the half is cut off later, or ended."""
        log = SealedLog(tmp_path)
        log.write(2)
        with log.path.open("ab") as file:
            file.write(b'{"mess')
        log.seal()
        assert log.size() == 2
        os.truncate(log.path, log.path.stat().st_size - 6)
        log.write(1)
        log.seal()
        assert last_seal(log).root == expected_root(3)

    @pytest.mark.parametrize("compress", [False, True])
    def test_lines_before_a_rotation_that_it_was_not_told_of_are_found(self, tmp_path: Path, compress: bool) -> None:
        """Another process has rotated, twice, and compressed: the sealer goes on in the backup where it was."""
        log = SealedLog(tmp_path)
        log.write(3)
        log.seal()
        log.write(2)
        log.rotate(compress=compress, told=False)
        log.write(2)
        log.rotate(compress=compress, told=False)
        log.write(1)
        log.seal()
        assert (last_seal(log).size, last_seal(log).root) == (8, expected_root(8))

    def test_backups_of_before_are_taken_in_first(self, tmp_path: Path) -> None:
        """A seal that is begun on an old log holds all that is there."""
        log = SealedLog(tmp_path)
        for _ in range(3):
            log.write(2)
            log.rotate(told=False, compress=True)
        log.write(1)
        log.seal()
        assert last_seal(log).root == expected_root(7)

    def test_two_processes_share_a_tree(self, tmp_path: Path) -> None:
        """Each goes on where the other has ended; a piece that both have read is taken in once."""
        log = SealedLog(tmp_path)
        other = log.new_sealer()
        log.write(3)
        take_in = other._take_in

        def interrupted(*args: Any) -> None:
            take_in(*args)
            log.sealer.catch_up()

        other._take_in = interrupted  # type: ignore[method-assign, assignment]
        other.catch_up()
        log.write(2)
        log.sealer.catch_up()
        other.catch_up()
        other.seal()
        assert last_seal(log).root == expected_root(5)

    def test_retention_takes_tiles_and_is_told(self, tmp_path: Path) -> None:
        """Level 0 is bounded by the backups; the seal says from which line on there are some, and verifies."""
        log = SealedLog(tmp_path, backups=2)
        for _ in range(6):
            log.write(300)
            log.rotate(compress=True)
            log.seal()
        log.write(5)
        log.seal()
        assert last_seal(log).first == 1200
        tiles = sorted(path.name for path in (log.sealer.store.path / "tile/0").iterdir())
        assert tiles == ["004", "005", "006", "007.p"]
        assert checked(tmp_path, log.key()).counts == {}
        assert last_seal(log).root == expected_root(1805)

    @pytest.mark.parametrize("budget", [False, True])
    def test_a_budget_may_take_backups_and_nothing_else_may(self, tmp_path: Path, budget: bool) -> None:
        """The oldest backup is gone: with max_total_size that is a remark, without it a problem."""
        log = SealedLog(tmp_path)
        log.sealer.budget = budget
        for _ in range(2):
            log.write(2)
            log.rotate()
        log.write(1)
        log.seal()
        (tmp_path / "trades.log.2").unlink()
        assert problems(tmp_path, log.key()) == ([] if budget else [("removed", "trades.log.1", 1)])
        log.write(1)
        log.seal()
        assert last_seal(log).first == (2 if budget else 0)

    def test_a_log_that_somebody_has_cut_goes_on_and_shows(self, tmp_path: Path) -> None:
        """Deleted, emptied or cut in the middle: what comes then is in the tree, what is gone is named."""
        damages: list[Callable[[Path], None]] = [
            Path.unlink,
            partial(os.truncate, length=0),
            partial(os.truncate, length=50),
        ]
        for number, damage in enumerate(damages):
            log = SealedLog(tmp_path / str(number))
            log.write(4)
            log.seal()
            damage(log.path)
            log.seal()
            with log.path.open("ab") as file:
                file.write(b"\n" * (number == 2))
            log.write(2)
            log.seal()
            assert log.size() >= 6
            assert len(problems(log.directory, log.key())) == 1

    @settings(max_examples=examples(60))
    @given(steps=st.lists(st.sampled_from(["write", "many", "rotate", "zip", "seal", "look", "dies"]), max_size=25))
    def test_whatever_happens_each_line_is_in_the_tree_once(
        self, steps: list[str], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """Lines, rotations, seals, other processes, and deaths between any two files that are written."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sealer, "_COURTESY", 0.0)
            log = SealedLog(tmp_path_factory.mktemp("log"), backups=3)
            for number, step in enumerate(steps):
                match step:
                    case "write" | "many":
                        log.write(1 if step == "write" else 300)
                    case "rotate" | "zip" if log.path.exists() and log.path.stat().st_size:
                        log.rotate(compress=step == "zip")
                    case "seal":
                        log.seal()
                    case "look":
                        log.new_sealer().catch_up()
                    case "dies":
                        die_at(log, number % 5)
            log.seal()
            assert (last_seal(log).size, last_seal(log).root) == (log.count, expected_root(log.count))
            assert checked(log.directory, log.key()).counts == {}


class Death(BaseException):
    """What ends a process."""


def die_at(log: SealedLog, step: int) -> None:
    """Seal, and die just before, or just behind, the file number *step* that is written."""
    left = [step]
    with pytest.MonkeyPatch.context() as patch:

        def mortal(name: str) -> None:
            really = getattr(Store, name)

            def write(*args: Any, **more: Any) -> Any:
                if left[0] == 0:
                    raise Death
                left[0] -= 1
                done = really(*args, **more)
                if left[0] == 0 and step % 2:
                    raise Death
                return done

            patch.setattr(Store, name, write)

        for name in ("replace", "append_seal", "write_tile"):
            mortal(name)

        def seal_on() -> None:
            for _ in range(9):
                log.now += 60
                log.new_sealer().seal()

        with pytest.raises(Death):
            seal_on()


class TestSeals:
    def test_an_epoch_without_a_line_is_sealed_too(self, tmp_path: Path) -> None:
        """One seal for each epoch that is over, by one process of several (CVE-2023-31438)."""
        log = SealedLog(tmp_path, epoch=100.0)
        other = log.new_sealer(epoch=100.0)
        log.write(1)
        for _ in range(3):
            for one in (log.sealer, other):
                for _ in range(3):
                    one._next = 0.0
                    one.serve()
            log.now += 100
        records = (log.sealer.store.path / "seals.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(record)["number"] for record in records] == [0, 1, 2]
        assert [log.sealer.next_sealed() is not None for _ in range(4)] == [True, True, True, False]

    def test_a_clock_that_goes_back_does_not_end_sealing(self, tmp_path: Path) -> None:
        """It is sealed at once, and a remark tells of it."""
        log = SealedLog(tmp_path, epoch=100.0)
        log.seal()
        log.now -= 10_000
        log.sealer._deadline = 0.0
        assert log.sealer.serve() is False
        assert log.trouble == []
        report = checked(tmp_path, log.key())
        assert report.ok
        assert "the clock went back" in report.remarks[0]

    def test_the_end_seals_what_is_not_sealed(self, tmp_path: Path) -> None:
        """And nothing twice."""
        log = SealedLog(tmp_path)
        log.write(1)
        for _ in range(2):
            log.sealer.finish()
        assert len((log.sealer.store.path / "seals.jsonl").read_text("utf-8").splitlines()) == 1

    @pytest.mark.parametrize(("anchor", "expected"), [("daily", [1, 0, 0, 1]), ("epoch", [1] * 4), (None, [0] * 4)])
    def test_anchors_are_sent_as_often_as_asked(self, tmp_path: Path, anchor: str | None, expected: list[int]) -> None:
        """The first seal of a day, each, or none."""
        log = SealedLog(tmp_path, anchor=anchor)
        found = []
        for hours in (0, 1, 10, 24):
            log.now = 1_800_000_000.0 + hours * 3600
            found.append(int(log.sealer.seal().anchor))
        assert found == expected

    def test_keys_are_forgotten_and_files_are_private(self, tmp_path: Path) -> None:
        """No file holds a key that has signed; all are for their owner alone."""
        log = SealedLog(tmp_path)
        log.write(300)
        used = []
        for _ in range(4):
            log.sealer.begin()
            used.append(log.sealer.store.secrets().keys.private)
            log.seal()
        from metaexpert.logger.seal.note import encoded

        files = [path for path in log.sealer.store.path.rglob("*") if path.is_file()]
        assert len(set(used)) == 4
        for path in files:
            assert not any(encoded(key).encode() in path.read_bytes() for key in used)
            if os.name != "nt":
                assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.skipif(os.name == "nt", reason="Windows renames over no open file")
    def test_the_file_of_old_keys_is_overwritten(self, tmp_path: Path) -> None:
        """A descriptor that was open before finds zeros."""
        log = SealedLog(tmp_path)
        log.seal()
        with (log.sealer.store.path / "keys").open("rb") as old:
            log.seal()
            assert set(old.read()) == {0}

    def test_the_key_is_handed_out_once(self, tmp_path: Path) -> None:
        """The second time says when the first was."""
        log = SealedLog(tmp_path)
        key = log.sealer.hand_out()
        log.seal()
        assert problems(tmp_path, key) == []
        with pytest.raises(sealer.SealError, match=r"handed out on 2027-01-15 08:00:00Z"):
            log.sealer.hand_out()


class TestTrouble:
    @pytest.mark.parametrize(
        ("name", "content"),
        [("state", None), ("state", b"{"), ("state", b'{"file":1}'), ("keys", b"[]"), ("keys", b'{"keys":{}}'),
         ("seals.jsonl", None), ("vkey", b"x"), ("keys", None)],
    )  # fmt: skip
    def test_what_is_damaged_stops_sealing_and_is_told(self, tmp_path: Path, name: str, content: bytes | None) -> None:
        """It raises nothing, is told once, and never begins a second tree under the same name."""
        log = SealedLog(tmp_path)
        log.write(1)
        log.seal()
        path = log.sealer.store.path / name
        path.unlink() if content is None else path.write_bytes(content)
        log.write(1)
        log.now += 10_000
        log.sealer._deadline = 0.0
        for _ in range(3):
            log.sealer._next = 0.0
            log.sealer.serve()
            log.sealer.before_rotation()
            log.sealer.finish()
        if name == "vkey":
            with pytest.raises(sealer.SealError):
                log.key()
        else:
            [(text, error)] = log.trouble
            assert "sealing has stopped" in text
            assert name.removesuffix(".jsonl") in str(error) or name == "keys"

    def test_a_disk_that_fails_is_tried_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The lines wait in the file."""
        log = SealedLog(tmp_path)
        log.write(2)

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_store, "written_beside", full)
            log.sealer.before_rotation()
        assert len(log.trouble) == 1
        log.seal()
        assert last_seal(log).root == expected_root(2)

    def test_one_directory_has_one_sealed_log(self, tmp_path: Path) -> None:
        """Another name of the trade log does not mix into the tree."""
        log = SealedLog(tmp_path)
        log.seal()
        other = sealer.Sealer(
            tmp_path / "other.log",
            log.private,
            DirectoryLock(log.private / "lock"),
            on_trouble=lambda *w: log.trouble.append(w),
        )
        (tmp_path / "other.log").write_bytes(line(0))
        other.serve()
        assert "is of trades.log, not of other.log" in str(log.trouble[0][1])

    def test_what_was_half_made_is_made_anew(self, tmp_path: Path) -> None:
        """A kill before the keys were there."""
        log = SealedLog(tmp_path)
        log.sealer.begin()
        (log.sealer.store.path / "keys").unlink()
        log.write(1)
        log.seal()
        assert problems(tmp_path, log.key()) == []

    def test_states_go_to_text_and_back(self, tmp_path: Path) -> None:
        """State and keys."""
        log = SealedLog(tmp_path)
        log.write(300)
        log.seal()
        state, secrets = State.load(log.sealer.store.state()), log.sealer.store.secrets()
        assert State.load(state.dump()) == state
        assert Secrets.load(secrets.dump()) == secrets
        assert _store.now_text(1e300) == "at an unknown time"
