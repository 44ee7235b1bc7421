"""Heads and neurons of a GPT-2-small-shaped model: ours against one forward pass per mediator.

    python experiments/benchmarks/language.py [--rounds 3] [--prompts 4]

Random weights: times and exactness, no meaning. The mediator of a head is its output at all
positions (W1), that of a neuron one coordinate of the MLP output at the changed word (W2). Hooks run
one pass per mediator, as is usually taught, over a fixed sample of mediators (every pass costs the
same); ours runs all 144 heads, and all neurons of four layers whose mean depth is that of all twelve.
CPU time of the process is what to read on a machine that others use too.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from vlbias.causal.site import Mediator, Site
from vlbias.causal.staged import Batch, resolve
from vlbias.causal.sweep import SweepPlan
from vlbias.models.language.adapter import LanguageModel
from vlbias.models.language.tokens import Tokenised, batch_of

HE, SHE = 339, 673
LAYERS_OF_NEURONS = (0, 3, 8, 11)
SAMPLED = ((0, 3), (4, 1), (8, 7), (11, 10))


def prompts(count: int) -> list[tuple[list[int], list[int]]]:
    """Pairs of token ids of 3 to 6 tokens that differ in the second one."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(count):
        ids = rng.integers(300, 40_000, 3 + number % 4).tolist()
        other = [*ids]
        other[1] = int(rng.integers(300, 40_000))
        pairs.append((ids, other))
    return pairs


def batch_for(pairs: Sequence[tuple[list[int], list[int]]]) -> Batch:
    """All rows of the pairs, one behind the other."""
    rows = []
    for ids in (side for pair in pairs for side in pair):
        asked = ((len(ids) - 1, HE, 0), (len(ids) - 1, SHE, 1))
        rows.append(Tokenised(tuple(ids), len(ids), {"word": (1,)}, asked, 2))
    return batch_of(rows, 0, torch.device("cpu"))


def ours(
    model: LanguageModel,
    pairs: Sequence[tuple[list[int], list[int]]],
    patterns: Sequence[str | Mediator],
) -> dict[str, Tensor]:
    """Log-odds of every mediator for every pair, in one sweep of all of them."""
    plan = SweepPlan(model, model.towers[0], resolve(model, patterns), mediator_batch=256)
    jobs = [(2 * i, 2 * i + 1) for i in range(len(pairs))]
    sweep = plan.run(batch_for(pairs), jobs)
    return {name: value[:, 1] - value[:, 0] for name, value in sweep.patched.items()}


@torch.inference_mode()
def hooked(
    net: GPT2LMHeadModel, pair: tuple[list[int], list[int]], mediators: Sequence[Mediator]
) -> dict[str, float]:
    """Log-odds by plain hooks: one pass that keeps the value, then one pass per mediator."""
    found = {}
    base, other = (torch.tensor([ids]) for ids in pair)
    for mediator in mediators:
        (site,) = mediator.sites
        assert site.layer is not None
        assert site.units is not None
        block = net.transformer.h[site.layer]
        is_head = site.port == "head"
        module = block.attn.c_proj if is_head else block.mlp.c_proj
        width = 64 if is_head else 1
        columns = slice(site.units[0] * width, (site.units[0] + 1) * width)
        places = slice(None) if is_head else slice(1, 2)
        kept: list[Tensor] = []

        def keep(tensor: Tensor, kept: list[Tensor] = kept) -> Tensor:
            kept.append(tensor.clone())
            return tensor

        def swap(
            tensor: Tensor, kept: list[Tensor] = kept, c: slice = columns, p: slice = places
        ) -> Tensor:
            tensor = tensor.clone()
            tensor[:, p, c] = kept[0][:, p, c]
            return tensor

        for ids, change in ((other, keep), (base, swap)):
            if is_head:
                handle = module.register_forward_pre_hook(
                    lambda _, args, change=change: (change(args[0]), *args[1:])
                )
            else:
                handle = module.register_forward_hook(lambda _, __, out, change=change: change(out))
            logits = net(input_ids=ids, use_cache=False).logits[0, -1]
            handle.remove()
        found[mediator.name] = float(logits[SHE] - logits[HE])
    return found


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(
    name: str,
    model: LanguageModel,
    pairs: Sequence[tuple[list[int], list[int]]],
    patterns: Sequence[str],
    sampled: Sequence[Mediator],
    rounds: int,
) -> None:
    """Print milliseconds per prompt and mediator of both ways, their ratio and their largest difference."""
    net: GPT2LMHeadModel = model.net  # type: ignore[assignment]
    mediators = resolve(model, patterns)
    lean = model.scores_only()
    found = ours(lean, pairs, patterns)
    worst = max(
        abs(value - float(found[key][i]))
        for i, pair in enumerate(pairs)
        for key, value in hooked(net, pair, sampled).items()
    )
    ratios, fast, slow = [], [], []
    for _ in range(rounds):
        one = timed(lambda: ours(lean, pairs, patterns))
        other = timed(lambda: [hooked(net, pair, sampled) for pair in pairs])
        fast.append([1e3 * t / len(mediators) / len(pairs) for t in one])
        # the pass that keeps the value can be shared by all mediators: only the second one is counted
        slow.append([1e3 * t / 2 / len(sampled) / len(pairs) for t in other])
        ratios.append([s / f for s, f in zip(slow[-1], fast[-1], strict=True)])
    (wall, cpu), (slow_wall, slow_cpu) = (
        [statistics.median(column) for column in zip(*table, strict=True)] for table in (fast, slow)
    )
    ratio = statistics.median(ratio[1] for ratio in ratios)
    low, high = min(r[1] for r in ratios), max(r[1] for r in ratios)
    print(
        f"{name}: {len(mediators)} mediators x {len(pairs)} prompts; per prompt and mediator ours "
        f"{cpu:.2f} ms CPU ({wall:.2f} wall), hooks {slow_cpu:.1f} ({slow_wall:.1f}); ratio of CPU "
        f"{ratio:.1f} [{low:.1f}, {high:.1f}] over {rounds} rounds; largest difference of log-odds "
        f"{worst:.1e}"
    )


def main() -> None:
    """Time heads and neurons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=4)
    given = parser.parse_args()
    torch.manual_seed(0)
    net = GPT2LMHeadModel(GPT2Config()).eval()
    model = LanguageModel(net, None, name="gpt2-random", revision="random:0")
    pairs = prompts(given.prompts)
    heads = [Mediator.of([Site("lm", "head", layer, (unit,))]) for layer, unit in SAMPLED]
    neurons = [
        Mediator.of([Site("lm", "mlp", layer, (number * 97,), ("word",))])
        for layer, number in zip(LAYERS_OF_NEURONS, range(1, 5), strict=True)
    ]
    compare("W1 heads", model, pairs, ["lm/head.*[*]"], heads, given.rounds)
    patterns = [f"lm/mlp.{layer}[*]@word" for layer in LAYERS_OF_NEURONS]
    compare("W2 neurons", model, pairs, patterns, neurons, given.rounds)


if __name__ == "__main__":
    main()
