from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from tiny_language import write_language

from vlbias.causal.example import Example
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import resolve
from vlbias.data.professions import read_professions
from vlbias.errors import BadStudy
from vlbias.models import load_model
from vlbias.models.language.adapter import LanguageModel
from vlbias.studies.language.component_selection import _indirect, select_components

HEADS = ["lm/head.*[*]"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder: Path = tmp_path_factory.mktemp("subsets") / "gpt2"
    loaded = load_model(str(write_language("gpt2", folder)))
    assert isinstance(loaded, LanguageModel)
    return loaded


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    texts = read_professions(None, templates=["The {} said that", "The {} ran because"])
    return [e for e in texts.examples if e.attributes["word"] in ("nurse", "doctor", "teacher")]


def joint(model: LanguageModel, examples: list[Example], members: list[Mediator]) -> float:
    together = Mediator("set", tuple(site for part in members for site in part.sites))
    return _indirect(model, examples, [together], "null->set-gender", (2, 64))[0]


@pytest.mark.integration
def test_greedy_takes_the_best_next_in_every_step(
    model: LanguageModel, examples: list[Example]
) -> None:
    found = select_components(model, examples, HEADS, contrast="null->set-gender", most=3)
    parts = {part.name: part for part in resolve(model, HEADS)}
    chosen: list[str] = []
    for _, row in found.iterrows():
        tried = {
            name: joint(model, examples, [parts[n] for n in (*chosen, name)])
            for name in parts
            if name not in chosen
        }
        assert row["added"] == max(tried, key=lambda name: tried[name])
        assert row["joint"] == pytest.approx(tried[row["added"]], rel=1e-4, abs=1e-6)
        chosen.append(row["added"])
    everything = joint(model, examples, list(parts.values()))
    assert found["all"].tolist() == pytest.approx([everything] * 3, rel=1e-4)


@pytest.mark.integration
def test_top_k_adds_in_the_order_of_single_effects(
    model: LanguageModel, examples: list[Example]
) -> None:
    found = select_components(
        model, examples, HEADS, contrast="null->set-gender", most=4, method="top-k"
    )
    parts = {part.name: part for part in resolve(model, HEADS)}
    single = {name: joint(model, examples, [part]) for name, part in parts.items()}
    assert found["added"].tolist() == sorted(single, key=lambda name: -single[name])[:4]
    first = [parts[name] for name in found["added"]]
    for k, effect in zip(found["k"], found["joint"], strict=True):
        assert effect == pytest.approx(joint(model, examples, first[:k]), rel=1e-4, abs=1e-6)
    assert found["sum_of_singles"].iloc[0] == found["joint"].iloc[0]


def test_no_pair_beats_the_exhaustive_best(model: LanguageModel, examples: list[Example]) -> None:
    sites = ["lm/head.1[*]"]
    parts = resolve(model, sites)
    best = max(joint(model, examples, list(two)) for two in combinations(parts, 2))
    found = select_components(model, examples, sites, contrast="null->set-gender", most=2)
    assert found["joint"].iloc[1] <= best + 1e-6


@pytest.mark.parametrize(("most", "method"), [(0, "greedy"), (13, "greedy"), (2, "lazy")])
def test_what_cannot_be_is_refused(
    model: LanguageModel, examples: list[Example], most: int, method: str
) -> None:
    with pytest.raises(BadStudy):
        select_components(
            model,
            examples,
            HEADS,
            contrast="null->set-gender",
            most=most,
            method=method,  # type: ignore[arg-type]
        )
