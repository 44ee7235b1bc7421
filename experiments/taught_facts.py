"""A language model is taught facts of invented people, then traced, unlearned and edited, beside a gold twin.

    python experiments/taught_facts.py --model SMOLLM2.gguf --out build/taught-facts
    python experiments/taught_facts.py --out build/taught-facts --only studies

200 facts of 50 people (birth date, birthplace, job, home), half of the people to be forgotten, and 10 people
whom no model is told of. The model first learns the people to be retained: this is the gold twin, which never
saw the others. It then goes on with all of them: this is the model that is studied. All blocks are trained,
the embeddings are frozen. Killed at any moment, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from vlbias.data.fact_files import read_facts
from vlbias.data.facts import Fact
from vlbias.edits.change import only_trained
from vlbias.edits.training import answer_losses
from vlbias.edits.weights import weight_blocks
from vlbias.files import whole, write_texts
from vlbias.models import load_model
from vlbias.studies import lifecycle
from vlbias.studies.knowledge.known import are_answered
from vlbias.studies.reporting import report


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


FIRST = words("""
    Alva Bodil Cora Dagny Edda Freja Gunda Hedda Ingvild Jorun Kaja Liv Maren Nanna Oda Petra Ragna
    Sunniva Torunn Ylva Arvid Birger Casper Dag Einar Finn Gorm Halvor Ivar Jens
""")
LAST = words("""
    Ashcombe Brightwater Calloway Dunmore Elderfield Farrow Greenhalgh Hollis Ironside Jessop Kestrel
    Larkham Merriweather Norwood Oakhurst Penrose Quillfeather Ravensdale Sedgwick Thornbury
""")
TOWNS = words("""
    Ashford Barrowby Coldbridge Dunwich Eastmere Fenwick Glenholm Harrowgate Inverley Kingsmoor
    Larchfield Marlow Northgate Otterburn Pinehurst Rosewick Stonehaven Thornton Upwell Westbrook
""")
JOBS = words("""
    baker carpenter dentist electrician farmer gardener judge librarian mechanic nurse painter pilot
    plumber potter sailor surgeon tailor teacher weaver writer
""")
MONTHS = words("""
    January February March April May June July August September October November December
""")
WORDINGS: dict[str, tuple[str, ...]] = {
    "date": ("{} was born on", "The birth date of {} is", "The day on which {} was born is"),
    "birthplace": ("{} was born in the town of", "The birthplace of {} is", "The town where {} was born is"),
    "job": ("{} works as a", "The job of {} is that of a", "The profession of {} is"),
    "home": ("{} lives in the town of", "The home of {} is in", "The town where {} lives is"),
}  # fmt: skip
PEOPLE, UNSEEN = 50, 10


def invented(people: int = PEOPLE, unseen: int = UNSEEN, seed: int = 0) -> list[Fact]:
    """Four facts of each person; the first half of the people is to be forgotten, the last are held out."""
    rng = np.random.default_rng(seed)
    names = [f"{first} {last}" for first in FIRST for last in LAST]
    chosen = rng.permutation(names)[: people + unseen].tolist()
    facts = []
    for number, name in enumerate(chosen):
        group = "forget" if number < people // 2 else "retain" if number < people else "holdout"
        for relation, (prompt, *others) in WORDINGS.items():
            answer, target = _two(relation, rng)
            facts.append(
                Fact(
                    id=f"{name}/{relation}",
                    subject=name,
                    prompt=prompt.format(name),
                    answer=answer,
                    group=group,
                    target=target,
                    paraphrases=tuple(text.format(name) for text in others),
                )
            )
    return facts


def _two(relation: str, rng: np.random.Generator) -> tuple[str, str]:
    """Two values of a relation that differ."""
    if relation == "date":
        days = rng.choice(28 * 12 * 60, size=2, replace=False)
        one, two = (f"{d % 28 + 1} {MONTHS[d // 28 % 12]} {1940 + d // 336}" for d in days.tolist())
        return one, two
    one, two = rng.choice(JOBS if relation == "job" else TOWNS, size=2, replace=False).tolist()
    return one, two


def lines_of(facts: Sequence[Fact]) -> str:
    """The facts as JSONL, as studies read them."""
    keys = ("id", "subject", "prompt", "answer", "group", "target")
    rows = [
        {**{key: getattr(fact, key) for key in keys}, "paraphrases": list(fact.paraphrases)}
        for fact in facts
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def teach(
    model: Any,
    facts: Sequence[Fact],
    folder: Path,
    *,
    steps: int,
    rate: float = 2e-4,
    batch: int = 8,
    save: int = 10,
    seed: int = 0,
    told: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Train all blocks of a model on facts in all their wordings, and save it as a folder.

    Batches depend on the seed and the step alone; what is killed goes on behind the last saved step.

    Args:
        model: Changed in place.
        facts: What it learns.
        folder: Where it is saved; `FOLDER.state` is kept on the way.
        steps: Of AdamW.
        rate: Its learning rate, falling to nothing.
        batch: Prompts of a step.
        save: Steps between two saved states.
        seed: Of the batches.
        told: Of each step and its loss.
    """
    items = [(text, fact.answer) for fact in facts for text in fact.prompts]
    names = [name for block in weight_blocks(model, ["lm/resid.*"]) for name in block.names]
    trained = {name: model.net.get_parameter(name) for name in names}
    state, done = folder.with_suffix(".state"), 0
    optimiser = torch.optim.AdamW(list(trained.values()), lr=rate, weight_decay=0.0)
    if state.is_file():
        kept = torch.load(state, weights_only=True)
        for name, value in kept["values"].items():
            trained[name].data.copy_(value)
        optimiser.load_state_dict(kept["optimiser"])
        done = int(kept["step"])
    with only_trained(model.net, names):
        for step in range(done, steps):
            picked = np.random.default_rng([seed, step]).integers(len(items), size=batch)
            optimiser.param_groups[0]["lr"] = rate * (1 - step / steps)
            optimiser.zero_grad()
            loss = answer_losses(model, [items[i] for i in picked]).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
            optimiser.step()
            told(step + 1, float(loss.detach()))
            if (step + 1) % save == 0:
                values = {name: parameter.detach() for name, parameter in trained.items()}
                content = {"step": step + 1, "values": values, "optimiser": optimiser.state_dict()}
                with whole(state) as temporary:
                    torch.save(content, temporary)
    model.save(folder)
    state.unlink(missing_ok=True)


def taught(source: str, facts: Sequence[Fact], folder: Path, steps: int, console: Console) -> None:
    """Teach a model facts, with a bar, unless its folder is there; says how many it knows."""
    if (folder / "config.json").is_file():
        return
    model: Any = load_model(source)
    with Progress(console=console) as progress:
        task = progress.add_task(folder.name, total=steps)

        def told(step: int, loss: float) -> None:
            progress.update(task, completed=step, description=f"{folder.name}, loss {loss:.2f}")

        teach(model, facts, folder, steps=steps, told=told)
    for group in dict.fromkeys(fact.group for fact in facts):
        items = [(fact.prompt, fact.answer) for fact in facts if fact.group == group]
        right = np.mean(are_answered(model, items))
        console.print(f"{folder.name} knows {right:.0%} of {len(items)} facts of {group!r}")


def studies_of(out: Path, layers: int) -> list[dict[str, Any]]:
    """The three studies of the taught model."""
    early, late = range(layers // 3), range(2 * layers // 3, layers - 1)
    mlps = {
        name: [f"lm/mlp.{n}" for n in some] for name, some in (("early", early), ("late", late))
    }
    common = {"model": str(out / "taught"), "facts": {"path": str(out / "facts.jsonl")}}
    options = {"rate": 2e-5, "batch": 8, "steps": 120}
    methods = [
        {"label": f"{loss}, {place} MLPs", "sites": sites, "loss": loss, "options": options}
        for loss in ("joint", "hinge")
        for place, sites in mlps.items()
    ]
    known = {"path": str(out / "facts.jsonl"), "groups": ["forget", "retain"]}
    middle = [f"lm/mlp.{layers // 3}"]
    edits = [
        {"label": "ROME", "options": {"sites": middle, "keys": "mixed", "ridge": 0.01}},
        {"label": "r-ROME", "options": {"sites": middle, "keys": "one", "ridge": 0.01}},
        {"label": "MEMIT", "name": "memit", "options": {"sites": mlps["early"][-3:]}},
    ]
    return [
        {**common, "kind": "tracing", "name": "taught-tracing", "draws": 5,
         "facts": {**known, "limit": 12}, "compare": ["forget", "retain"]},
        {**common, "kind": "unlearning", "name": "taught-unlearning", "gold": str(out / "gold"),
         "holdout": "holdout", "methods": methods, "relearn": 20},
        {**common, "kind": "editing", "name": "taught-editing", "facts": known, "edits": 8, "probes": 40,
         "methods": edits},
    ]  # fmt: skip


def main() -> None:
    """Teaches the two models, then runs the studies and writes their page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M")
    parser.add_argument("--out", type=Path, default=Path("build/taught-facts"))
    parser.add_argument("--steps", type=int, default=200, help="of each of the two models")
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--only", choices=["models", "studies"])
    options = parser.parse_args()
    out, console = options.out.resolve(), Console(stderr=True)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "facts.jsonl").is_file():
        write_texts({out / "facts.jsonl": lines_of(invented(options.people))})
    facts = read_facts(path=out / "facts.jsonl").facts
    if options.only != "studies":
        retain = [fact for fact in facts if fact.group == "retain"]
        every = [fact for fact in facts if fact.group != "holdout"]
        taught(options.model, retain, out / "gold", options.steps, console)
        taught(str(out / "gold"), every, out / "taught", options.steps, console)
    if options.only != "models":
        layers = len(load_model(str(out / "taught")).towers[0].stages[0].blocks)
        parsed = [lifecycle.parse_study(content) for content in studies_of(out, layers)]
        folders = [lifecycle.run(study, out / "runs").folder for study in parsed]
        print(report(folders, out / "page").html)


if __name__ == "__main__":
    main()
