"""Time that mitigations add to a model, side by side: plain and mitigated pass by turns on the same photos.

    python experiments/benchmarks/mitigation_overhead.py MODEL --data PHOTOS
    python experiments/benchmarks/mitigation_overhead.py MODEL --data PHOTOS --only feature-blur

MODEL is a folder or name of `vlbias.load_model`, PHOTOS a folder in COCO layout. "forward" is the pass alone
of the tower that reads photos (a detector's reads texts too), on a batch that is ready; "whole" includes
opening and preparing the photos, with their regions. Seconds are those of the processor (all threads), which
other work on the machine touches less than the clock; the overhead is the median over rounds of the ratio
within a round.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import torch

import vlbias as vb
from vlbias.data.regions import with_person_regions
from vlbias.errors import VlbiasError
from vlbias.mitigations import make_mitigation

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "feature-blur": ("feature-blur", {}),
    "feature-blur ring": ("feature-blur", {"fill": "ring"}),
    "feature-blur last block": ("feature-blur", {"sites": ["image_encoder/resid.{last}"]}),
    "pixel-blur": ("pixel-blur", {}),
    "mean-ablation of a head": ("mean-ablation", {"sites": ["image_encoder/head.{last}[0]"]}),
    "folded-ablation of a head": ("folded-ablation", {"sites": ["image_encoder/head.{last}[0]"]}),
    "leace of the embedding": ("leace", {}),
}


def main() -> None:
    """Print a row for each method."""
    args = _arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    model: Any = vb.load_model(args.model)
    prompt = "caption+categories" if "boxes" in model.gives else "caption"
    options = {"limit": args.photos, "splits": ["fit"], "seed": args.seed, "prompt": prompt}
    examples = with_person_regions(vb.load_dataset("coco", args.data, **options))
    blocks = next(p.layers for p in model.ports if (p.stage, p.name) == ("image_encoder", "resid"))
    last = blocks - 1
    tower = next(tower.name for tower in model.towers if "image" in tower.channels)
    print(f"{args.photos} photos, batches of {args.batch}, {torch.get_num_threads()} threads")
    print(f"{'method':27}{'ms/photo':>10}{'forward +%':>22}{'whole +%':>22}{'MiB':>7}")
    for title, (name, settings) in METHODS.items():
        if args.only and args.only != name:
            continue
        filled = {
            k: [s.format(last=last) for s in v] if k == "sites" else v for k, v in settings.items()
        }
        mitigation = make_mitigation(name, **filled)
        usable = [e for e in examples if e.id not in mitigation.unusable(examples)]
        try:
            fitted = mitigation.fit(model, usable, rng=np.random.default_rng(args.seed))
        except VlbiasError as error:
            print(f"{title:27}not for this model: {error}")
            continue
        _report(title, model, fitted, tower, usable, args)


def _report(title: str, model: Any, fitted: Any, tower: str, examples: Any, args: Any) -> None:
    groups = [examples[i : i + args.batch] for i in range(0, len(examples), args.batch)]
    forward, whole, plain_ms = [], [], []
    for group in groups:  # what the model takes as it is counts for nobody
        _encoded(model, tower, _batch(model, tower, group))
    before = _peak()
    for number in range(args.rounds):
        ready, mitigated_ready = [], []
        # whoever comes second finds the photos in the cache of the operating system
        turns = (False, True) if number % 2 else (True, False)
        seconds: dict[tuple[str, bool], float] = {}
        for changed in turns:
            with fitted.applied(model, 1.0 if changed else 0.0) as used:
                made, took = _timed(lambda used=used: [_batch(used, tower, g) for g in groups])
                (mitigated_ready if changed else ready).extend(made)
                seconds["collate", changed] = took
        for changed in turns:
            batches = mitigated_ready if changed else ready
            with fitted.applied(model, 1.0 if changed else 0.0) as used:
                _, took = _timed(
                    lambda used=used, batches=batches: [_encoded(used, tower, b) for b in batches]
                )
                seconds["encode", changed] = took
        forward.append(seconds["encode", True] / seconds["encode", False] - 1)
        total = [seconds["collate", c] + seconds["encode", c] for c in (True, False)]
        whole.append(total[0] / total[1] - 1)
        plain_ms.append(1000 * seconds["encode", False] / len(examples))
    extra = _peak() - before
    print(
        f"{title:27}{median(plain_ms):10.1f}{_range(forward):>22}{_range(whole):>22}{extra:7.0f}",
        flush=True,
    )


def _range(values: list[float]) -> str:
    low, _, high = quantiles(values, n=4)
    return f"{100 * median(values):.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _batch(model: Any, tower: str, examples: Any) -> Any:
    rows = [row for e in examples for row in model.split(e.worlds["null"])[tower]]
    return model.collate(tower, rows)


@torch.inference_mode()
def _encoded(model: Any, tower: str, batch: Any) -> None:
    model.encode(tower, batch)


def _timed(job: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    result = job()
    return result, time.process_time() - began


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--only", help="one method")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
