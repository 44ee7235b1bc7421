"""A small cohort with its graph as files, for tests of the kind."""

from __future__ import annotations

from pathlib import Path

from vlbias.data.simulated_cohort import KINDS, CohortSpec, make_world
from vlbias.data.simulated_files import write_world

SPEC = CohortSpec(seed=1, drugs=10, chapters=3, blocks=3, leaves=4, kinds=KINDS)


def write_small(folder: Path, *, patients: int = 4000, events: bool = False) -> Path:
    """The study file of a cohort of 10 drugs, two with intermediate confounding; cells of 4 triples."""
    study = write_world(
        make_world(SPEC), folder, patients, seed=5, events=events, truth_patients=2000
    )
    study.write_text("shard_size = 4\n" + study.read_text())
    return study
