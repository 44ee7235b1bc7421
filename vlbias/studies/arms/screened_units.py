"""What screening chose, and how good its approximation was."""

from __future__ import annotations

import pandas as pd

from vlbias.analysis.preselection import screening_quality
from vlbias.report.blocks import Block, block
from vlbias.store.parquet import read_frame
from vlbias.store.run_folder import Run

__all__ = ["screened_units", "screening_block", "skipped_units"]


def screened_units(run: Run, contrast: str, exact: pd.Series[float]) -> pd.DataFrame:
    """Approximate effects of the units against the exact ones; no rows where the run was not screened.

    Args:
        run: The run.
        contrast: Its name.
        exact: Mediator to mean indirect effect, of those that were run.
    """
    if "screen" not in run.manifest:
        return pd.DataFrame()
    table = read_frame(run.folder / run.manifest["screen"]["table"])
    return screening_quality(table[table["contrast"] == contrast], exact)


def skipped_units(run: Run) -> int:
    """Units that were not run; a correction counts them as tests that showed nothing."""
    return int(run.manifest["screen"]["skipped"]) if "screen" in run.manifest else 0


def screening_block(table: pd.DataFrame, unit: str) -> Block:
    """What was chosen, in words and as a table.

    Args:
        table: From `screened_units`.
        unit: What one backward pass is run for, "text" or "photo".
    """
    text = (
        "Approximate: which mediators were run was chosen by gradient attribution, one backward pass a "
        f"{unit}. Their own effects above are exact; those that were skipped have none. The correlation "
        "between both was measured on the mediators that were run: the chosen ones, and others drawn at random "
        "from those that were not chosen, of which 'largest missed' is the largest exact effect."
    )
    return block("Screening", text, table=table)
