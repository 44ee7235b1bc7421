"""Whether a bias that `vlbias power` calls detectable with 80 % power is found in 80 % of data sets.

python experiments/power_promise.py --replicates 300
"""

from __future__ import annotations

import argparse

import numpy as np

from vlbias.analysis.power import detection_rate, power

PLANS = [
    {"n": 400, "objects": 12, "fpr": 0.1, "ratio": 0.5},
    {"n": 1500, "objects": 20, "fpr": 0.05, "ratio": 0.68},
    {"n": 1500, "objects": 40, "fpr": 0.05, "ratio": 0.68},
    {"n": 3000, "objects": 79, "fpr": 0.05, "ratio": 0.68},
]


def main() -> None:
    """Prints power as promised and as had, with the plan's correlation and with none assumed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=300)
    replicates = parser.parse_args().replicates
    print("| n | objects | correlation | B | found, % | B if .09 were assumed | found, % |")
    print("|---|---|---|---|---|---|---|")
    for given in PLANS:
        for correlation in (0.09, 0.45):
            plan, naive = (power(**given, correlation=r) for r in (correlation, 0.09))
            rates = [
                100 * detection_rate(
                    plan, one.minimal_bias, replicates=replicates, permutations=99,
                    rng=np.random.default_rng(0),
                )
                for one in (plan, naive)
            ]  # fmt: skip
            print(
                f"| {plan.n} | {plan.objects} | {correlation} | {plan.minimal_bias:.3f} | {rates[0]:.0f} | "
                f"{naive.minimal_bias:.3f} | {rates[1]:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
