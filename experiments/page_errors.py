"""How many pages have a false sentence at the top where nothing is going on, by the page's own code.

    python experiments/page_errors.py --replicates 200 --jobs 2

A page states whether bias is shown, which objects have a gap, and what six worlds change. Here no world
changes anything; each redraws some noise of the scores. A page is wrong if one of its sentences is: bias is
"shown" where there is none, an object without a gap is named, or a world "changes" something. Exploratory
sentences stand outside the family and are not counted. For comparison, "each at 5 %" reads the same numbers
without correction, as pages of version 0.1.0 did.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from hostile.draws import WORLDS, Drawn, World, draw
from rich.progress import track
from scipy.special import ndtri
from script import markdown

from vlbias.analysis.panel import Floats
from vlbias.studies.bias.numbers.families import FAMILY_LEVEL, statements
from vlbias.studies.bias.numbers.strictness import PLACEBOS, strictness
from vlbias.studies.bias.numbers.worlds import disparity_of
from vlbias.studies.photos.arms_in_memory import ArmsInMemory
from vlbias.studies.photos.scores import PresenceScores

NAMES = [*PLACEBOS, *PLACEBOS.values()]
SCENARIOS = {
    "no bias": World("no bias, nothing done"),
    "no bias, objects correlate": World("no bias, nothing done", shared=(0.7, 0.7)),
    "bias": World("bias, nothing done"),
    "bias, clusters of 15": WORLDS["clusters of 15, bias"],
}
LEVEL = 0.05


def job_of(world: World, photos: int, seed: int, draws: int) -> PresenceScores:
    """A run of six contrasts, as the page reads it; thresholds are 0."""
    rng = np.random.default_rng([seed, photos])
    drawn = draw(world, photos, rng)
    null = drawn.scores["null"]
    noise = [drawn.scores["placebo"]]
    noise += [_again(world, drawn, null, rng) for _ in NAMES[1:]]
    arms = {f"null->{name}": scores for name, scores in zip(NAMES, noise, strict=True)}
    rows = [
        _long(drawn, scores).assign(contrast=contrast, arm=arm)
        for contrast, other in arms.items()
        for arm, scores in (("00", null), ("11", other))
    ]
    point = {
        "rule": "given", "thresholds": dict.fromkeys(drawn.panel.targets, 0.0), "split": None,
        "report": (), "min_negatives": 10, "min_events": 5,
    }  # fmt: skip
    frame = pd.concat(rows, ignore_index=True)
    return PresenceScores(ArmsInMemory(frame, ("a", "b"), point), draws=draws, seed=seed)


def _again(world: World, drawn: Drawn, null: Floats, rng: np.random.Generator) -> Floats:
    """The same photos with a tenth of their noise drawn anew, by the same rates."""
    scale = np.sqrt(1 - world.agreement**2)
    before, _ = world.rates
    fresh = rng.standard_normal(null.shape)
    level = ndtri(before)[drawn.panel.code]
    moved = level + world.agreement * (null - level) + scale * fresh
    return np.asarray(moved, dtype=np.float32)


def _long(drawn: Drawn, scores: Floats) -> pd.DataFrame:
    panel = drawn.panel
    count = len(panel.targets)
    return pd.DataFrame(
        {
            "sample_id": np.repeat(panel.sample, count),
            "cluster": np.repeat(panel.cluster, count),
            "group": np.repeat(panel.group, count),
            "target": np.tile(panel.targets, len(scores)),
            "present": panel.present.ravel(),
            "value": scores.ravel(),
            "mediator": "",
            "outcome": "presence",
        }
    )


def page(scenario: str, photos: int, seed: int, draws: int) -> dict[str, Any]:
    """Which sentences of one page are false, corrected as printed and each at 5 %."""
    world = SCENARIOS[scenario]
    job = job_of(world, photos, seed, draws)
    bias = disparity_of(job, job.null)
    family = statements(strictness(job))
    gaps = np.subtract(*world.rates[0])
    found = {}
    for way, gate, objects, worlds in (
        ("printed", LEVEL, FAMILY_LEVEL, family["said"] != "not shown"),
        ("each", 1.0, LEVEL, family["p"] <= LEVEL),
    ):
        is_open = bias.p <= gate
        headline = bool(bias.p <= LEVEL and not gaps.any())
        named = bool(_wrong_objects(bias.objects, gaps, objects).any())
        found |= {
            f"headline, {way}": headline,
            f"objects, {way}": named,
            f"worlds, {way}": bool(is_open and worlds.any()),
            f"page, {way}": headline or named or bool(is_open and worlds.any()),
        }
    return {"scenario": scenario, "photos": photos, **found}


def _wrong_objects(objects: pd.DataFrame, gaps: Floats, level: float) -> Floats:
    shown = (objects["p_max_t"] <= level).to_numpy() & (objects["status"] == "ok").to_numpy()
    return np.asarray(shown & ((gaps == 0) | (np.sign(gaps) != np.sign(objects["gap"]))))


def pages(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All pages that are asked for."""
    todo = list(product(given.scenarios, given.photos, range(given.replicates)))
    with ProcessPoolExecutor(given.jobs) as pool:
        futures = [pool.submit(page, *one, given.draws) for one in todo]
        for future in track(futures, description="pages"):
            yield future.result()


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the share of pages, in per cent, on which a sentence is false."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--photos", type=int, nargs="+", default=[373, 1500])
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=SCENARIOS)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args(argv)
    rows = pd.DataFrame(pages(given))
    shares = rows.groupby(["scenario", "photos"], sort=False).mean() * 100
    print(markdown(shares.round(1).reset_index()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
