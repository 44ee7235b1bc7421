"""Times the scores of all heads against one plain hook for each head and prompt, side by side.

    python experiments/benchmarks/symbolic.py --model FOLDER_OR_GGUF_FILE --pairs 1 --share 10

What a study scores is timed: as many abstract pairs as token pairs of each rule, all heads at both sets of
tokens, both directions. Plain hooks run one whole pass for each. Both give the same numbers: the largest
difference is printed as a share of the logit gap. All times are CPU time of one thread. In float32 the
difference is rounding; `--exact` compares every n-th head of one abstract pair in float64, untimed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vlbias.causal.staged_model import resolve
from vlbias.models import load_model
from vlbias.studies.symbolic.ablation import tokens_of_site
from vlbias.studies.symbolic.head_types import RULES, SITES
from vlbias.studies.symbolic.prompts import Pair
from vlbias.studies.symbolic.recording import heads_port, recorded_heads
from vlbias.studies.symbolic.scores import head_scores, mediator_scores
from vlbias.studies.symbolic.solving import Drawer
from vlbias.studies.symbolic.study import Study


def plain(drawer: Drawer, pair: Pair, heads: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Scores [heads, 2] by name of a set of tokens: a whole pass of one prompt for each."""
    model, port = drawer.model, heads_port(drawer.model)
    worlds = list(pair.worlds)
    found = {site: np.zeros((len(heads), 2)) for site in SITES}
    for direction, (own, other) in enumerate((worlds, worlds[::-1])):
        ids = [drawer.ids(pair.worlds[own])]
        given = torch.tensor(recorded_heads(model, [drawer.ids(pair.worlds[other])]).output)
        answer = drawer.vocabulary.ids[pair.worlds[own].answer]
        rival = drawer.vocabulary.ids[pair.rival_of(own)]

        def delta(ids: Any = ids, answer: int = answer, rival: int = rival) -> float:
            logits = model.next_token_logits(ids)[0]
            return float(logits[rival] - logits[answer])

        before = delta()
        for site in SITES:
            tokens = tokens_of_site(site, drawer.study, drawer.vocabulary.begin)
            for place, (layer, head) in enumerate(heads):

                def patch(
                    _: Any, args: Any, layer: int = layer, head: int = head, given: Any = given,
                    tokens: Any = tokens,
                ) -> Any:  # fmt: skip
                    parts = args[0].unflatten(-1, (port.units, -1)).clone()
                    parts[:, tokens, head] = given[:, layer, tokens, head].to(parts.dtype)
                    return (parts.flatten(-2),)

                module = model.net.get_submodule(port.path(layer))
                handle = module.register_forward_pre_hook(patch)
                found[site][place, direction] = delta() - before
                handle.remove()
    return found


KINDS = (("abstract", "both"), *(("token", rule) for rule in RULES))


def timed(drawer: Drawer, pairs: Sequence[Pair], share: int) -> tuple[float, float, float, int]:
    """Seconds of the engine and of plain hooks, largest difference over the gap, passes of hooks."""
    began = time.process_time()
    gap, fast = head_scores(drawer.model, pairs, drawer.study.mediator_batch)
    quick = time.process_time() - began
    layers, count = next(iter(fast.values())).shape[:2]
    heads = [(i // count, i % count) for i in range(0, layers * count, share)]
    began, largest = time.process_time(), 0.0
    with torch.inference_mode():
        for number, pair in enumerate(pairs):
            for site, slow in plain(drawer, pair, heads).items():
                mine = np.array([fast[site][layer, head, number] for layer, head in heads])
                largest = max(largest, float(np.abs(mine - slow).max()))
    slow_time = (time.process_time() - began) * layers * count / len(heads)
    passes = 2 * len(SITES) * layers * count * len(pairs)
    return quick, slow_time, largest / float(np.abs(gap).mean()), passes


def exact(drawer: Drawer, share: int) -> str:
    """The largest difference in float64, over every n-th head of one pair, as a share of the gap."""
    model = drawer.model
    pairs = drawer.pairs("abstract", "both", 0, 1, 12, 0).pairs
    model.net.double()
    port = heads_port(model)
    units = range(0, int(port.layers or 1) * int(port.units or 1), share)
    heads = [divmod(unit, int(port.units or 1)) for unit in units]
    largest, gap = 0.0, np.empty(0)
    with torch.inference_mode():
        slow = plain(drawer, pairs[0], heads)
    for site, positions in SITES.items():
        names = [f"lm/head.{layer}[{head}]@{positions}" for layer, head in heads]
        found = mediator_scores(model, pairs, resolve(model, names), drawer.study.mediator_batch)
        largest = max(largest, float(np.abs(found.score[:, 0] - slow[site]).max()))
        gap = found.gap
    return f"{len(heads)} heads in float64: largest difference {largest / np.abs(gap).mean():.1e} of the gap"


def main() -> None:
    """Prints both times, their ratio, and the largest difference, for each kind of pairs and for all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--share", type=int, default=1, help="time every n-th head by plain hooks")
    parser.add_argument("--exact", action="store_true", help="compare in float64, without times")
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(name="timed", model=options.model, shots=options.shots)
    loaded: Any = load_model(options.model)
    drawer = Drawer(loaded.scores_only(), study)
    if options.exact:
        print(exact(drawer, options.share))
        return
    print("| pairs | passes | engine s | plain hooks s | times | largest difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    total = np.zeros(2)
    for place, (kind, rule) in enumerate(KINDS):
        pairs = drawer.pairs(kind, rule, 0, options.pairs, 12, place).pairs
        quick, slow, largest, passes = timed(drawer, pairs, options.share)
        total += quick, slow
        print(
            f"| {kind}, {rule} | {passes} | {quick:.1f} | {slow:.1f} | {slow / quick:.1f} | {largest:.1e} |",
            flush=True,
        )
    print(f"| all | | {total[0]:.1f} | {total[1]:.1f} | {total[1] / total[0]:.1f} | |")


if __name__ == "__main__":
    main()
