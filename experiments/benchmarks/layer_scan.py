"""CPU time of one edit, of a scan of all layers (WilKE) in shared passes, and of the naive scan, side by side.

    python experiments/benchmarks/layer_scan.py                   the fact net that comes with the package
    python experiments/benchmarks/layer_scan.py --shape 8         a random net of SmolLM2's shape, with 8 layers
    python experiments/benchmarks/layer_scan.py --model SMOLLM2.gguf --edits 1

"As published" is one edit with every token and every block in each pass, which the naive scan repeats for each
layer. A random net chooses layers by nothing; its times are those of any net of this shape.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1]))
from taught_facts import invented

from vlbias.data.fact_files import read_facts
from vlbias.data.facts import Fact
from vlbias.edits.keys import key_moments
from vlbias.edits.rank_one import Context, RankOne, update_of
from vlbias.edits.values import ValueSearch, find_targets
from vlbias.edits.weights import OutputMap, editable_maps
from vlbias.models import load_model
from vlbias.models.language.adapter import LanguageModel

RIDGE = 0.1
SHAPE = {
    "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3,
    "vocab_size": 49152, "max_position_embeddings": 2048, "tie_word_embeddings": True,
}  # fmt: skip
Timed = dict[str, float]


def of_shape(layers: int, words: Path) -> LanguageModel:
    """A random net of SmolLM2's shape with so many layers, and the tokenizer of a GGUF file."""
    torch.manual_seed(0)
    net = LlamaForCausalLM(LlamaConfig(num_hidden_layers=layers, **SHAPE))
    tokenizer = AutoTokenizer.from_pretrained(words.parent, gguf_file=words.name)
    return LanguageModel(net, tokenizer, name=f"random, {layers} layers", revision="random")


def timed(into: Timed, name: str, run: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What a function gives, its CPU seconds added to those of a name."""
    began = time.process_time()
    found = run(*given, **named)
    into[name] = into.get(name, 0.0) + time.process_time() - began
    return found


def as_published(
    model: Any, one: OutputMap, fact: Fact, context: Context, search: ValueSearch
) -> float:
    """Cost of one edit whose passes run whole."""
    arguments = (model, [one], fact, fact.target, context.prefixes, search)
    target = find_targets(*arguments, shared=False)[0]
    return update_of(one, target, context.moments, RIDGE, "one").cost


def main() -> None:
    """Print the seconds, and how often both scans choose the same layer."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="fact-early")
    parser.add_argument(
        "--shape", type=int, default=0, help="layers of a random net in place of it"
    )
    parser.add_argument("--words", type=Path, help="GGUF file with the tokenizer of a random net")
    parser.add_argument("--facts", type=Path)
    parser.add_argument("--layers", type=int, default=0, help="only the first of them; all if 0")
    parser.add_argument("--edits", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="of the search for a value, at most")
    parser.add_argument("--naive", action="store_true", help="run the naive scan of all layers too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    small = options.model.startswith("fact-") and not options.shape
    model: Any = (
        of_shape(options.shape, options.words) if options.shape else load_model(options.model)
    )
    every = invented() if not small and options.facts is None else None
    if every is None:
        name = "" if options.facts else "fact-world-long"
        every = list(read_facts(name, options.facts).facts)
    facts = [fact for fact in every if fact.target][: options.edits]
    maps = editable_maps(model, ["lm/mlp.*"])[: options.layers or None]
    sites = tuple(str(one.site) for one in maps)
    texts = [f"{fact.prompt} {fact.answer}" for fact in every]
    context = Context(key_moments(model, maps, texts[:40]), tuple(texts[-4:]))
    search = ValueSearch(steps=options.steps)
    for one in maps:  # factors of the second moments are made once for all edits
        context.moments.whitened(one.path, RIDGE, torch.ones(one.weight.shape[1]))
    seconds: Timed = {}
    same = 0
    for fact in facts:
        tried = maps if options.naive else maps[:: max(1, len(maps) // 3)]
        costs = [
            timed(seconds, "as published", as_published, model, one, fact, context, search)
            for one in tried
        ]
        asked, rng = (model, fact, fact.target, context), np.random.default_rng(0)
        for one in tried:
            alone = RankOne((str(one.site),), ridge=RIDGE, search=search)
            timed(seconds, "one", alone.fit, *asked, rng=rng)
        for name in ("as published", "one"):
            each = f"{name}, each"
            seconds[each] = seconds.get(each, 0.0) + seconds.pop(name) / len(tried)
        scan = RankOne(sites, "smallest-cost", ridge=RIDGE, search=search)
        notes = timed(seconds, "scan", scan.fit, *asked, rng=rng).notes
        if options.naive:
            same += notes["site"] == sites[int(np.argmin(costs))]
    said = f"; the naive scan chooses the same layer in {same}" if options.naive else ""
    print(f"{model.name}: {len(sites)} layers, {len(facts)} edits{said}")
    published, ours = seconds["as published, each"], seconds["one, each"]
    rows = {
        "one edit, as published": published,
        "one edit, shared passes": ours,
        "scan, shared passes": seconds["scan"],
        "naive scan, as published": published * len(sites),
    }
    for name, total in rows.items():
        print(
            f"{name:26} {total / len(facts):8.2f} CPU s an edit, {total / published:6.2f} x one as published, "
            f"{total / ours:6.2f} x one in shared passes"
        )


if __name__ == "__main__":
    main()
