"""What commands print: names from files stand in it as text, and can steer no terminal."""

from __future__ import annotations

import io
import sys

import typer

from vlbias.progress import printable

__all__ = ["echo", "write_any_letter"]


def echo(text: str, *, err: bool = False) -> None:
    """Print a line; see `vlbias.progress.printable`."""
    typer.echo(printable(text), err=err)


def write_any_letter() -> None:
    """Let both streams write what their encoding lacks as an escape, not as a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
