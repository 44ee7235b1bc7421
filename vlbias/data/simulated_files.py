"""A simulated world as the files that a study of a cohort reads."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vlbias.data.simulated_cohort import World, simulate
from vlbias.data.simulated_truth import true_effects
from vlbias.files import whole, write_texts

__all__ = ["write_world"]

_BATCH = 50_000
_STUDY = """# {name}: a simulated cohort; no real disease or drug is meant by any name
kind = "cohort"
name = "{name}"
simulated = true
triples = "triples.tsv"

[cohort]
path = "{cohort}"
{people}
[graph]
path = "graph.tsv"

[controls]
per_mediator = 1
"""


def write_world(
    world: World,
    folder: Path,
    patients: int,
    *,
    seed: int,
    events: bool = False,
    wrong_graph: bool = False,
    truth_patients: int = 100_000,
) -> Path:
    """Write cohort, graph.tsv, triples.tsv, truth.tsv and study.toml; gives the study's path.

    Args:
        world: The world.
        folder: Where to; made if need be.
        patients: How many.
        seed: Of the patients.
        events: Whether the cohort is a table of dated events with a table of people, not one row a patient.
        wrong_graph: Whether the graph lacks the edges of the second indications.
        truth_patients: How many are simulated for the true effects; 0 writes none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cohort, people = ("events.parquet", 'people = "people.parquet"\n') if events else (
        "cohort.parquet", ""
    )  # fmt: skip
    (_write_events if events else _write_wide)(world, folder, patients, seed)
    triples = pd.DataFrame(
        [(t.exposure, t.mediator, t.outcome) for t, _ in world.hypotheses],
        columns=["exposure", "mediator", "outcome"],
    )
    texts = {
        folder / "graph.tsv": _tsv(world.graph(wrong=wrong_graph).edges),
        folder / "triples.tsv": _tsv(triples),
        folder / "study.toml": _STUDY.format(name=folder.name, cohort=cohort, people=people),
    }
    if truth_patients:
        texts[folder / "truth.tsv"] = _tsv(true_effects(world, truth_patients))
    write_texts(texts)
    return folder / "study.toml"


def _tsv(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(sep="\t", index=False))


def _write_wide(world: World, folder: Path, patients: int, seed: int) -> None:
    codes = sorted(world.causes)
    schema = pa.schema([("patient", pa.string()), *((code, pa.uint8()) for code in codes)])
    with whole(folder / "cohort.parquet") as temporary, pq.ParquetWriter(temporary, schema) as file:
        for start in range(0, patients, _BATCH):
            n = min(_BATCH, patients - start)
            values = simulate(world, n, seed + start)
            ids = [f"P{number}" for number in range(start, start + n)]
            file.write_table(
                pa.table({"patient": ids, **{code: values[code] for code in codes}}, schema),
                row_group_size=20_000,
            )


def _write_events(world: World, folder: Path, patients: int, seed: int) -> None:
    """Dated so that a cause always comes before its effect: each generation of the graph has its months."""
    values = simulate(world, patients, seed)
    rng = np.random.default_rng(seed + 1)
    frames = []
    for generation, codes in enumerate(nx.topological_generations(world.causes)):
        for code in codes:
            rows = np.flatnonzero(values[code])
            days = generation * 120 + rng.integers(0, 100, len(rows))
            frames.append(pd.DataFrame({"patient": rows, "code": code, "day": days}))
    events = pd.concat(frames, ignore_index=True)
    events["date"] = (np.datetime64("2000-01-01") + events["day"].to_numpy()).astype(str)
    events["patient"] = "P" + events["patient"].astype(str)
    people = pd.DataFrame({"patient": [f"P{number}" for number in range(patients)]})
    for name, frame in (("events", events[["patient", "code", "date"]]), ("people", people)):
        with whole(folder / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
