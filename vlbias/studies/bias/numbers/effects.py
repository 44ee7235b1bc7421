"""Effects of every contrast on the disparity, total and through every mediator."""

from __future__ import annotations

import pandas as pd

from vlbias.analysis.effects import effects
from vlbias.runs.events import Countdown, Note
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["contrast_effects"]


def contrast_effects(job: PresenceScores, note: Note) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Effects of every contrast, and their hierarchical tests."""
    tables, trees = [], []
    total = sum(len(job.run.mediators(contrast)) for contrast in job.contrasts)
    countdown = Countdown(note, total, "mediators of all contrasts")
    for contrast in job.contrasts:
        note(f"effects of {contrast}")
        every = countdown.over(job.run.arms(contrast), f"effects of {contrast}")
        arms = ((name, y01[job.kept], y10[job.kept]) for name, y01, y10 in every)
        names = job.run.manifest["contrasts"][contrast]["mediators"]
        found = effects(
            job.panel,
            job.scores(contrast, "00"),
            job.scores(contrast, "11"),
            arms,
            rng=job.rng(),
            thresholds=job.thresholds,
            objects=job.objects,
            paths={name: _path(name) for name in names if "/" in name},
            draws=job.draws,
        )
        tables.append(found.table.assign(contrast=contrast))
        trees.append(found.tree.assign(contrast=contrast))
    return pd.concat(tables, ignore_index=True), pd.concat(trees, ignore_index=True)


def _path(mediator: str) -> tuple[str, ...]:
    """Encoder, layer and unit of a mediator's name, for tests down the tree."""
    stage, _, part = mediator.partition("/")
    # sites that are replaced together are of one layer, or stand under that of the first
    layer = part.partition("+")[0].partition(".")[2].partition("[")[0]
    return (stage, f"layer {layer}", part)
