"""A reader of log directories that is not ours."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

FILES = ("expert.log", "trades.log", "errors.log")


class Logs:
    """What a log directory holds: plain JSON, none of our code. A torn line fails the test."""

    def __init__(self, directory: Path | str = "logs") -> None:
        self.directory = Path(directory)

    def entries(self, base: str = "expert.log") -> list[dict[str, Any]]:
        """Return the entries of a file and its backups, oldest file first."""
        found = []
        for path in sorted(self.directory.glob(f"{base}*"), key=_age, reverse=True):
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            assert data == b"" or data.endswith(b"\n"), f"{path} ends in a torn line"
            found += [json.loads(line) for line in data.split(b"\n")[:-1]]
        return found

    def numbers(self, base: str = "expert.log", **fields: object) -> list[int]:
        """Return the field `number` of those entries that have it, and these fields."""
        found = [entry for entry in self.entries(base) if "number" in entry]
        return [entry["number"] for entry in found if all(entry.get(key) == fields[key] for key in fields)]

    def news(self, message: str) -> list[dict[str, Any]]:
        """Return the entries that the log wrote about itself under this name."""
        return [entry for entry in self.entries() if entry["message"] == message]

    def gaps(self) -> list[tuple[str, int]]:
        """Return which numbers of which process are missing in the files together, or twice in one of them."""
        ids: dict[str, set[int]] = {}
        wrong: list[tuple[str, int]] = []
        for base in FILES:
            counted = Counter((entry["procid"], entry["sequence_id"]) for entry in self.entries(base))
            wrong += [key for key, times in counted.items() if times > 1]
            for procid, number in counted:
                ids.setdefault(procid, set()).add(number)
        for procid, found in ids.items():
            wrong += [(procid, number) for number in sorted(set(range(1, max(found) + 1)) - found)]
        return wrong


def _age(path: Path) -> int:
    return int("0" + "".join(filter(str.isdigit, path.name)))
