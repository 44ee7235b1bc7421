"""CPU time of tracing facts with the engine, and with one plain hook a site, side by side.

    python experiments/benchmarks/tracing.py                      the fact net that comes with the package
    python experiments/benchmarks/tracing.py --model SMOLLM2.gguf --facts 2 --sites 12

Every layer, role and kind of site, all draws of the noise as rows of one batch in both. With plain hooks, only
some sites spread over the layers are run; the others are counted as as long. Facts are of invented people, and
their answers are what the model says, so that any model has some. Both give the same probabilities.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from taught_facts import FIRST, LAST, WORDINGS

from vlbias.causal.hooks import first_tensor, with_first_tensor
from vlbias.data.fact_files import read_facts
from vlbias.data.facts import Fact
from vlbias.errors import BadData
from vlbias.models import load_model
from vlbias.studies.knowledge.known import answer_tokens, are_answered
from vlbias.studies.knowledge.restoring import Restorer
from vlbias.studies.knowledge.trace_settings import TraceSettings
from vlbias.studies.knowledge.worlds import noised_example, roles_in


def facts_of(model: Any, count: int) -> list[Fact]:
    """Facts whose answer a model gives."""
    if model.name.startswith("fact-"):
        facts = read_facts("fact-world-long").facts
        known = are_answered(model, [(fact.prompt, fact.answer) for fact in facts])
        return [fact for fact, right in zip(facts, known, strict=True) if right][:count]
    found: list[Fact] = []
    for number, (first, last) in enumerate((f, name) for f in FIRST for name in LAST):
        prompt = list(WORDINGS.values())[number % len(WORDINGS)][0].format(f"{first} {last}")
        token = int(model.next_token_logits([model.tokens(prompt)]).argmax())
        answer = model.text_of([token]).strip()
        if not answer.isalpha():
            continue
        try:
            if are_answered(model, [(prompt, answer)])[0]:
                found.append(Fact(str(number), f"{first} {last}", prompt, answer))
        except BadData:  # the token does not begin a word
            continue
        if len(found) == count:
            break
    return found


@torch.no_grad()
def by_hooks(
    model: Any,
    fact: Fact,
    settings: TraceSettings,
    sd: float,
    sites: Sequence[tuple[str, str, int]],
) -> Iterator[tuple[tuple[str, str, int], float, float]]:
    """Role, part and layer with the mean probability of the answer and the CPU seconds of its pass."""
    example = noised_example(model, fact, sd, settings.draws, 0)
    rows = [model.split(world)["lm"][0] for world in example.worlds.values()]
    batch = model.collate("lm", rows)
    roles = roles_in(model, fact.prompt, fact.place)
    tokens = len(answer_tokens(model, fact.prompt, fact.answer)[1])
    for role, part, layer in sites:
        port = next(port for port in model.ports if port.name == part)
        module = model.net.get_submodule(port.path(layer))
        places = torch.tensor(list(roles[role]))

        def restore(_: nn.Module, __: Any, output: Any, places: Tensor = places) -> Any:
            tensor = first_tensor(output).clone()
            tensor[1:, places] = tensor[:1, places]  # the first row is the clean run
            return with_first_tensor(output, tensor)

        began = time.process_time()
        handle = module.register_forward_hook(restore)
        scores = model.encode("lm", batch)[1:, 0].double()
        handle.remove()
        yield (
            (role, part, layer),
            float((tokens * scores).exp().mean()),
            time.process_time() - began,
        )


def main() -> None:
    """Print both times, their ratio and the largest difference of what they give."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="fact-early")
    parser.add_argument("--facts", type=int, default=2)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--sites", type=int, default=24, help="that plain hooks run, of each fact")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model: Any = load_model(options.model)
    facts = facts_of(model, options.facts)
    settings = TraceSettings(draws=options.draws)
    restorer = Restorer(model, settings, 0, facts)
    list(restorer.rows(facts[:1]))  # traced once before it is timed
    began = time.process_time()
    rows = list(restorer.rows(facts))
    engine = time.process_time() - began
    plain, largest, count = 0.0, 0.0, 0
    for fact, row in zip(facts, rows, strict=True):
        every = [
            (role, part, layer)
            for role, parts in row["restored"].items()
            for part, values in parts.items()
            for layer in range(len(values))
        ]
        some = [every[i] for i in np.linspace(0, len(every) - 1, options.sites).astype(int)]
        found = list(by_hooks(model, fact, settings, restorer.sd, some))
        for (role, part, layer), value, _ in found:
            largest = max(largest, abs(value - row["restored"][role][part][layer]))
        plain += sum(seconds for *_, seconds in found) / len(found) * len(every)
        count += len(every)
    print(f"{model.name}: {len(facts)} facts, {options.draws} draws, {count} sites")
    print(f"engine                     {engine:9.2f} CPU s, {engine / len(facts):7.2f} a fact")
    print(f"one plain hook a site      {plain:9.2f} CPU s, {plain / len(facts):7.2f} a fact")
    print(f"ratio {plain / engine:.1f}; largest difference of a probability {largest:.1e}")


if __name__ == "__main__":
    main()
