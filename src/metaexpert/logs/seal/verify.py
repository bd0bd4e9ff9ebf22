"""Checks a sealed log against its verification key: names the first line that is not as it was.

Problems are added to a report of `metaexpert.logs.verify`: ``changed``, ``removed``, ``inserted``, ``reordered``,
``cut off``; ``seal`` for a seal that its key has not signed, ``tile`` for the tree, ``anchor`` for what a witness has
seen and the log does not hold. Only the key, and what it signed, is believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from metaexpert.logger.seal.note import Checkpoint, FormatError, VerifierKey
from metaexpert.logger.seal.tree import EMPTY, Nodes, leaf_hash, nodes_of_leaves, root
from metaexpert.logs.library import Logs
from metaexpert.logs.seal._differences import Difference, first_difference
from metaexpert.logs.seal.published import Checked, Published
from metaexpert.logs.seal.stamps import StampChecker
from metaexpert.logs.verify import Report
from metaexpert.logs.vocabulary import counted, seconds

_SEALS: Final = "seals.jsonl"
#: A checkpoint in whatever text.
_CHECKPOINT: Final = r"\n[0-9]+\n[A-Za-z0-9+/]{43}=\ntime [^\n]{1,40}\nfirst [0-9]+\n"
#: Escapes in which a witness may have kept it: those of JSON, also of JSON in JSON or in a syslog message (whose
#: backslashes are doubled), and the octal ones of rsyslog.
_ESCAPED: Final = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|([nr/]))|#(012|015)")
_MEANT: Final = {"n": "\n", "r": "\r", "/": "/", "012": "\n", "015": "\r"}
#: How often to look again when a writer has sealed meanwhile.
_TRIES: Final = 3


class _Lines(NamedTuple):
    """The lines of a log: their leaf hashes, and where files begin among them."""

    leaves: list[bytes]
    files: list[tuple[int, str]]

    def place(self, at: int) -> tuple[str, int]:
        """Return file and line number of the line at an index; of the end, the last line."""
        found = [(begin, name) for begin, name in self.files if begin <= at] or [(0, "trades.log")]
        begin, name = found[-1]
        return name, at - begin + 1


def verify_seal(
    logs: Logs,
    key: VerifierKey,
    report: Report,
    *,
    anchors: Sequence[str] = (),
    stamps: StampChecker | None = None,
) -> None:
    """Check the sealed logs of *logs* against *key*.

    Args:
        logs: The directories.
        key: The verification key.
        report: Takes problems and remarks.
        anchors: Texts with checkpoints that a witness has kept.
        stamps: Checks time stamps.

    Raises:
        OSError: A file of the seal may not be read.
    """
    for directory in logs.directories:
        for _ in range(_TRIES):
            published, result = Published(directory), Report()
            before = _moving(published)
            _Check(directory, published, key, result, stamps or StampChecker()).run(anchors)
            if result.ok or before == _moving(published):
                break
        for problem in result.problems:
            report.add(problem.kind, problem.file, problem.line, problem.text)
        report.remarks += result.remarks


def _meant(escaped: re.Match[str]) -> str:
    code, letter, octal = escaped.groups()
    return chr(int(code, 16)) if code else _MEANT[letter or octal]


def _moving(published: Published) -> tuple[bytes, bytes]:
    """Return what a writer changes while it goes on."""
    return published.read("checkpoint"), published.read("state")


class _Check:
    def __init__(
        self, directory: Path, published: Published, key: VerifierKey, report: Report, stamps: StampChecker
    ) -> None:
        self._directory = directory
        self._published = published
        self._key = key
        self._report = report
        self._stamps = stamps

    def run(self, anchors: Sequence[str]) -> None:
        seals = self._checked_seals()
        if not seals:
            self._report.add("seal", _SEALS, 0, f"{self._directory} holds no seal of the key {self._key.fingerprint}")
            return
        lines, last = self._lines(), seals[-1].checkpoint
        begins, name = lines.files[-1] if lines.files else (0, "")
        empty = begins == len(lines.leaves) or name != self._published.file
        first = self._published.first(last, next(iter(lines.leaves), None), unsure=empty)
        sealed = self._sealed_leaves(seals, first)
        if sealed is None:
            self._compare_by_roots(seals, lines, first)
        else:
            if self._published.state.get("budget"):
                first, sealed = self._without_deleted(sealed, lines, first)
            self._compare(sealed, lines, first)
        self._check_anchors(anchors, seals)
        self._tell_stamps(seals)
        self._tell_age(seals, max(len(lines.leaves) - max(last.size - first, 0), 0))

    # -- seals ------------------------------------------------------------------------------------------------

    def _checked_seals(self) -> list[Checked]:
        found: list[Checked] = []
        try:
            for checked in self._published.checked(self._key):
                if found and checked.checkpoint.time < found[-1].checkpoint.time:
                    self._report.remarks.append(f"seal {checked.seal.number}: the clock went back before it")
                found.append(checked)
        except FormatError as error:
            self._report.add("seal", _SEALS, len(found) + 1, str(error))
        # A kill may come between a seal and the file that shows the last one.
        notes = [checked.seal.note.encode() for checked in found[-2:]] + [b""] * (len(found) == 1)
        if found and not self._report.counts and self._published.read("checkpoint") not in notes:
            self._report.add("seal", "checkpoint", 0, f"it is not the last seal, which is {found[-1].seal.number}")
        return found

    def _sealed_leaves(self, seals: list[Checked], first: int) -> list[bytes] | None:
        """Return the leaves from *first* on, if the tiles hold the tree of the last seal; else None."""
        try:
            leaves = self._published.leaves(first, seals[-1].checkpoint.size)
            problem = self._tree_problem(seals, first, nodes_of_leaves(leaves, first, self._published.nodes))
        except LookupError as error:
            leaves, problem = [], str(error)
        if problem:
            self._report.add("tile", "tile", 0, problem)
        return None if problem else leaves

    @staticmethod
    def _tree_problem(seals: list[Checked], first: int, nodes: Nodes) -> str:
        """Return which seal is not of the tree of *nodes*; empty for none. What retention has taken is not asked."""
        known: tuple[int, bytes] = (0, EMPTY)
        for seal, checkpoint in ((checked.seal, checked.checkpoint) for checked in seals):
            if checkpoint.size < first and checkpoint is not seals[-1].checkpoint:
                continue
            if checkpoint.size != known[0]:
                known = checkpoint.size, root(checkpoint.size, nodes)
            if checkpoint.root != known[1]:
                return f"the tree is not the one of seal {seal.number}, of {checkpoint.size} lines"
        return ""

    # -- lines ------------------------------------------------------------------------------------------------

    def _lines(self) -> _Lines:
        found = _Lines([], [])
        logs = Logs((self._directory,))
        with logs.opened() as chains:
            for log in chains:
                for file in log.files if log.files[0].name.base == self._published.file else ():
                    found.files.append((len(found.leaves), file.label))
                    for piece in file.pieces(logs.counts):
                        found.leaves.extend(map(leaf_hash, piece.data.split(b"\n")[:-1]))
        return found

    def _without_deleted(self, sealed: list[bytes], lines: _Lines, first: int) -> tuple[int, list[bytes]]:
        """Return what is left when the oldest lines may have been deleted to meet a budget."""
        gone = sealed.index(lines.leaves[0]) if lines.leaves and lines.leaves[0] in sealed else 0
        if gone:
            text = f"the oldest {counted(gone, 'sealed line')} {_is_or_are(gone)} gone: max_total_size may be why"
            self._report.remarks.append(text)
        return first + gone, sealed[gone:]

    def _compare(self, sealed: list[bytes], lines: _Lines, first: int) -> None:
        found = first_difference(sealed, lines.leaves)
        if found is not None:
            name, number = lines.place(found.place)
            self._report.add(found.kind, name, number - (found.kind == "cut off"), _text(found, first + found.leaf))
        elif (ahead := self._published.state.get("size", 0) - first - len(lines.leaves)) > 0:
            name, number = lines.place(len(lines.leaves))
            text = f"{counted(ahead, 'line')} behind this one, not sealed yet but read, {_is_or_are(ahead)} gone"
            self._report.add("cut off", name, number - 1, text)

    def _compare_by_roots(self, seals: list[Checked], lines: _Lines, first: int) -> None:
        """Without tiles that can be trusted, the seals say up to where the lines are as they were."""
        nodes, end = nodes_of_leaves(lines.leaves, first, self._published.nodes), first + len(lines.leaves)
        good, last = first, seals[-1].checkpoint
        try:
            for checkpoint in (checked.checkpoint for checked in seals if checked.checkpoint.size > first):
                if checkpoint.size > end:
                    name, number = lines.place(len(lines.leaves))
                    text = f"{last.size - end} sealed lines are missing at the end, or were removed before it"
                    self._report.add("cut off", name, number - 1, text)
                    break
                if root(checkpoint.size, nodes) != checkpoint.root:
                    name, number = lines.place(good - first)
                    text = f"of the {checkpoint.size - good} lines from here on one or more are not as they were sealed"
                    self._report.add("changed", name, number, text)
                    break
                good = checkpoint.size
            else:
                self._report.remarks.append("the tiles are damaged, and the lines are as they were sealed")
        except LookupError:
            self._report.add("tile", "tile", 0, "without its tiles the lines cannot be compared with the seals")

    # -- witnesses --------------------------------------------------------------------------------------------

    def _check_anchors(self, anchors: Sequence[str], seals: list[Checked]) -> None:
        ours = {(c.checkpoint.size, c.checkpoint.root, c.checkpoint.time) for c in seals}
        for text in anchors:
            of_this = list(self._seen(text))
            if not of_this:
                self._report.add("anchor", "anchor", 0, f"there is no checkpoint of {self._key.name} in it")
                continue
            for anchor in of_this:
                if (anchor.size, anchor.root, anchor.time) not in ours:
                    what = f"a checkpoint of {anchor.size} lines from {anchor.time:%Y-%m-%d %H:%M:%SZ}"
                    self._report.add("anchor", "anchor", 0, f"{what} is none of this log: it was cut back or made anew")
            newest = max(of_this, key=lambda anchor: anchor.size)
            self._report.remarks.append(
                f"a witness has seen the first {newest.size} lines as of {newest.time:%Y-%m-%d %H:%M:%SZ}"
            )

    def _seen(self, text: str) -> Iterator[Checkpoint]:
        """Yield the checkpoints of this log in a text that a witness has kept."""
        plain = _ESCAPED.sub(_meant, text).replace("\r", "")
        for match in re.finditer(re.escape(self._key.name) + _CHECKPOINT, plain):
            try:
                yield Checkpoint.parse(match[0])
            except FormatError as error:
                self._report.add("anchor", "anchor", 0, f"a checkpoint in it is damaged: {error}")

    def _tell_stamps(self, seals: list[Checked]) -> None:
        for number, answer in self._published.stamps().items():
            if number >= len(seals):
                self._report.add("anchor", f"stamps/{number}.tsr", 0, f"it is of seal {number}, which is missing")
                continue
            problem, text = self._stamps.check(answer, seals[number].seal.note.encode())
            if problem:
                self._report.add("anchor", f"stamps/{number}.tsr", 0, problem)
            else:
                size = seals[number].checkpoint.size
                self._report.remarks.append(f"seal {number}: the first {size} lines existed {text}")

    def _tell_age(self, seals: list[Checked], unsealed: int) -> None:
        last = seals[-1]
        age = (datetime.now(UTC) - last.checkpoint.time).total_seconds()
        text = (
            f"{counted(len(seals), 'seal')} of {self._key.name}; the last, {last.seal.number}, covers "
            f"{counted(last.checkpoint.size, 'line')} and is of {last.checkpoint.time:%Y-%m-%d %H:%M:%SZ} "
            f"({seconds(age).lstrip('+')} ago)"
        )
        if last.checkpoint.first:
            text += f"; retention had taken the first {last.checkpoint.first} by then"
        if unsealed:
            text += f"; {counted(unsealed, 'line')} after it {_is_or_are(unsealed)} not sealed yet"
        self._report.remarks.append(text)


def _text(found: Difference, leaf: int) -> str:
    lines = counted(found.count, "line")
    if found.kind == "cut off":
        return f"{lines} sealed behind this one {_is_or_are(found.count)} gone"
    if found.kind == "removed":
        return f"{lines} sealed before this one {_is_or_are(found.count)} gone (number {leaf} of the sealed log)"
    if found.kind == "inserted" and found.copied:
        return f"this line is a copy of number {leaf} of the sealed log, and was not sealed here"
    if found.kind == "inserted":
        return f"{lines} here {_is_or_are(found.count)} not in the sealed log"
    if found.kind == "reordered":
        return f"number {leaf} of the sealed log should stand here, and stands further down"
    return f"{lines} from here on {_is_or_are(found.count)} not as sealed (number {leaf} of the sealed log)"


def _is_or_are(count: int) -> Any:
    return "is" if count == 1 else "are"
