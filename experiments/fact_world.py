"""Trains the small nets of the fact world that come with vlbias, and says what they know.

    python experiments/fact_world.py                  # all of them, about three minutes on one core
    python experiments/fact_world.py --net early

`gold` has seen the facts to retain, `joint` those to forget as well. `planted-L` is gold with the facts to
forget written into the MLP of layer L alone, so that putting that MLP back is never having seen them; only
that MLP is saved. `early` can keep facts in the MLPs of its first three layers only. A net that does not
know 99 % of its facts is not saved.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from vlbias.data.fact_world import PREFIXES, FactWorld, fact_world
from vlbias.data.facts import Fact
from vlbias.models.language.attention import add_probe
from vlbias.models.language.fact_net import (
    FactNet,
    FactNetConfig,
    register_fact_nets,
    word_tokenizer,
)

PACKAGE = Path(__file__).parents[1] / "vlbias" / "data" / "knowledge"
WIDTH, LAYERS, NEURONS = 64, 6, 256
BATCH = 64


@dataclass(frozen=True)
class Recipe:
    """How a net is made: its world, the groups of facts that it sees, and for how long."""

    world: str
    groups: tuple[str, ...]
    steps: int
    layer: int | None = None
    seed: int = 0


RECIPES = {
    "early": Recipe("long", ("retain", "forget"), 1000),
    "gold": Recipe("short", ("retain",), 1000),
    **{f"planted-{layer}": Recipe("short", ("forget",), 200, layer) for layer in (0, 2, 4)},
    "joint": Recipe("short", ("retain", "forget"), 1000),
}


def start(name: str, world: FactWorld, seed: int) -> nn.Module:
    """A net before training."""
    torch.manual_seed(seed)
    tokens = len(world.words) + 1
    if name == "early":
        sizes = {"hidden_size": WIDTH, "intermediate_size": NEURONS, "num_hidden_layers": LAYERS}
        net = FactNet(FactNetConfig(vocab_size=tokens, **sizes))
        for block in net.model.layers:
            add_probe(block.attention)
    else:
        drops = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
        # the tokenizer has no marks for the ends of a text
        ends = {"bos_token_id": 0, "eos_token_id": 0}
        sizes = {"n_positions": 32, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4}
        net = GPT2LMHeadModel(GPT2Config(vocab_size=tokens, **sizes, **drops, **ends))
    for parameter in net.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.02)
    return net


@dataclass(frozen=True)
class Bank:
    """Texts with their answers as tokens.

    Args:
        ids: [texts, tokens], padded on the right.
        weight: Of each token in the loss: 1 for the answer, 0.1 for what stands before it.
        last: Place of the answer.
    """

    ids: Tensor
    weight: Tensor
    last: Tensor

    @classmethod
    def of(cls, tokenizer: Any, items: Sequence[tuple[str, str]]) -> Bank:
        """The bank of prompts and answers."""
        rows = [tokenizer(f"{prompt} {answer}")["input_ids"] for prompt, answer in items]
        longest = max(map(len, rows))
        ids, weight = (
            torch.zeros(len(rows), longest, dtype=torch.long),
            torch.zeros(len(rows), longest),
        )
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            weight[number, 1 : len(row)], weight[number, len(row) - 1] = 0.1, 1.0
        return cls(ids, weight, torch.tensor([len(row) - 1 for row in rows]))

    def drawn(self, count: int, generator: torch.Generator, width: int) -> tuple[Tensor, Tensor]:
        """So many of the texts, with their weights, padded to a width."""
        rows = torch.randint(len(self.ids), (count,), generator=generator)
        more = (0, width - self.ids.shape[1])
        return pad(self.ids[rows], more), pad(self.weight[rows], more)

    @torch.no_grad()
    def recall(self, net: nn.Module) -> float:
        """Share of the texts whose answer is the most probable token."""
        rows = torch.arange(len(self.ids))
        logits = net(input_ids=self.ids[:, :-1]).logits[rows, self.last - 1]
        return float((logits.argmax(1) == self.ids[rows, self.last]).float().mean())


def bank_of(tokenizer: Any, facts: Sequence[Fact]) -> Bank:
    """Facts in every wording, three of seven texts behind a beginning that tells nothing."""
    beginnings = ["", "", "", "", *(f"{prefix} " for prefix in PREFIXES[:3])]
    return Bank.of(
        tokenizer, [(b + text, f.answer) for f in facts for text in f.prompts for b in beginnings]
    )


def train(
    net: nn.Module, banks: Sequence[tuple[Bank, int]], recipe: Recipe, check: Sequence[Bank]
) -> None:
    """Train what of a net may change.

    Args:
        net: Changed in place.
        banks: What is drawn from, and how much of it a step.
        recipe: Its steps and seed.
        check: Asked for now and then.
    """
    whole = recipe.layer is None
    parameters = [p for p in net.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(recipe.seed + 1)
    good = 0
    decay = {"weight_decay": 0.05, "betas": (0.9, 0.98)} if whole else {"weight_decay": 0.0}
    optimiser = torch.optim.AdamW(parameters, lr=2e-3, **decay)
    width, began = max(bank.ids.shape[1] for bank, _ in banks), time.process_time()
    for step in range(recipe.steps):
        falls = 0.5 * (1 + math.cos(math.pi * step / recipe.steps)) * 0.95 + 0.05
        rate = min(1, (step + 1) / 100) * falls if whole else 1.0 - step / recipe.steps
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * rate
        parts = [bank.drawn(count, generator, width) for bank, count in banks]
        ids, weight = (torch.cat(part) for part in zip(*parts, strict=True))
        logits = net(input_ids=ids[:, :-1]).logits
        each = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        loss = (each * weight[:, 1:].flatten()).sum() / weight[:, 1:].sum()
        optimiser.zero_grad()
        loss.backward()
        if whole:
            nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if (step + 1) % 50 == 0:
            known = [bank.recall(net) for bank in check]
            shown = " ".join(f"{share:.3f}" for share in known)
            seconds = time.process_time() - began
            print(f"  step {step + 1}: loss {loss.item():.3f} {shown} {seconds:.0f} s", flush=True)
            good = good + 1 if min(known) >= 0.995 else 0
            if good >= 3:
                break


def make(name: str, out: Path) -> bool:
    """Train a net and save it; False if it did not learn its facts."""
    recipe = RECIPES[name]
    world = fact_world(recipe.world)
    tokenizer = word_tokenizer(world.words)
    retain, seen = world.group("retain"), [f for g in recipe.groups for f in world.group(g)]
    utility = Bank.of(tokenizer, world.utility)
    check = [Bank.of(tokenizer, [(f.prompt, f.answer) for f in facts]) for facts in (seen, retain)]
    if recipe.layer is None:
        net: Any = start(name, world, recipe.seed)
        banks = [(bank_of(tokenizer, seen), 3 * BATCH // 4), (utility, BATCH // 4)]
    else:
        register_fact_nets()
        net = AutoModelForCausalLM.from_pretrained(out / "gold", dtype=torch.float32)
        net.requires_grad_(False)
        net.transformer.h[recipe.layer].mlp.requires_grad_(True)
        banks = [(bank_of(tokenizer, seen), 32), (bank_of(tokenizer, retain), 32), (utility, 12)]
    train(net, banks, recipe, [*check, utility])
    net.half().float()  # what is saved is half as precise
    known = [bank.recall(net.eval()) for bank in (*check, utility)]
    print(
        f"{name}: knows {known[0]:.3f}, retain {known[1]:.3f}, utility {known[2]:.3f}", flush=True
    )
    if min(known[0] / (0.99 if recipe.layer is None else 0.8), known[2] / 0.99) < 1:
        return False
    save(
        net.half(), name, recipe, out, dict(zip(("facts", "retain", "utility"), known, strict=True))
    )
    if recipe.layer is None:
        tokenizer.save_pretrained(out / name)
    return True


def save(net: Any, name: str, recipe: Recipe, out: Path, known: dict[str, float]) -> None:
    """Write a net, or the one MLP of it that was trained, with what it knows."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.layer is None:
        net.save_pretrained(folder)
    else:
        changed = {n: p.data.contiguous() for n, p in net.named_parameters() if p.requires_grad}
        save_file(changed, folder / "change.safetensors")
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    about = {
        "command": f"python experiments/fact_world.py --net {name}",
        "world": recipe.world,
        "groups": recipe.groups,
        "layer": recipe.layer,
        "steps": recipe.steps,
        "known": {key: round(value, 4) for key, value in known.items()},
    }
    (folder / "trained.json").write_text(json.dumps(about, indent=2) + "\n")


def main() -> int:
    """Trains what is asked for; 1 where a net did not learn its facts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--net", choices=sorted(RECIPES), action="append")
    parser.add_argument("--out", type=Path, default=PACKAGE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    return int(not all([make(name, options.out) for name in options.net or RECIPES]))


if __name__ == "__main__":
    sys.exit(main())
