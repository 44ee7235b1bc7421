"""A plan for more photos from a run of few."""

from __future__ import annotations

import numpy as np

from vlbias.analysis.pilot import pilot
from vlbias.analysis.power import AGREEMENT, PowerPlan, power
from vlbias.errors import BadTable
from vlbias.store.run_folder import Run
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["plan_from"]


def plan_from(run: Run, n: int) -> PowerPlan:
    """What n photos can show if they are like those of a pilot run.

    Args:
        run: A run with presence scores; its null world gives rates and correlations, its first other
            world the agreement of two conditions.
        n: Photos to report.

    Raises:
        BadTable: if the run has no presence scores, or no object with 5 false positives.
    """
    if "presence" not in run.manifest["study"].get("outcomes", ()):
        raise BadTable(f"{run.folder}: a pilot needs the outcome 'presence'")
    job = PresenceScores(run, draws=1, seed=0)
    worlds = [scores for _, scores in job.worlds()]
    found = pilot(job.panel, job.null, job.thresholds, worlds[1] if len(worlds) > 1 else None)
    if not len(found.rates):
        raise BadTable(
            f"{run.folder}: no object has 5 false positives; a pilot needs more photos or a lower threshold"
        )
    return power(
        n,
        len(found.rates),
        np.minimum(found.rates, 0.999),
        found.ratio,
        correlation=found.correlation,
        design_effect=max(found.design_effect, 1.0),
        agreement=AGREEMENT if np.isnan(found.agreement) else found.agreement,
    )
