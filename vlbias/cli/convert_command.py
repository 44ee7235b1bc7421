"""The command that turns a checkpoint as its authors saved it into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlbias.cli.output import echo
from vlbias.progress import loading_quietly

__all__ = ["convert"]


def convert(
    checkpoint: Annotated[
        str, typer.Argument(help="A .pth file of GLIP, or its name in vlbias list models.")
    ],
    folder: Annotated[Path, typer.Argument(help="Where to: a new folder.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Folder or hub name of uncased BERT's tokenizer, if not beside the file."
        ),
    ] = None,
) -> None:
    """Write a checkpoint as a folder of settings, safetensors and tokenizer, to be used offline."""
    from vlbias.models.glip.loading import convert as written

    with loading_quietly():
        written(checkpoint, folder, tokenizer)
    echo(f"model: {folder}\nnext: vlbias check {folder}")
