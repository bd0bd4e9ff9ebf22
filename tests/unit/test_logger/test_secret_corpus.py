"""The rules for secrets against texts as they are seen: all secrets are found, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaexpert.logger.masking.rules import mask_text

CORPUS = Path(__file__).parent / "corpus"
MARKED = re.compile("⟦(.*?)⟧", re.DOTALL)


def cases(name: str) -> Iterator[str]:
    """Yield the texts of a corpus file; its first lines tell its form."""
    for line in (CORPUS / name).read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line.replace("·", "").replace("↵", "\n").replace("␛", "\x1b")


SECRETS = [*cases("secrets.txt"), *cases("library_secrets.txt"), *cases("neighbour_secrets.txt")]
ORDINARY = [*cases("ordinary.txt"), *cases("library_ordinary.txt"), *cases("neighbour_ordinary.txt")]


@pytest.mark.parametrize("case", SECRETS)
def test_secrets_are_masked_and_what_is_around_them_stays(case: str) -> None:
    """Exactly what is marked becomes ***."""
    assert mask_text(MARKED.sub(r"\1", case)) == MARKED.sub("***", case)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text: str) -> None:
    """Prose, ids, hashes, addresses, prices, requests and code without secrets."""
    assert mask_text(text) == text


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
    assert len(set(SECRETS)) >= 440
    assert len(set(ORDINARY)) >= 540
    assert (recall, precision) == (1.0, 1.0)


@pytest.mark.parametrize("case", SECRETS)
def test_masking_again_changes_nothing(case: str) -> None:
    """A masked text is an ordinary one."""
    masked = MARKED.sub("***", case)
    assert mask_text(masked) == masked
