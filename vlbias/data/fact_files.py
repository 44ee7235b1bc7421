"""Files of facts: one JSON object a line, or the layouts of CounterFact, LUME and TOFU."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from vlbias.data.fact_world import fact_world
from vlbias.data.facts import Fact
from vlbias.data.question_files import facts_of_questions, layout_of_questions, records_of
from vlbias.data.text_files import Record, files_read
from vlbias.errors import BadData

__all__ = ["FACTS", "FactSet", "read_facts"]

FACTS = {"fact-world": "short", "fact-world-long": "long"}
"""Sets of facts that come with the package, each a world of `vlbias.data.fact_world`."""
_TEXTS = ("id", "subject", "prompt", "answer", "group", "target")
_KEYS = (*_TEXTS, "paraphrases", "neighbours")


@dataclass(frozen=True)
class FactSet:
    """Facts and where they come from.

    Args:
        facts: In the order of the file.
        meta: Reader, and how many facts are left after each step.
        files: Name of a file to a hash of its bytes.
    """

    facts: tuple[Fact, ...]
    meta: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """A hash of all facts."""
        whole = json.dumps([asdict(fact) for fact in self.facts], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()

    def chosen(self, groups: Sequence[str], limit: int | None, seed: int) -> Self:
        """The facts of some groups, so many of each.

        Args:
            groups: Which; all if there are none.
            limit: How many of each, drawn by the seed; all if None.
            seed: Of the draw.
        """
        draw = random.Random(seed)
        inside = [fact for fact in self.facts if not groups or fact.group in groups]
        kept = set()
        for group in dict.fromkeys(fact.group for fact in inside):
            ids = [fact.id for fact in inside if fact.group == group]
            kept |= set(sorted(ids, key=lambda _: draw.random())[:limit])
        facts = tuple(fact for fact in inside if fact.id in kept)
        funnel = {**self.meta["funnel"], "of the groups": len(inside), "chosen": len(facts)}
        return replace(self, facts=facts, meta={**self.meta, "funnel": funnel})


def read_facts(name: str = "", path: Path | None = None) -> FactSet:
    """The facts of a name or of a file.

    Args:
        name: One of `FACTS`.
        path: A file of one JSON object a line, a .json file in the layout of CounterFact, a file in the layout
            of LUME or TOFU, or a folder of such files, for sets that keep what is to be forgotten apart.

    Raises:
        BadData: if the file is missing, or a line is no fact; names the line.
    """
    if path is None:
        facts = fact_world(FACTS[name]).facts
        return FactSet(facts, {"reader": name, "funnel": {"facts": len(facts)}})
    with files_read() as found:
        facts = tuple(fact for file in _files(path) for fact in _of_file(file))
    if not facts:
        raise BadData(f"{path} holds no fact")
    twice = sorted({fact.id for fact in facts if sum(one.id == fact.id for one in facts) > 1})
    if twice:
        raise BadData(f"{path}: ids that repeat: {', '.join(twice[:10])}; give each fact its own")
    meta = {"reader": path.name, "funnel": {"facts": len(facts)}}
    names = {file: "facts.path" if file == path else f"facts.path/{file.name}" for file in found}
    return FactSet(facts, meta, {names[file]: digest for file, digest in found.items()})


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in (".json", ".jsonl", ".csv"))
    if not files:
        raise BadData(f"{path} holds no file of facts: expected .jsonl, .json or .csv")
    return files


def _of_file(path: Path) -> tuple[Fact, ...]:
    records = records_of(path)
    if layout := layout_of_questions(records):
        return facts_of_questions(path, records, layout)
    is_lines = path.suffix != ".json" or (records and "subject" in records[0].values)
    return _lines(path, records) if is_lines else _counterfact(path, records)


def _lines(path: Path, records: Sequence[Record]) -> tuple[Fact, ...]:
    facts = []
    for number, values in records:
        where = f"{path.name} line {number}"
        unknown = sorted(set(values) - set(_KEYS))
        if unknown:
            raise BadData(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(_KEYS)}")
        texts = {"id": str(number), **{k: _text(values, k, where) for k in _TEXTS if k in values}}
        facts.append(
            _fact(
                where,
                texts,
                _texts(values.get("paraphrases", []), where, "paraphrases"),
                [_pair(one, where) for one in _list(values.get("neighbours", []), where)],
            )
        )
    return tuple(facts)


def _counterfact(path: Path, records: Sequence[Record]) -> tuple[Fact, ...]:
    facts = []
    for number, (_, case) in enumerate(records):
        where = f"{path.name} case {number}"
        try:
            asked = case["requested_rewrite"]
            subject, answer = asked["subject"], asked["target_true"]["str"].strip()
            texts = {
                "id": str(case.get("case_id", number)),
                "subject": subject,
                "prompt": asked["prompt"].format(subject).strip(),
                "answer": answer,
                "target": asked["target_new"]["str"].strip(),
                "group": str(asked.get("relation_id", "")),
            }
            near = [(text, answer) for text in case.get("neighborhood_prompts", [])]
            facts.append(_fact(where, texts, case.get("paraphrase_prompts", []), near))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise BadData(
                f"{where} is not laid out as CounterFact is ({type(error).__name__}: {error}); expected "
                "requested_rewrite with subject, prompt, target_true and target_new"
            ) from error
    return tuple(facts)


def _fact(
    where: str,
    texts: Mapping[str, str],
    paraphrases: Sequence[str],
    neighbours: Sequence[tuple[str, str]],
) -> Fact:
    for key in ("subject", "prompt", "answer"):
        if key not in texts:
            raise BadData(f"{where}: {key!r} is missing; a fact has subject, prompt and answer")
    try:
        return Fact(**texts, paraphrases=tuple(paraphrases), neighbours=tuple(neighbours))
    except BadData as error:
        raise BadData(f"{where}: {error}") from error


def _text(values: Mapping[str, Any], key: str, where: str) -> str:
    if not isinstance(values[key], str | int):
        raise BadData(f"{where}: {key} is {values[key]!r}, expected a text")
    return str(values[key])


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadData(f"{where}: got {str(value)[:80]!r}, expected a list")
    return value


def _texts(value: Any, where: str, key: str) -> list[str]:
    texts = _list(value, where)
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise BadData(f"{where}: {key} is {value!r}, expected a list of texts")
    return texts


def _pair(value: Any, where: str) -> tuple[str, str]:
    if not isinstance(value, Mapping) or not {"prompt", "answer"} <= set(value):
        raise BadData(
            f"{where}: neighbours hold {value!r}, expected objects with 'prompt' and 'answer'"
        )
    return str(value["prompt"]), str(value["answer"])
