"""Trains the small nets of the identity-rule task that come with vlbias, and says what they learned.

    python experiments/symbolic_nets.py                 # all of them, about ten minutes on one core
    python experiments/symbolic_nets.py --net bottleneck-0

Nets with a bottleneck can pass the rule through third items only, so that heads of all three types must
form. Nets without one solve the task as well, by other tokens: they are the negative controls. A net that
does not answer 99 % of prompts is not saved.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlbias.models.language.attention import add_probe
from vlbias.models.language.rule_net import SPECIAL, RuleNet, RuleNetConfig, rule_tokenizer

PACKAGE = Path(__file__).parents[1] / "vlbias" / "data" / "symbolic"
SEPARATOR, NEWLINE, BEGIN, NEWLINE_A, NEWLINE_B = range(len(SPECIAL))
SHOTS = 3
BATCH = 128


@dataclass(frozen=True)
class Recipe:
    """How a net is made: its shape, its seed, and how it begins."""

    seed: int
    vocabulary: int = 32
    layers: int = 4
    bottleneck: bool = True
    equal_start: bool = True
    steps: int = 700
    rate: float = 3e-3


RECIPES = {
    **{f"bottleneck-{seed}": Recipe(seed) for seed in range(5)},
    "control-3": Recipe(0, 64, 3, False, False, 1600, 2e-3),
    "control-4": Recipe(1, 32, 4, False, False, 1600),
}


def start(recipe: Recipe) -> RuleNet:
    """A net before training; keys begin as queries where the recipe says so, so that like finds like."""
    torch.manual_seed(recipe.seed)
    width = 64
    net = RuleNet(
        RuleNetConfig(
            vocab_size=recipe.vocabulary,
            hidden_size=width,
            num_hidden_layers=recipe.layers,
            max_position_embeddings=6 * (SHOTS + 1) + 1,
            bottleneck=recipe.bottleneck,
        )
    )
    for module in net.modules():
        if isinstance(module, nn.Linear) and module is not net.lm_head:
            module.reset_parameters()
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=1 / math.sqrt(width))
    for layer in net.model.layers:
        add_probe(layer.attention)
        if recipe.equal_start:
            query, key = layer.attention.query.weight.data, layer.attention.key.weight.data
            key.copy_(query.mul_(2))
    return net


def prompts(
    count: int, vocabulary: int, typed: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Token ids [count, tokens] of whole prompts, answer and last newline included, and their rules.

    In a share `typed` of them newlines tell the rule.
    """
    drawn = torch.rand(count, vocabulary - len(SPECIAL), generator=generator).argsort(1)
    items = drawn[:, : 2 * (SHOTS + 1)].view(count, SHOTS + 1, 2) + len(SPECIAL)
    rule = torch.randint(2, (count,), generator=generator)
    third = items.gather(2, rule[:, None, None].expand(-1, SHOTS + 1, 1))[..., 0]
    tells = torch.rand(count, generator=generator) < typed
    newline = torch.where(tells, NEWLINE_A + rule, NEWLINE)[:, None].expand(-1, SHOTS + 1)
    apart = torch.full_like(third, SEPARATOR)
    examples = torch.stack([items[..., 0], apart, items[..., 1], apart, third, newline], -1)
    begin = torch.full((count, 1), BEGIN)
    return torch.cat([begin, examples.flatten(1)], 1), rule


def train(recipe: Recipe) -> tuple[RuleNet, dict[str, Any]]:
    """A trained net, and what training took.

    Every third item is asked for; in the first example nothing tells which it is. So is the newline behind
    it, which in half of the sequences tells the rule: without that, the loss stays at ln 2 for thousands
    of steps.
    """
    net, began = start(recipe), time.process_time()
    generator = torch.Generator().manual_seed(recipe.seed + 1)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=recipe.rate, weight_decay=0.02, betas=(0.9, 0.98)
    )
    asked = torch.arange(SHOTS + 1) * 6 + 4
    weights = torch.tensor([0.1, *[1.0] * SHOTS])
    good, step = 0, 0
    for step in range(1, recipe.steps + 1):
        decay = 0.5 * (1 + math.cos(math.pi * step / recipe.steps)) * 0.95 + 0.05
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * min(1, step / 100) * decay
        ids, _ = prompts(BATCH, recipe.vocabulary, 0.5, generator)
        logits = net(ids[:, :-1]).logits
        thirds = cross_entropy(
            logits[:, asked].flatten(0, 1), ids[:, asked + 1].flatten(), reduction="none"
        )
        newlines = cross_entropy(logits[:, asked + 1].flatten(0, 1), ids[:, asked + 2].flatten())
        loss = (thirds.view(BATCH, -1) * weights).mean() + 0.5 * newlines
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 0:
            right = accuracy(net, recipe.vocabulary, step)
            print(f"  step {step}: loss {loss.item():.3f}, accuracy {right:.3f}", flush=True)
            good = good + 1 if right >= 0.995 else 0
            if good >= 4:
                break
    net.half().float()  # what is saved is half as precise
    found = accuracy(net.eval(), recipe.vocabulary, 10**6, count=2000)
    return net, {"steps": step, "accuracy": found, "cpu_s": round(time.process_time() - began)}


@torch.no_grad()
def accuracy(net: RuleNet, vocabulary: int, seed: int, count: int = 500) -> float:
    """Share of prompts with plain newlines whose most probable third item of the query is right."""
    ids, _ = prompts(count, vocabulary, 0.0, torch.Generator().manual_seed(seed))
    logits = net(ids[:, :-2]).logits[:, -1]
    return float((logits.argmax(1) == ids[:, -2]).float().mean())


def main() -> int:
    """Trains what is asked for; 1 where a net did not learn the task."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--net", choices=sorted(RECIPES), action="append")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument("--out", type=Path, default=PACKAGE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    failed = 0
    for name in options.net or RECIPES:
        recipe = RECIPES[name]
        if options.seed is not None:
            recipe = Recipe(**{**asdict(recipe), "seed": options.seed})
        net, found = train(recipe)
        print(f"{name}: {json.dumps(found)}", flush=True)
        if found["accuracy"] < 0.99:
            failed += 1
            continue
        folder = options.out / name
        net.half().save_pretrained(folder)
        rule_tokenizer(recipe.vocabulary - len(SPECIAL)).save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)
        about = {
            "command": f"python experiments/symbolic_nets.py --net {name}",
            **asdict(recipe),
            "measured": found,
        }
        (folder / "trained.json").write_text(json.dumps(about, indent=2) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
