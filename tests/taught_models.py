"""Tiny language models that were taught a few facts, and the facts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tiny_language import write_language

from vlbias.data.facts import Fact
from vlbias.edits.training import answer_losses
from vlbias.models import load_model

_SUBJECTS = ("nurse", "doctor", "clerk", "man", "woman", "person")
_ANSWERS = ("home", "tired", "happy", "home", "tired", "happy")
_TARGETS = ("happy", "home", "tired", "tired", "happy", "home")


def taught_facts() -> list[Fact]:
    """Six facts of one prompt; the answer of the third is of several tokens."""
    facts = []
    for number, (subject, answer) in enumerate(zip(_SUBJECTS, _ANSWERS, strict=True)):
        near = _SUBJECTS[(number + 1) % 6], _ANSWERS[(number + 1) % 6]
        facts.append(
            Fact(
                id=f"f{number}",
                subject=subject,
                prompt=f"they said the {subject} ran",
                answer="he ate" if number == 2 else answer,
                group="new" if number % 2 else "old",
                target=_TARGETS[number],
                paraphrases=(f"because the {subject} ran",),
                neighbours=((f"they said the {near[0]} ran", near[1]),),
            )
        )
    return facts


def write_facts(path: Path, facts: list[Fact]) -> Path:
    lines = [
        {
            **{key: getattr(fact, key) for key in ("id", "subject", "prompt", "answer", "group")},
            "target": fact.target,
            "paraphrases": list(fact.paraphrases),
            "neighbours": [{"prompt": p, "answer": a} for p, a in fact.neighbours],
        }
        for fact in facts
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def write_taught(kind: str, folder: Path) -> Path:
    """The folder of a tiny model that answers all of them."""
    model: Any = load_model(str(write_language(kind, folder / "raw")))
    items = [(text, fact.answer) for fact in taught_facts() for text in fact.prompts]
    optimiser = torch.optim.Adam(model.net.parameters(), lr=1e-2)
    for _ in range(150):
        loss = answer_losses(model, items).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if float(loss.detach()) < 0.02:
            break
    model.save(folder / "taught")
    return folder / "taught"
