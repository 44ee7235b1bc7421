"""What `vlbias init` finds out for every kind of study of facts: facts, groups, layers of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlbias.data.fact_files import FACTS, FactSet, read_facts
from vlbias.models import outline_model
from vlbias.studies.knowledge.known import refuse_other_models
from vlbias.studies.start import (
    Start,
    commented_head,
    commented_line,
    inline_table,
    model_from,
    path_from,
    refuse_target,
    study_name,
    write_study,
)

__all__ = ["Found", "found_facts", "methods_table", "written"]


@dataclass(frozen=True)
class Found:
    """What a study of facts begins with.

    Args:
        out: The study file.
        source: Of the facts, as the study file names them.
        facts: All of them.
        model: As the study file names it.
        layers: Blocks of the model.
    """

    out: Path
    source: Mapping[str, str]
    facts: FactSet
    model: str
    layers: int

    @property
    def groups(self) -> Counter[str]:
        """How many facts each group has, in the order of the file."""
        return Counter(fact.group for fact in self.facts.facts)

    @property
    def remarks(self) -> list[str]:
        """What was found, in sentences."""
        groups = ", ".join(f"{name or 'without a name'}: {n}" for name, n in self.groups.items())
        subjects = len({fact.subject for fact in self.facts.facts})
        return [
            f"{len(self.facts.facts)} facts of {subjects} subjects; groups: {groups}",
            f"the model has {self.layers} layers; which of the facts it knows, a run finds out",
        ]

    def mlps(self, first: int, last: int) -> list[str]:
        """The MLPs of layers, both ends included."""
        return [f"lm/mlp.{layer}" for layer in range(first, last + 1)]


def found_facts(data: Path, model: str, out: Path) -> Found:
    """Facts and model of a study that is to be written.

    Args:
        data: A file or folder of facts, or the name of a set of `FACTS`.
        model: Hub name, folder or GGUF file.
        out: The study file.

    Raises:
        BadData: if the study file is there already, or the facts are missing or wrong.
        BadStudy: if the model is no causal language model.
        UnknownName: if there is no such model.
        BadModel: if the model's configuration cannot be read.
    """
    refuse_target(out)
    folder = out.resolve().parent
    if str(data) in FACTS and not data.exists():
        source, facts = {"name": str(data)}, read_facts(str(data))
    else:
        source, facts = {"path": path_from(data, folder)}, read_facts(path=data)
    outline = outline_model(model)
    refuse_other_models(model, outline)
    layers = len(outline.towers[0].stages[0].blocks)
    return Found(out, source, facts, model_from(model, folder), layers)


def written(found: Found, kind: str, title: str, lines: Sequence[str]) -> Start:
    """The study file: its head, facts and model, and the lines of its kind."""
    name = study_name(found.out)
    head = [
        *commented_head(title, name, found.remarks),
        commented_line("kind", kind, "see `vlbias list kinds`"),
        commented_line("name", name, f"of the folder runs/{name}"),
        commented_line("model", found.model, "org/model of the hub, a folder, or a GGUF file"),
        commented_line("device", "cpu", 'or "cuda"'),
        f"{f'facts = {inline_table(found.source)}':39} # groups = [...] and limit = N take some of them",
    ]
    write_study(found.out, "\n".join([*head, *lines]) + "\n")
    return Start(found.out, name, found.remarks)


def methods_table(methods: Sequence[Mapping[str, object]], why: str) -> list[str]:
    """The lines of `methods`, one a method.

    Args:
        methods: Keys and values of each.
        why: The comment.
    """
    rows = [f"  {inline_table(one) + ',':37} # change, copy or take out" for one in methods]
    return [f"{'methods = [':39} # {why}", *rows, f"{']':39} #"]
