"""Whether a run is finished and all its files are what was written."""

from __future__ import annotations

from vlbias.errors import BadTable
from vlbias.store.run_folder import Run
from vlbias.store.seals import refuse_damaged

__all__ = ["refuse_unfinished"]

_SHOWN = 5


def refuse_unfinished(run: Run) -> None:
    """Nothing, for a run whose cells and tables are all there and sound.

    Raises:
        BadTable: says what is missing or damaged, and how to go on.
    """
    refuse_damaged(run.folder, run.manifest)
    damaged, missing = run.cells.damaged, run.cells.missing
    if not missing:
        return
    said = "; ".join(f"cell {key} {why}" for key, why in list(damaged.items())[:_SHOWN])
    said += f"; and {len(damaged) - _SHOWN} more" if len(damaged) > _SHOWN else ""
    raise BadTable(
        f"{run.folder}: {len(missing)} of {len(run.cells.keys)} cells are missing"
        + (f" or damaged ({said})" if said else "")
        + f"; unless the run is still going on, run `vlbias resume {run.folder}` first"
    )
