"""The photos of a run as the estimators read them."""

from __future__ import annotations

from vlbias.analysis.panel import Panel
from vlbias.store.run_folder import Run

__all__ = ["panel_of"]


def panel_of(run: Run) -> Panel:
    """All photos of a run."""
    frame = run.samples
    sample, cluster, group, split = (
        frame[name].to_numpy(str) for name in ("sample_id", "cluster", "group", "split")
    )
    groups = tuple(run.manifest["study"]["dataset"]["groups"])
    return Panel(sample, cluster, group, split, run.targets, run.present, groups)
