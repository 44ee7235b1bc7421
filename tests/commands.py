"""The command line as tests use it, and what a folder holds."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from vlbias import cli
from vlbias.errors import VlbiasError


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def said(error: VlbiasError) -> str:
    """What an error says: never nothing."""
    assert str(error).strip()
    return str(error)


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the one that says which process was at work."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".working")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}
