"""`metaexpert logs seal`, `prove` and `check-proof`: seal a trade log, and prove one order without the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Directories, Json, opened
from metaexpert.cli.seal.files import key_of, need_extra, stamp_checker, text_of
from metaexpert.logger.entry.console_text import escape
from metaexpert.logs.vocabulary import counted

if TYPE_CHECKING:
    from metaexpert.logger.seal.note import VerifierKey

_KEY_HELP = "Hand the verification key out, once: to a file, or to standard output with -."


def seal(
    directories: Directories = None,
    key_out: Annotated[
        str | None, typer.Option("--key-out", metavar="FILE", help=_KEY_HELP, show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Seal the trade log of an expert now, and hand out the verification key.

    Takes the last lines into the tree and seals it with the current key, which
    is then forgotten; the first time it makes the keys. Keep the verification
    key on another machine. The expert may run or not. Writes to .metaexpert/.

    Exit code 1: it cannot be sealed.

    Example:
      metaexpert logs seal --key-out - | ssh me@home 'cat > bot.key'
      metaexpert logs seal ./live-logs
    """
    from metaexpert.logger.seal.sealer import SealError  # noqa: PLC0415 - for seals alone

    need_extra()
    found = opened(directories or ()).directories
    if key_out is not None and len(found) != 1:
        raise output.InputError("--key-out is for one directory")
    for directory in found:
        try:
            facts = _seal(directory, key_out)
        except (SealError, OSError, EOFError, LookupError) as error:
            output.complain("error", [f"{directory} cannot be sealed: {error}"])
            raise typer.Exit(1) from None
        if key_out == "-":
            continue  # standard output is the key alone
        if as_json:
            output.write_json(facts, ensure_ascii=True)
        else:
            output.write(
                f"{directory}: seal {facts['seal']} covers {counted(int(str(facts['lines'])), 'line')} of "
                f"{facts['file']}; the key's fingerprint is {facts['fingerprint']}\n"
            )


def _seal(directory: Path, key_out: str | None) -> dict[str, object]:
    from metaexpert.logger import schema  # noqa: PLC0415 - the writer's part
    from metaexpert.logger.seal.sealer import Sealer  # noqa: PLC0415
    from metaexpert.logger.system.locks import DirectoryLock  # noqa: PLC0415
    from metaexpert.logs.seal.published import Published  # noqa: PLC0415

    private = directory / schema.PRIVATE_DIRECTORY
    name = Published(directory).file
    lock = DirectoryLock(private / "lock")
    try:
        sealer = Sealer(directory / name, private, lock, anchor=None)
        if key_out is not None:
            _write_key(sealer.hand_out, key_out)
        sealed = sealer.seal()
        fingerprint = sealer.store.key.fingerprint
    finally:
        lock.close()
    return {
        "file": name,
        "seal": sealed.number,
        "lines": sealed.size,
        "checkpoint": sealed.note,
        "fingerprint": fingerprint,
    }


def _write_key(hand_out: Callable[[], VerifierKey], name: str) -> None:
    from metaexpert.logger.seal.sealer import SealError  # noqa: PLC0415 - the writer's part

    if name == "-":
        output.write(f"{hand_out()}\n")
        return
    try:
        with Path(name).open("x", encoding="utf-8") as file:  # it can be written: now the key may leave
            file.write(f"{hand_out()}\n")
    except FileExistsError:
        raise output.InputError(f"{name} exists") from None
    except SealError:
        Path(name).unlink()
        raise


def prove(
    order_id: Annotated[str, typer.Argument(metavar="ORDER", help="Any of its ids, as in metaexpert logs order.")],
    directories: Directories = None,
    to: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Path of the proof.", show_default=False)
    ] = None,
) -> None:
    """Prove that the lines about one order are in the sealed trade log, without the rest of it.

    The proof holds those lines, their places in the log, a seal, and hashes
    (C2SP tlog-proof). Anyone can check it with the verification key.

    Exit code 1: there is no such order, or it is not sealed yet.

    Example:
      metaexpert logs prove ord-42 -o ord-42.tlog-proof
    """
    need_extra()
    from metaexpert.logs.seal.prove import NoProof, prove_order  # noqa: PLC0415 - for seals alone

    try:
        proofs = prove_order(opened(directories or ()), order_id)
    except NoProof as error:
        output.complain("error", [str(error)])
        raise typer.Exit(1) from None
    text = "".join(proof.text() for proof in proofs)
    if to is None or to == "-":
        output.write(text)
        return
    try:
        Path(to).write_text(text, "utf-8", "surrogateescape", newline="\n")
    except OSError as error:
        raise output.InputError(f"{to} cannot be written: {error.strerror or error}") from None
    output.write(f"{to}: {counted(len(proofs), 'line')} about order {escape(order_id)}\n")


def check_proof(
    proof: Annotated[str, typer.Argument(metavar="FILE", help="A proof, or - for standard input.")],
    seal: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The verification key: a file, or - for standard input.", show_default=False),
    ] = None,
    tsa_ca: Annotated[
        str | None, typer.Option(metavar="FILE", help="Authorities of the time stamping server (PEM).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a proof of metaexpert logs prove, and print the lines that it proves.

    Needs no log. Without --seal the proof is checked against the key that it
    brings along, whose fingerprint is printed: compare it with the one that
    you know.

    Exit code 0: it holds. 1: it does not.

    Example:
      metaexpert logs check-proof ord-42.tlog-proof --seal bot.key
    """
    need_extra()
    from metaexpert.logger.seal.note import FormatError  # noqa: PLC0415 - for seals alone

    if seal == proof == "-":
        raise output.InputError("standard input cannot be the proof and the key")
    text, key = text_of(proof, "the proof"), key_of(seal) if seal is not None else None
    try:
        facts = _checked(text, key, tsa_ca)
    except FormatError as error:
        if as_json:
            output.write_json({"ok": False, "problem": str(error)}, ensure_ascii=True)
        output.complain("error", [f"the proof does not hold: {error}"])
        raise typer.Exit(1) from None
    if as_json:
        output.write_json({"ok": True, "proofs": facts}, ensure_ascii=True)
        return
    for fact in facts:
        output.write(f"{escape(str(fact['line']))}\n  {fact['text']}\n")
    known = "the given key" if key is not None else f"the key in the proof, {facts[0]['fingerprint']}: compare it"
    output.write(f"{counted(len(facts), 'line')} proven by {known}\n")


def _checked(text: str, key: VerifierKey | None, authorities: str | None) -> list[dict[str, object]]:
    """Return what each proof proves. Raises FormatError at the first that proves nothing."""
    from metaexpert.logger.seal.note import FormatError  # noqa: PLC0415 - for seals alone
    from metaexpert.logger.seal.proof import parse_proofs  # noqa: PLC0415

    stamps, facts = stamp_checker(authorities), list[dict[str, object]]()
    for proof in parse_proofs(text):
        signer = key or proof.key
        checkpoint = proof.check(signer)
        told = f"number {proof.index} of {checkpoint.size} in seal {proof.number} of {checkpoint.origin}"
        told += f", made at {checkpoint.time:%Y-%m-%d %H:%M:%SZ} by its clock"
        if proof.stamp:
            problem, when = stamps.check(proof.stamp, proof.seal.encode())
            if problem:
                raise FormatError(f"the time stamp: {problem}")
            told += f"; existed {when}"
        line = proof.line.decode("utf-8", "backslashreplace")
        facts.append(
            {"line": line, "index": proof.index, "seal": proof.number, "text": told, "fingerprint": signer.fingerprint}
        )
    return facts
