"""The photos of a run as the estimators read them."""

from __future__ import annotations

import pandas as pd

from vlbias.analysis.panel import Panel
from vlbias.store.parquet import read_frame
from vlbias.store.run_folder import Run
from vlbias.store.seals import refuse_damaged

__all__ = ["groups_of", "nearest_of", "panel_of"]


def panel_of(run: Run) -> Panel:
    """All photos of a run."""
    frame = run.samples
    sample, cluster, group, split = (
        frame[name].to_numpy(str) for name in ("sample_id", "cluster", "group", "split")
    )
    groups = groups_of(run)
    # photos of several persons are in no group, and kept for the persons nearest to objects
    others = sorted(set(group.tolist()) - set(groups))
    return Panel(sample, cluster, group, split, run.targets, run.present, (*groups, *others))


def nearest_of(run: Run) -> pd.DataFrame:
    """The group of the person nearest to a target: sample_id, target, group; no row if none is known."""
    name, columns = "nearest.parquet", ("sample_id", "target", "group")
    if not run.manifest.get("sums", {}).get(name):
        return pd.DataFrame(columns=list(columns))
    refuse_damaged(run.folder, run.manifest, name)
    return read_frame(run.folder / name, columns)


def groups_of(run: Run) -> tuple[str, ...]:
    """The groups whose gaps a run is about."""
    return tuple(run.manifest["study"]["dataset"]["groups"])
