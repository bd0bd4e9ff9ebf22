"""The rules for secrets against texts as they are seen: all secrets are found, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import MetaLogger
from metaexpert.logger.masking.rules import mask_text

CORPUS = Path(__file__).parent / "corpus"
MARKED = re.compile("⟦(.*?)⟧", re.DOTALL)


def cases(name: str) -> Iterator[str]:
    """Yield the texts of a corpus file; its first lines tell its form."""
    for line in (CORPUS / name).read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line.replace("·", "").replace("↵", "\n").replace("␛", "\x1b")


FILES = ("", "library_", "neighbour_")
SECRETS = [text for prefix in FILES for text in cases(f"{prefix}secrets.txt")]
ORDINARY = [text for prefix in FILES for text in cases(f"{prefix}ordinary.txt")]


def masked_wrongly(expected: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the texts that do not become what is *expected*, and what they become."""
    return {text: masked for text, right in expected if (masked := mask_text(text)) != right}


@pytest.mark.parametrize("prefix", FILES)
def test_secrets_are_masked_and_what_is_around_them_stays(prefix: str) -> None:
    """Exactly what is marked becomes ***."""
    texts = list(cases(f"{prefix}secrets.txt"))
    assert masked_wrongly((MARKED.sub(r"\1", text), MARKED.sub("***", text)) for text in texts) == {}


@pytest.mark.parametrize("prefix", FILES)
def test_ordinary_text_stays(prefix: str) -> None:
    """Prose, ids, hashes, addresses, prices, requests and code without secrets."""
    assert masked_wrongly((text, text) for text in cases(f"{prefix}ordinary.txt")) == {}


def test_recall_and_precision(capsys: pytest.CaptureFixture[str]) -> None:
    """Of many hundred texts each way, all secrets are found, and no ordinary text is touched."""
    found = total = 0
    for case in SECRETS:
        masked = mask_text(MARKED.sub(r"\1", case))
        expected = MARKED.sub("***", case)
        total += len(MARKED.findall(case))
        found += len(MARKED.findall(case)) if masked == expected else 0
    touched = sum(mask_text(text) != text for text in ORDINARY)
    recall, precision = found / total, 1 - touched / len(ORDINARY)
    with capsys.disabled():
        print(f"\nrecall {recall:.1%} of {total} secrets in {len(SECRETS)} texts", end="")
        print(f", precision {precision:.1%} on {len(ORDINARY)} ordinary texts")
    assert len(set(SECRETS)) >= 660
    assert len(set(ORDINARY)) >= 880
    assert (recall, precision) == (1.0, 1.0)


def test_masking_again_changes_nothing() -> None:
    """A masked text is an ordinary one."""
    assert masked_wrongly((text, text) for text in (MARKED.sub("***", case) for case in SECRETS)) == {}


def test_calls_mask_what_the_rules_mask(read_log: Callable[..., list[dict[str, Any]]]) -> None:
    """The screen of the compiled core lets no text of the corpus pass that the rules would mask."""
    with MetaLogger(log_dir="logs", log_to_console=False, journal_size="64MB") as logger:
        for text in [MARKED.sub(r"\1", case) for case in SECRETS] + ORDINARY:
            logger.info("m", note=text)
            logger.info(text)
    entries = read_log("logs/expert.log")
    logged = [(entry.get("note"), entry["message"]) for entry in entries]
    masked = [MARKED.sub("***", case) for case in SECRETS] + ORDINARY
    assert [note for note, _ in logged[::2]] == masked
    assert [message for _, message in logged[1::2]] == masked
