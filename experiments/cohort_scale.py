"""How fast studies of cohorts are, how much memory they take, and that they agree with statsmodels.

python experiments/cohort_scale.py statsmodels                         # 6 triples, both programs in one run
python experiments/cohort_scale.py study --patients 20000 --triples 10000 --workers 2
python experiments/cohort_scale.py study --patients 400000 --leaves 16 --chapters 10 --blocks 12 --triples 500

"study" simulates a world, runs it until a third of the cells are there, kills the process with SIGKILL and
resumes. With --compare it compares every cell with those of an uninterrupted run.
"""

from __future__ import annotations

import argparse
import resource
import signal
import subprocess
import sys
import time
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from vlbias.data.adjustment import adjustment_set
from vlbias.data.graph import Triple
from vlbias.data.simulated_cohort import CohortSpec, World, make_world, simulate
from vlbias.data.simulated_files import write_world
from vlbias.store.sessions import read_sessions
from vlbias.studies.cohort.mediate import mediate


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("statsmodels", "study"))
    parser.add_argument("--patients", type=int, default=20_000)
    parser.add_argument("--triples", type=int, default=10_000)
    parser.add_argument("--drugs", type=int, default=200)
    parser.add_argument("--chapters", type=int, default=6)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--leaves", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rep", type=int, default=100, help="draws of statsmodels")
    parser.add_argument("--compare", action="store_true", help="run again without a kill")
    parser.add_argument("--out", type=Path, default=Path("build/cohort-scale"))
    given = parser.parse_args()
    against_statsmodels(given) if given.what == "statsmodels" else study(given)


def against_statsmodels(given: argparse.Namespace) -> None:
    """ACME and time of both programs on the first six triples of a world."""
    import statsmodels.api as sm
    from statsmodels.stats.mediation import Mediation

    warnings.simplefilter("ignore")
    world = make_world(CohortSpec(0))
    frame = pd.DataFrame(simulate(world, given.patients, 1000)).astype(float)
    graph, rows = world.graph(), []
    for triple, kind in world.hypotheses[:6]:
        codes = (triple.exposure, triple.mediator, triple.outcome)
        began = time.process_time()
        ours = mediate(frame, exposure=codes[0], mediator=codes[1], outcome=codes[2], graph=graph)
        took = time.process_time() - began
        family = sm.families.Binomial()
        product = "*" if ours.four.interaction else "+"
        adjusted = "".join(f" + {code}" for code in ours.covariates)
        first = f"{codes[2]} ~ {codes[0]} {product} {codes[1]}{adjusted}"
        second = f"{codes[1]} ~ {codes[0]}{adjusted}"
        began = time.process_time()
        np.random.seed(0)  # noqa: NPY002, statsmodels draws from it
        fitted = Mediation(
            sm.GLM.from_formula(first, frame, family=family),
            sm.GLM.from_formula(second, frame, family=family),
            codes[0],
            codes[1],
        ).fit(n_rep=given.rep)
        theirs = time.process_time() - began
        acme = float(ours.frame.set_index("effect").loc["ACME", "estimate"])
        other = float(fitted.summary().loc["ACME (average)", "Estimate"])
        rows.append(
            (str(triple), kind, acme, other, abs(acme - other), took, theirs, theirs / took)
        )
        print(rows[-1], flush=True)
    frame = pd.DataFrame(
        rows,
        columns=["triple", "plant", "vlbias", "statsmodels", "gap", "s", "s_statsmodels", "ratio"],
    )
    print(frame.to_string(index=False))
    print(
        f"largest gap {frame['gap'].max():.5f}; CPU {frame['s'].sum():.2f} s against "
        f"{frame['s_statsmodels'].sum():.1f} s with {given.rep} draws: "
        f"{frame['s_statsmodels'].sum() / frame['s'].sum():.0f} times"
    )


def study(given: argparse.Namespace) -> None:
    """Simulate, run, kill, resume."""
    spec = CohortSpec(3, given.drugs, given.chapters, given.blocks, given.leaves)
    world = make_world(spec)
    folder = given.out / f"{given.patients}-{given.triples}"
    began = time.monotonic()
    path = write_world(world, folder, given.patients, seed=9, truth_patients=0)
    (folder / "triples.tsv").write_text(triples_of(world, given.triples))
    path.write_text(path.read_text().replace("per_mediator = 1", "per_mediator = 0"))
    print(
        f"simulated {given.patients} patients, {len(world.causes)} codes: {time.monotonic() - began:.0f} s"
    )
    command = [
        sys.executable, "-m", "vlbias.cli", "run", str(path), "--workers", str(given.workers), "-o",
    ]  # fmt: skip
    run = folder / "runs" / folder.name
    began = time.monotonic()
    kill_at([*command, str(folder / "runs")], run, max(given.triples // 50 // 3, 1))
    killed = time.monotonic() - began
    done([*command, str(folder / "runs")])
    session = read_sessions(run)[-1]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"killed after {killed:.0f} s, resumed; in all {time.monotonic() - began:.0f} s wall, "
        f"{used.ru_utime + used.ru_stime:.0f} s CPU, largest process {used.ru_maxrss / 1024:.0f} MiB; "
        f"the session that ended: {session}"
    )
    if given.compare:
        done([*command, str(folder / "again")])
        cells = sorted((run / "cells").glob("*.json"))
        other = folder / "again" / folder.name / "cells"
        same = sum(path.read_bytes() == (other / path.name).read_bytes() for path in cells)
        print(f"cells equal to the byte to those of an uninterrupted run: {same} of {len(cells)}")


def triples_of(world: World, number: int) -> str:
    """Every drug with its indication and outcomes that do not cause the indication, by turns."""
    graph = world.graph()
    pairs = [(triple.exposure, triple.mediator) for triple, _ in world.hypotheses]
    diseases = [code for code in world.causes if code not in graph.drugs]
    every = (
        Triple(exposure, mediator, outcome)
        for outcome in reversed(diseases)
        for exposure, mediator in pairs
        if outcome != exposure
    )
    fine = (one for one in every if adjustment_set(graph, one).testable)
    rows = [f"{one.exposure}\t{one.mediator}\t{one.outcome}" for one in islice(fine, number)]
    return "\n".join(["exposure\tmediator\toutcome", *rows]) + "\n"


def kill_at(command: list[str], run: Path, cells: int) -> None:
    """Start a run and kill it once so many cells are there."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list((run / "cells").glob("*.sum"))) < cells:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()


def done(command: list[str]) -> None:
    """Run to the end."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
