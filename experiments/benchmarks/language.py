"""Heads and neurons of a GPT-2-small-shaped model: ours against plain hooks and the intervention libraries.

    python experiments/benchmarks/language.py [--work heads weights neurons] [--rounds 3] [--prompts 16]

Random weights: times and exactness, no meaning. The mediator of a head is its output at all positions
(W1), or, as in Vig et al. (2020), its attention weights; that of a neuron one coordinate of the MLP
output at the changed word (W2). Peers run in an environment of their own:

    uv venv peers && uv pip install --python peers/bin/python . pyvene nnsight transformer-lens
    OMP_WAIT_POLICY=PASSIVE peers/bin/python experiments/benchmarks/language.py

A peer that is missing or fails is named in the table. Who runs one pass per mediator runs four
mediators, since every pass costs the same; ours runs all 144 heads, and neurons of four layers whose
mean depth is that of all twelve. All run prompts of every length in equal parts. Every round runs
everyone in turn; ratios are of CPU time within a round, which is what to read on a machine that others
use too. The bound is the time of the matrix products that no exact method can leave out, at the speed of
`torch.addmm` in the same process.

A batch of whole passes, logits of the last token only, has 3.04 times the matrix products of the bound for
heads and 3.45 times for neurons: nothing exact is faster than such a batch by more than that, unless its
matrix products run at a higher speed. The last line of every table says how close each side comes.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from language_tasks import (
    HE,
    LAYERS_OF_NEURONS,
    PLACE,
    SHE,
    Approach,
    Pair,
    Unit,
    Work,
    every_head,
    log_odds,
    neurons,
    prompts,
    shaped_like_gpt2,
)
from torch import Tensor
from transformers import GPT2LMHeadModel

from vlbias.causal.site import Mediator, Site
from vlbias.causal.staged_model import Batch
from vlbias.causal.sweep import SweepPlan
from vlbias.models.language.adapter import LanguageModel
from vlbias.models.language.tokens import Tokenised, batch_of

PEERS = ("peers_hooks", "peers_pyvene", "peers_nnsight", "peers_transformer_lens")
FAILURES = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)
PORT = {"heads": "head", "weights": "weights", "neurons": "mlp"}
PLACES = {"heads": None, "weights": ("prompt",), "neurons": ("word",)}


@dataclass(frozen=True)
class Cost:
    """Milliseconds per prompt and mediator."""

    cpu: float
    wall: float


def batch_for(pairs: Sequence[Pair]) -> Batch:
    """All rows of the pairs, one behind the other."""
    rows = []
    for ids in (side for pair in pairs for side in (pair.base, pair.other)):
        asked = ((len(ids) - 1, HE, 0), (len(ids) - 1, SHE, 1))
        spans = {"word": (PLACE,), "prompt": tuple(range(len(ids)))}
        rows.append(Tokenised(ids, len(ids), spans, asked, 2))
    return batch_of(rows, 0, torch.device("cpu"))


def ours(net: GPT2LMHeadModel, work: Work, pairs: int, batch: int, each: int) -> Approach:
    """The engine, with the model traced beforehand."""
    model = LanguageModel(net, None, name="gpt2-random", revision="random:0").scores_only()
    units = neurons(LAYERS_OF_NEURONS, each) if work == "neurons" else every_head()
    sites = [Site("lm", PORT[work], u.layer, (u.number,), PLACES[work]) for u in units]
    mediators = [Mediator.of([site]) for site in sites]
    plan = SweepPlan(model, model.towers[0], mediators, mediator_batch=batch)

    def run(pairs: Sequence[Pair], units: Sequence[Unit]) -> Tensor:
        jobs = [(2 * i, 2 * i + 1) for i in range(len(pairs))]
        patched = plan.run(batch_for(pairs), jobs).patched
        return torch.stack([patched[m.name] for m in mediators], 1).diff(dim=2)[..., 0]

    return Approach("ours", work, run, pairs, units, batched=True)


def others(net: GPT2LMHeadModel, names: Sequence[str]) -> tuple[list[Approach], list[str]]:
    """What peers offer, and what is to be said of those that offer nothing."""
    found, missing = [], []
    for name in names:
        try:
            module: Any = importlib.import_module(name)
            found += module.approaches(net)
        except (ImportError, *FAILURES) as error:
            missing.append(f"{name}: not run, {type(error).__name__}: {str(error)[:200]}")
    return found, missing


def timed(approach: Approach, pairs: Sequence[Pair]) -> tuple[Tensor, Cost]:
    """What an approach gives, and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    values = approach.run(pairs[: approach.pairs], approach.units)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    jobs = min(approach.pairs, len(pairs)) * len(approach.units)
    return values, Cost(1e3 * cpu / jobs, 1e3 * wall / jobs)


@torch.inference_mode()
def effects(net: GPT2LMHeadModel, values: Tensor, pairs: Sequence[Pair]) -> Tensor:
    """Odds with the mediator replaced, over those of the prompt itself, minus 1."""
    base = [
        log_odds(net(input_ids=torch.tensor([pair.base])).logits[0, -1])
        for pair in pairs[: len(values)]
    ]
    return (values - torch.stack(base)[:, None]).exp() - 1


def disagreement(mine: Tensor, units: Sequence[Unit], other: Tensor, theirs: Approach) -> float:
    """Largest difference of the effects that both have."""
    column = {unit: i for i, unit in enumerate(units)}
    shared = [i for i, unit in enumerate(theirs.units) if unit in column]
    chosen = mine[: len(other), [column[theirs.units[i]] for i in shared]]
    return float((chosen - other[:, shared]).abs().max())


def least_flops(work: Work, unit: Unit, tokens: int) -> float:
    """Matrix products behind a replacement that no exact method can leave out, for one pair.

    From the changed token on, in the layers behind; of the last layer only what the last token reads.
    """
    d, layers, n = 768, 12, tokens - PLACE
    attention = 2 * n * tokens * d
    last = (2 * n + 1) * d * d + 9 * d * d + 2 * tokens * d
    whole = n * 12 * d * d + attention
    if unit.layer == layers - 1:
        return 0.0 if work == "neurons" else 2 * (64 * d + 8 * d * d)
    behind = (layers - 2 - unit.layer) * whole + last
    if work == "neurons":
        # in the first layer behind, the other tokens keep their queries, keys and values
        first = 3 * d * d * (n - 1)
        return 2 * (behind - (first if unit.layer < layers - 2 else 2 * d * d * (n - 1)))
    return 2 * (behind + n * (64 * d + 8 * d * d))


def flops_of_passes(tokens: int) -> float:
    """Matrix products of one whole pass with the logits of the last token only."""
    d = 768
    return 2.0 * (12 * (tokens * 12 * d * d + 2 * tokens * tokens * d) + 50_257 * d)


def peak(seconds: float = 1.0) -> tuple[float, float]:
    """FLOP of `torch.addmm` per second of CPU and of wall time, at these shapes."""
    best = (0.0, 0.0)
    for rows in (256, 512, 1024):
        for a, b in ((768, 3072), (3072, 768), (768, 2304)):
            bias, x, weight = torch.zeros(b), torch.randn(rows, a), torch.randn(a, b)
            torch.addmm(bias, x, weight)
            wall, cpu, count = time.perf_counter(), time.process_time(), 0
            while time.perf_counter() - wall < seconds / 9:
                torch.addmm(bias, x, weight)
                count += 1
            flop = 2.0 * rows * a * b * count
            spent = time.process_time() - cpu, time.perf_counter() - wall
            best = max(best[0], flop / spent[0]), max(best[1], flop / spent[1])
    return best


def compare(
    net: GPT2LMHeadModel,
    mine: Approach,
    rivals: Sequence[Approach],
    pairs: Sequence[Pair],
    rounds: int,
    *,
    verbose: bool,
) -> None:
    """Print what everyone takes, the ratios to ours, and how far their effects are from ours."""
    mine.run(pairs, mine.units)  # the trace is made once for a study
    costs: dict[str, list[Cost]] = {}
    gaps, failed, peaks = {}, {}, []
    for _ in range(rounds):
        peaks.append(peak())
        values, cost = timed(mine, pairs)
        found = effects(net, values, pairs)
        costs.setdefault(mine.name, []).append(cost)
        for rival in rivals:
            if rival.name in failed:
                continue
            try:
                values, cost = timed(rival, pairs)
            except FAILURES as error:
                failed[rival.name] = f"{type(error).__name__}: {str(error)[:200]}"
                costs.pop(rival.name, None)
                continue
            costs.setdefault(rival.name, []).append(cost)
            if verbose:
                print(
                    f"  {rival.name}: {cost.cpu:.2f} ms, ours {costs['ours'][-1].cpu:.2f}",
                    flush=True,
                )
            other = effects(net, values, pairs)
            gaps[rival.name] = disagreement(found, mine.units, other, rival)
    _print(mine, costs, gaps, failed)
    flop = statistics.mean(
        least_flops(mine.work, unit, len(pair.base)) for pair in pairs for unit in mine.units
    )
    cpu, wall = (statistics.median(column) for column in zip(*peaks, strict=True))
    took = _median(costs[mine.name])
    print(
        f"  bound: {flop / 1e6:.0f} MFLOP at {cpu / 1e9:.0f} GFLOP per CPU second "
        f"({wall / 1e9:.0f} per second) = {1e3 * flop / cpu:.2f} ms CPU ({1e3 * flop / wall:.2f} wall); "
        f"ours reaches {flop / cpu / took.cpu * 1e3:.0%} of it ({flop / wall / took.wall * 1e3:.0%} wall)"
    )
    passes = statistics.mean(flops_of_passes(len(pair.base)) for pair in pairs)
    shares = ", ".join(
        f"{rival.name} {passes / cpu / _median(costs[rival.name]).cpu * 1e3:.0%}"
        for rival in rivals
        if rival.batched and rival.name in costs and rival.name != "Vig et al."
    )
    print(
        f"  a batch of whole passes: {passes / 1e6:.0f} MFLOP, {passes / flop:.2f} times the bound; "
        f"reached of it: {shares or 'not run'}"
    )


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.wall for cost in costs),
    )


def _print(
    mine: Approach,
    costs: dict[str, list[Cost]],
    gaps: dict[str, float],
    failed: dict[str, str],
) -> None:
    print(f"{mine.work}: {len(mine.units)} mediators of ours, {len(costs[mine.name])} rounds")
    print(f"  {'':34}{'CPU ms':>9}{'wall ms':>9}   ratio of CPU time    gap of effects")
    for name, listed in costs.items():
        took = _median(listed)
        line = f"  {name:34}{took.cpu:9.2f}{took.wall:9.2f}"
        if name != mine.name:
            pairs = zip(listed, costs[mine.name], strict=True)
            ratios = [theirs.cpu / ours.cpu for theirs, ours in pairs]
            low, high = min(ratios), max(ratios)
            line += f"{statistics.median(ratios):9.1f} [{low:.1f}, {high:.1f}]".ljust(24)
            line += f"{gaps[name]:.1e}"
        print(line)
    for name, reason in failed.items():
        print(f"  {name}: does not run, {reason}")


def main() -> None:
    """Time everyone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", nargs="+", choices=get_args(Work), default=get_args(Work))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--neurons", type=int, default=192, help="neurons of each layer, for ours")
    parser.add_argument("--batch", type=int, default=1024, help="mediator_batch")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--verbose", action="store_true", help="every time as it is taken")
    given = parser.parse_args()
    net = shaped_like_gpt2()
    pairs = prompts(given.prompts)
    rivals, missing = others(net, given.peers)
    for line in missing:
        print(line)
    for work in given.work:
        mine = ours(shaped_like_gpt2(), work, len(pairs), given.batch, given.neurons)
        some = [rival for rival in rivals if rival.work == work]
        compare(net, mine, some, pairs, given.rounds, verbose=given.verbose)


if __name__ == "__main__":
    main()
