"""Racing on planted truth, and on the recorded effects of a full run: passes saved, survivors, error, coverage.

python experiments/racing.py                           200 data sets of every kind
python experiments/racing.py --replicates 20
python experiments/racing.py --replay runs/coco-people --contrast "null->mask-gender"

A replay takes the effects that a full run recorded, and gives its photos to a race in random orders. It needs
no model, and so has no approximate effects: what it saves is what racing saves without them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from vlbias.analysis.racing import Race, Rules, race
from vlbias.store.run_folder import Run
from vlbias.studies.bias.numbers.racing import score_gap_changes

ROUNDS = 4
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """Values of units, and what is known of them.

    Args:
        values: [N, K].
        stratum: [N].
        truth: [K], or None.
        approximate: [N, K], or None.
    """

    values: Floats
    stratum: NDArray[np.intp]
    truth: Floats | None = None
    approximate: Floats | None = None


def planted(seed: int, sizes: list[float], quality: float, n: int = 400, k: int = 72) -> Data:
    """Correlated units with skewed values; the first differ from 0 by so many standard errors.

    Args:
        seed: Of the draws.
        sizes: Means in standard errors of all samples.
        quality: Correlation of approximate with exact values; 0 for no approximations.
        n: Samples.
        k: Units.
    """
    rng = np.random.default_rng(seed)
    noise = np.sqrt(0.3) * rng.standard_normal((n, 1)) + np.sqrt(0.7) * _skewed(rng, (n, k))
    truth = np.zeros(k)
    truth[: len(sizes)] = np.array(sizes) / np.sqrt(n)
    error = np.sqrt(1 / quality**2 - 1) if quality else 0.0
    cheap = 0.7 * (noise + truth + error * rng.standard_normal((n, k))) if quality else None
    return Data(noise + truth, np.zeros(n, np.intp), truth, cheap)


def _skewed(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.gamma(4.0, 0.5, shape) - 2.0


def raced(data: Data, seed: int, rules: Rules) -> tuple[Race, Race, float]:
    """A race in a random order, the full run, and the share of passes that the race took."""
    n = len(data.values)
    order = np.random.default_rng(seed).permutation(n)
    ends = n * 2.0 ** np.arange(1 - ROUNDS, 1)
    round_of = np.empty(n, np.intp)
    round_of[order] = np.searchsorted(ends, np.arange(n), side="right") + 1
    every = {"stratum": data.stratum, "cluster": np.arange(n), "rules": rules}
    found = race(
        data.values, round_of, rounds=ROUNDS, approximate=data.approximate, **every
    )  # fmt: skip
    full = race(data.values, np.ones(n, np.intp), rounds=1, **every)
    return found, full, found.rows.sum() / full.rows.sum()


def simulated(replicates: int) -> None:
    """Prints the table of planted truth."""
    kinds = {
        "none": [],
        "3 weak": [3.5, 4.0, 5.0],
        "3 strong": [8.0, 9.0, 10.0],
        "15 strong": [10.0] * 5 + [6.0] * 10,
    }
    print(
        "| effects | approximation | passes saved | full run finds | kept | false, % | limits hold, % |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, sizes in kinds.items():
        for quality in (0.0, 0.8, 0.95):
            rows = []
            for seed in track(range(replicates), name, transient=True):
                data = planted(seed, sizes, quality)
                found, full, share = raced(data, seed, Rules(keep=5, draws=1000))
                assert data.truth is not None
                held = ((found.lo <= data.truth) & (data.truth <= found.hi)).all()
                kept = (found.survives & full.survives).sum()
                false = found.survives[data.truth == 0].any()
                rows.append([share, full.survives.sum(), kept, false, held])
            share, full_found, kept, false, held = np.mean(rows, axis=0)
            print(
                f"| {name} | {quality or 'none'} | {1 / share:.1f} times | {full_found:.2f} | {kept:.2f} | "
                f"{100 * false:.1f} | {100 * held:.1f} |"
            )


def replayed(folder: Path, contrast: str, orders: int) -> None:
    """Prints what races on the heads of a recorded run would have saved and found."""
    run = Run(folder)
    split = run.manifest["study"]["operating_point"]["split"]
    # a full run gives no rounds: photos that set thresholds choose, the others are raced
    samples = run.samples.assign(round=(run.samples["split"] != split).astype(int))
    run.__dict__["samples"] = samples
    units = [name for name in run.mediators(contrast) if "head" in name]
    found = score_gap_changes(run, contrast, units)
    known = ~np.isnan(found.values).any(axis=1)
    data = Data(found.values[known], found.stratum[known])
    print(f"{folder.name} {contrast}: {len(units)} heads, {len(data.values)} photos")
    print("| miss | passes saved | full run finds | kept | more |\n|---|---|---|---|---|")
    for miss in (0.05, 0.1, 0.2):
        rows = []
        for seed in range(orders):
            result, full, share = raced(data, seed, Rules(miss=miss))
            both = (result.survives & full.survives).sum()
            rows.append([share, full.survives.sum(), both, result.survives.sum() - both])
        share, whole, kept, more = np.mean(rows, axis=0)
        print(f"| {miss} | {1 / share:.1f} times | {whole:.2f} | {kept:.2f} | {more:.2f} |")


def main() -> None:
    """Prints one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--contrast", default="null->mask-gender")
    parser.add_argument("--orders", type=int, default=20)
    given = parser.parse_args()
    if given.replay is None:
        simulated(given.replicates)
    else:
        replayed(given.replay, given.contrast, given.orders)


if __name__ == "__main__":
    main()
