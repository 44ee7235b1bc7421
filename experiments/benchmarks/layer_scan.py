"""Time of one edit, of a scan of all layers (WilKE) in shared passes, and of the naive scan, side by side.

python experiments/benchmarks/layer_scan.py                   the fact net that comes with the package
python experiments/benchmarks/layer_scan.py --model FOLDER_OR_GGUF --facts facts.jsonl --layers 8
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from vlbias.data.fact_files import read_facts
from vlbias.edits.keys import key_moments
from vlbias.edits.rank_one import Context, RankOne
from vlbias.edits.weights import editable_maps
from vlbias.models import load_model


def main() -> None:
    """Print the seconds and the layer that each way chooses."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="fact-early")
    parser.add_argument("--facts", type=Path)
    parser.add_argument("--layers", type=int, default=0, help="only the first of them; all if 0")
    parser.add_argument("--edits", type=int, default=3)
    options = parser.parse_args()
    model: Any = load_model(options.model)
    every = read_facts("" if options.facts else "fact-world-long", options.facts).facts
    facts = [fact for fact in every if fact.target][: options.edits]
    maps = editable_maps(model, ["lm/mlp.*"])[: options.layers or None]
    sites = tuple(str(one.site) for one in maps)
    texts = [f"{fact.prompt} {fact.answer}" for fact in every]
    context = Context(key_moments(model, maps, texts[:400]), tuple(texts[-4:]))
    rng = np.random.default_rng(0)
    seconds = {"one edit": 0.0, "scan, shared passes": 0.0, "scan, layer by layer": 0.0}
    same = 0
    for fact in facts:
        began = time.perf_counter()
        alone = [
            RankOne((site,), ridge=0.1).fit(model, fact, fact.target, context, rng=rng).notes
            for site in sites
        ]
        seconds["scan, layer by layer"] += time.perf_counter() - began
        seconds["one edit"] += sum(notes["seconds"] for notes in alone) / len(sites)
        began = time.perf_counter()
        scan = RankOne(sites, "smallest-cost", ridge=0.1)
        found = scan.fit(model, fact, fact.target, context, rng=rng).notes
        seconds["scan, shared passes"] += time.perf_counter() - began
        same += found["site"] == min(alone, key=lambda notes: notes["cost"])["site"]
    print(f"{model.name}: {len(sites)} layers, {len(facts)} edits; same layer in {same}")
    for name, total in seconds.items():
        ratio = total / seconds["one edit"]
        print(f"{name:22} {total / len(facts):7.2f} s an edit, {ratio:5.2f} x one edit")


if __name__ == "__main__":
    main()
