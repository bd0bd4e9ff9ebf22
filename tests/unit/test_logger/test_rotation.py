"""When a file is rotated, which backup goes where, and what a budget deletes: decisions without a file system."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.logger.files.rotation import FileFact, RotationPolicy, over_budget, shift
from metaexpert.logger.schema import backup_number

DAY = 86_400.0
HOUR = 3_600.0


def after(moves: Sequence[tuple[str, str | None]], files: dict[str, str]) -> dict[str, str]:
    """Do *moves* on a model of a directory (name -> content); a rename onto an existing name fails the test."""
    files = dict(files)
    for source, target in moves:
        content = files.pop(source)
        if target is not None:
            assert target not in files, f"{target} would be overwritten"
            files[target] = content
    return files


class TestDue:
    """`RotationPolicy.due`."""

    def test_a_file_is_rotated_before_it_would_grow_beyond_its_size(self) -> None:
        """A line that just fits is added; one byte more rotates first."""
        policy = RotationPolicy(max_size=100, backups=1)
        assert not policy.due(90, 10, 0, 0)
        assert policy.due(90, 11, 0, 0)

    def test_an_empty_file_is_never_rotated(self) -> None:
        """A line longer than the file may be goes into an empty file: rotating would not help."""
        assert not RotationPolicy(max_size=100, backups=1, when="hourly").due(0, 5000, 0, 10 * DAY)

    def test_without_backups_nothing_is_thrown_away(self) -> None:
        """With no backups to keep, a rotation would delete the log: it never happens."""
        policy = RotationPolicy(max_size=100, backups=0, when="midnight")
        assert not policy.due(1000, 1000, 0, 10 * DAY)
        assert policy.room(1000) > 2**62

    @pytest.mark.parametrize(
        ("when", "last_write", "now", "due"),
        [
            ("midnight", 5 * DAY - 0.001, 5 * DAY, True),
            ("midnight", 5 * DAY, 6 * DAY - 0.001, False),
            ("midnight", 2 * DAY, 9 * DAY, True),
            ("hourly", 3 * HOUR - 0.001, 3 * HOUR, True),
            ("hourly", 3 * HOUR, 4 * HOUR - 0.001, False),
            (None, 0.0, 100 * DAY, False),
        ],
    )
    def test_a_period_ends_at_its_utc_boundary(self, when: str, last_write: float, now: float, due: bool) -> None:
        """The first line of a new UTC day or hour rotates, however long nothing was written."""
        assert RotationPolicy(10**6, 3, when).due(10, 10, last_write, now) is due  # type: ignore[arg-type]

    def test_a_clock_that_stepped_back_rotates_nothing(self) -> None:
        """A file written "tomorrow" is not rotated today."""
        assert not RotationPolicy(10**6, 3, "midnight").due(10, 10, 5 * DAY, 4 * DAY)


class TestBackupNumber:
    """`backup_number`."""

    @pytest.mark.parametrize(
        ("name", "number"),
        [
            ("expert.log.1", 1),
            ("expert.log.12.gz", 12),
            ("expert.log", None),
            ("expert.log.0", None),
            ("expert.log.01", None),
            ("expert.log.1.bak", None),
            ("expert.log.1.gz.tmp", None),
            ("expertXlog.1", None),
            ("my-expert.log.1", None),
            ("expert.log.1\n", None),
        ],
    )
    def test_only_our_own_backups_have_a_number(self, name: str, number: int | None) -> None:
        """A name that merely resembles a backup's is somebody else's."""
        assert backup_number(name, "expert.log") == number


class TestShift:
    """`shift`."""

    def test_backups_move_up_and_the_oldest_goes(self) -> None:
        """With three kept, the third is deleted, the others move up, the current file becomes the first."""
        files = {"a": "now", "a.1": "1", "a.2.gz": "2", "a.3": "3", "b.1": "other"}
        assert after(shift(files, "a", 3), files) == {"a.1": "now", "a.2": "1", "a.3.gz": "2", "b.1": "other"}

    def test_one_backup(self) -> None:
        """With one kept, it is replaced."""
        files = {"a": "now", "a.1": "1"}
        assert after(shift(files, "a", 1), files) == {"a.1": "now"}

    def test_a_gap_ends_the_moving(self) -> None:
        """Backups behind a gap stay: renaming them would only cost."""
        files = {"a": "now", "a.1": "1", "a.3": "3"}
        assert after(shift(files, "a", 5), files) == {"a.1": "now", "a.2": "1", "a.3": "3"}

    def test_backups_beyond_a_smaller_count_are_deleted(self) -> None:
        """After backup_count was lowered, the surplus goes at the next rotation."""
        files = {"a": "now"} | {f"a.{n}": str(n) for n in range(1, 8)}
        assert after(shift(files, "a", 2), files) == {"a.1": "now", "a.2": "1"}

    def test_numbers_of_two_digits_move_in_their_order(self) -> None:
        """a.9 moves to a.10 and not a.1 to a.10."""
        files = {"a": "now"} | {f"a.{n}": str(n) for n in range(1, 11)}
        assert after(shift(files, "a", 20), files) == {"a.1": "now"} | {f"a.{n + 1}": str(n) for n in range(1, 11)}

    @given(
        numbers=st.sets(st.integers(1, 12)),
        packed=st.sets(st.integers(1, 12)),
        keep=st.integers(1, 12),
        failing=st.integers(0, 30),
    )
    def test_nothing_is_overwritten_and_order_is_kept(
        self, numbers: set[int], packed: set[int], keep: int, failing: int
    ) -> None:
        """Whatever was there, and wherever a step failed before: newest first, none lost that may stay."""
        files = {"a": "0"} | {f"a.{n}" + (".gz" if n in packed else ""): str(n) for n in numbers}
        partly = after(shift(files, "a", keep)[:failing], files)
        done = after(shift(partly, "a", keep), partly) if "a" in partly else partly
        backups = {backup_number(name, "a"): content for name, content in done.items() if name != "a"}
        order = [int(backups[number]) for number in sorted(n for n in backups if n)]
        assert order == sorted(order)
        assert max((n for n in backups if n), default=0) <= keep
        assert {0, *(n for n in numbers if n < keep)} <= {int(content) for content in done.values()}


class TestOverBudget:
    """`over_budget`."""

    def test_the_oldest_backups_go_until_the_rest_fits(self) -> None:
        """Over all files of ours the oldest backup goes first, and no more than needed."""
        files = [FileFact("a", 100, 9), FileFact("a.1", 100, 5), FileFact("b.1", 100, 3), FileFact("a.2", 100, 4)]
        assert over_budget(files, {"a", "b"}, 400) == []
        assert over_budget(files, {"a", "b"}, 399) == ["b.1"]
        assert over_budget(files, {"a", "b"}, 150) == ["b.1", "a.2", "a.1"]

    def test_current_files_and_strangers_stay(self) -> None:
        """However small the budget, nothing but our own backups is deleted, and strangers do not count."""
        files = [FileFact("a", 100, 1), FileFact("a.1", 100, 2), FileFact("a.1.txt", 9999, 0), FileFact("z.1", 9999, 0)]
        assert over_budget(files, {"a"}, 1) == ["a.1"]
        assert over_budget(files, {"a"}, 200) == []

    def test_the_highest_number_goes_first_when_times_are_equal_or_touched(self) -> None:
        """a.3 is older than a.1 whatever their times say: numbers stay without a gap."""
        files = [FileFact("a.1", 10, 1), FileFact("a.2.gz", 10, 1), FileFact("a.3", 10, 7)]
        assert over_budget(files, {"a"}, 15) == ["a.3", "a.2.gz"]
