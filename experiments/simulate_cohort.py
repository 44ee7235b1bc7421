"""Write a simulated cohort with planted drug effects: patients, graph, triples, truth, and a study.

python experiments/simulate_cohort.py --out build/cohort --patients 20000 --seed 0
vlbias run build/cohort/study.toml

No real disease or drug is meant by any name. The graph lacks the edges from drugs to their outcomes: these are
what a study asks about. With --wrong-graph it also lacks those of the second indications, by which
"null_confounded" drugs and their outcomes are confounded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vlbias.data.simulated_cohort import KINDS, CohortSpec, make_world
from vlbias.data.simulated_files import write_world


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drugs", type=int, default=30)
    parser.add_argument("--chapters", type=int, default=6)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--leaves", type=int, default=4, help="diseases in a block")
    parser.add_argument("--events", action="store_true", help="a table of dated events")
    parser.add_argument(
        "--intermediate", action="store_true", help="drugs with intermediate confounding, too"
    )
    parser.add_argument("--wrong-graph", action="store_true")
    parser.add_argument("--truth-patients", type=int, default=100_000, help="0: write no truth")
    given = parser.parse_args()
    kinds = KINDS if given.intermediate else KINDS[:4]
    world = make_world(
        CohortSpec(given.seed, given.drugs, given.chapters, given.blocks, given.leaves, kinds)
    )
    study = write_world(
        world,
        given.out,
        given.patients,
        seed=1000 + given.seed,
        events=given.events,
        wrong_graph=given.wrong_graph,
        truth_patients=given.truth_patients,
    )
    print(f"study: {study}\nnext: vlbias run {study}")


if __name__ == "__main__":
    main()
