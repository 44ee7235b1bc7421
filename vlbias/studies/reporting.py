"""From run folders to their page, for every kind of study; needs no model and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from vlbias.errors import BadOption
from vlbias.report.blocks import Block
from vlbias.report.page import Page, Reported, write_page
from vlbias.report.page_folder import make_folder
from vlbias.runs.events import Note, silent
from vlbias.runs.remote import RemoteFolder, address_of
from vlbias.store.run_folder import Run
from vlbias.studies import kind_of
from vlbias.studies.kind import Compare, Kind

__all__ = ["report"]


def report(
    runs: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    *,
    draws: int = 2000,
    seed: int = 0,
    with_images: bool = False,
    with_figures: bool = False,
    note: Note = silent,
) -> Page:
    """Analyse finished runs and write their page and tables; needs no model.

    Args:
        runs: Run folders; several stand side by side on one page. They may be remote, as s3://bucket/runs/name.
        out: Folder for the page; `report` in the first run folder if not given.
        draws: Resampling draws of every interval and test.
        seed: Of the draws.
        with_images: Show example photos whose licence allows it; see
            `vlbias.studies.photos.example_photos`. Rendered scenes are shown in any case.
        with_figures: Write every figure as PNG and SVG into `figures` too.
        note: Told what is being done.

    Raises:
        BadOption: if there is no run, no draw, or the seed is negative.
        BadTable: if a folder is no finished run, `out` cannot be written, or photos are asked for that
            the run did not have.
    """
    folders = [Path(runs)] if isinstance(runs, Path | str) else [Path(run) for run in runs]
    if out is not None and address_of(out):
        expected = (
            "a folder of this machine, or nothing: a page then stands in the first run folder"
        )
        raise BadOption("out", out, expected)
    if any(map(address_of, folders)):
        options = {"draws": draws, "seed": seed, "with_images": with_images}
        return _of_copies(folders, out, note, with_figures=with_figures, **options)
    for name, given, fine, expected in (
        ("runs", [], bool(folders), "a run folder or several"),
        ("draws", draws, draws >= 1, "1 or more"),
        ("seed", seed, seed >= 0, "0 or more"),
    ):
        if not fine:
            raise BadOption(name, given, expected)
    opened = [Run(folder) for folder in folders]
    target = folders[0] / "report" if out is None else Path(out)
    make_folder(target, opened)
    done, kinds = [], []
    for run in opened:
        kind = kind_of(run.manifest["study"])
        tables = kind.numbers(run, draws=draws, seed=seed, note=note)
        note(f"figures of {run.folder.name}")
        done.append(Reported(run, tables, kind.section(run, tables, with_images=with_images)))
        kinds.append(kind)
    comparison = _side_by_side(done, kinds, draws, seed)
    return write_page(target, done, comparison, draws, with_figures=with_figures)


def _of_copies(folders: Sequence[Path], out: Path | str | None, note: Note, **options: Any) -> Page:
    """The report of runs of which some are remote; a page in a remote run folder is put there."""
    with ExitStack() as stack:
        opened, copies = list(folders), list[RemoteFolder]()
        for place, folder in enumerate(folders):
            if address := address_of(folder):
                note(f"fetching {address}")
                copies.append(stack.enter_context(RemoteFolder.copied(folder)))
                opened[place] = copies[-1].local
        page = report(opened, out, note=note, **options)
        for copy in copies:
            copy.push()
            page = _shown(page, copy)
        return page


def _shown(page: Page, copy: RemoteFolder) -> Page:
    """A page whose files are named as they are in the storage."""
    there: dict[str, Any] = {
        field.name: Path(copy.shown(str(value)))
        for field in fields(page)
        if isinstance(value := getattr(page, field.name), Path)
    }
    figures = tuple(Path(copy.shown(str(figure))) for figure in page.figures)
    return replace(page, figures=figures, **there)


def _side_by_side(
    done: Sequence[Reported], kinds: Sequence[Kind], draws: int, seed: int
) -> list[Block]:
    """Blocks of every comparison; runs whose kinds share one are compared with each other."""
    groups: dict[Compare, list[Reported]] = {}
    for one, kind in zip(done, kinds, strict=True):
        if kind.compare is not None:
            groups.setdefault(kind.compare, []).append(one)
    return [
        block
        for compare, members in groups.items()
        for block in compare([(one.run, one.tables) for one in members], draws=draws, seed=seed)
    ]
