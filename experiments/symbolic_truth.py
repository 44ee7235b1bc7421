"""Says which heads of the nets of `symbolic_nets.py` carry rule and token, by plain hooks.

    python experiments/symbolic_truth.py

Every head is exchanged by itself, prompt by prompt, in whole passes on prompts of its own; nothing of the
engine is used. What is found is written into trained.json of each net: scores of all heads of every type,
and the logit gap.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from symbolic_nets import BEGIN, NEWLINE, PACKAGE, SEPARATOR, SHOTS
from torch import Tensor
from transformers import AutoModelForCausalLM

from vlbias.models.language.attention import add_probe
from vlbias.models.language.rule_net import SPECIAL, register_rule_nets

THIRDS = [6 * k + 5 for k in range(SHOTS)]
LAST = [6 * SHOTS + 4]
TYPES = {"abstraction": (True, THIRDS), "induction": (True, LAST), "retrieval": (False, LAST)}
"""Type to whether its pairs are abstract, and to the tokens that are exchanged."""


def sequence(first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Prompts [count, tokens] of items [count, examples], up to the query's second separator."""
    apart, newline = torch.full_like(first, SEPARATOR), torch.full_like(first, NEWLINE)
    parts = torch.stack([first, apart, second, apart, third, newline], -1).flatten(1)
    begin = torch.full((len(first), 1), BEGIN)
    return torch.cat([begin, parts], 1)[:, : 6 * SHOTS + 5]


def pairs(count: int, vocabulary: int, abstract: bool, generator: torch.Generator) -> Any:
    """Prompts that give, prompts that receive, right answers of the latter, and what the former would say."""
    drawn = torch.rand(count, vocabulary - len(SPECIAL), generator=generator).argsort(1)
    items = drawn[:, : 2 * (SHOTS + 1)].view(count, SHOTS + 1, 2) + len(SPECIAL)
    a, b = items.unbind(-1)
    rule = torch.randint(2, (count, 1), generator=generator)
    third = torch.where(rule.bool(), b, a)
    gives = sequence(a, b, third)
    one, other = b.clone(), a.clone()
    if not abstract:
        one[:, :-1], other[:, :-1] = a[:, :-1], b[:, :-1]
    receives = sequence(one, other, third)
    own = third[:, -1]
    rival = torch.where(rule[:, 0].bool(), a[:, -1], b[:, -1])
    # swapped rule and swapped query give the same answer; a swapped query alone gives the other
    return gives, receives, own if abstract else rival, rival if abstract else own


@torch.no_grad()
def scores(
    net: Any, abstract: bool, tokens: list[int], count: int
) -> tuple[list[list[float]], float]:
    """Mean score of every head, [layers][heads], and the logit gap."""
    generator = torch.Generator().manual_seed(99)
    config = net.config
    gives, receives, answer, rival = pairs(count, config.vocab_size, abstract, generator)
    rows = torch.arange(count)

    def delta(logits: Tensor) -> Tensor:
        return logits[rows, -1, rival] - logits[rows, -1, answer]

    table, plain = [], delta(net(receives).logits)
    for layer in net.model.layers:
        kept: list[Tensor] = []
        out = layer.attention.out
        handle = out.register_forward_pre_hook(lambda _, args, kept=kept: kept.append(args[0]))
        net(gives)
        handle.remove()
        line = []
        for head in range(config.num_attention_heads):
            part = slice(head * config.head_dim, (head + 1) * config.head_dim)

            def exchange(_: Any, args: Any, part: slice = part, kept: list[Tensor] = kept) -> Any:
                changed = args[0].clone()
                changed[:, tokens, part] = kept[0][:, tokens, part]
                return (changed,)

            handle = out.register_forward_pre_hook(exchange)
            line.append(float((delta(net(receives).logits) - plain).mean()))
            handle.remove()
        table.append(line)
    return table, float(plain.mean())


def main() -> None:
    """Writes the truth of every net that is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=PACKAGE)
    parser.add_argument("--prompts", type=int, default=400)
    options = parser.parse_args()
    register_rule_nets()
    for path in sorted(options.folder.glob("*/trained.json")):
        net = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32).eval()
        for layer in net.model.layers:
            add_probe(layer.attention)
        about = json.loads(path.read_text())
        about["truth"] = {}
        for name, (abstract, tokens) in TYPES.items():
            table, gap = scores(net, abstract, tokens, options.prompts)
            rounded = [[round(value, 3) for value in line] for line in table]
            about["truth"][name] = {"gap": round(gap, 3), "scores": rounded}
            print(path.parent.name, name, round(gap, 2), rounded)
        path.write_text(json.dumps(about) + "\n")


if __name__ == "__main__":
    main()
