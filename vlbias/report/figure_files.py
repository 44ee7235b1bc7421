"""The figures of a page as files: PNG for a document, SVG for a drawing program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib

from vlbias.report.blocks import Block

__all__ = ["figure_name", "write_figures"]

_DOTS = 200
_FIXED = {"svg.hashsalt": "vlbias", "svg.fonttype": "none"}


def figure_name(title: str, number: int) -> str:
    """The name of a figure's file, in the order of the page: "03-gap-of-every-object"."""
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return f"{number:02d}-{words[:60].rstrip('-')}"


def write_figures(folder: Path, blocks: Sequence[Block]) -> list[Path]:
    """Write every figure of some blocks, on white, and give back the files.

    Args:
        folder: Made if need be.
        blocks: Of one run, in their order.
    """
    drawn = [(block.title, block.figure) for block in blocks if block.figure is not None]
    if not drawn:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, (title, figure) in enumerate(drawn, 1):
        for ending in ("png", "svg"):
            path = folder / f"{figure_name(title, number)}.{ending}"
            with matplotlib.rc_context(_FIXED):
                figure.savefig(
                    path, dpi=_DOTS, bbox_inches="tight", facecolor="#ffffff",
                    metadata={"Date": None} if ending == "svg" else None,
                )  # fmt: skip
            written.append(path)
    return written
