from __future__ import annotations

import math
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_language import write_language

from vlbias.data.coreference import read_winobias
from vlbias.errors import BadData, BadModel
from vlbias.mitigations.ablation import MeanAblation
from vlbias.models import load_model
from vlbias.models.language.adapter import LanguageModel
from vlbias.models.language.perplexity import perplexity

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    loaded = load_model(str(write_language("llama", tmp_path_factory.mktemp("m") / "llama")))
    assert isinstance(loaded, LanguageModel)
    return loaded


def test_perplexity_is_that_of_the_loss(model: LanguageModel, tmp_path: Path) -> None:
    texts = ["The nurse said that she was tired .", "The man ran home because he was happy ."]
    losses, counts = [], []
    for text in texts:
        ids = torch.tensor([model.tokens(text)])
        with torch.inference_mode():
            losses.append(float(model.net(input_ids=ids, labels=ids).loss))
        counts.append(ids.shape[1] - 1)
    assert perplexity(model, texts) == pytest.approx(
        math.exp(np.average(losses, weights=counts)), rel=1e-4
    )
    with pytest.raises(BadData, match="two tokens"):
        perplexity(model, [""])
    masked = load_model(str(write_language("bert", tmp_path / "bert")))
    with pytest.raises(BadModel, match="masks"):
        perplexity(masked, texts)


def parts() -> Any:
    sys.path.insert(0, str(EXPERIMENTS))
    try:
        return import_module("language_debias_parts")
    finally:
        sys.path.remove(str(EXPERIMENTS))


def test_random_heads_are_of_the_same_layers(model: LanguageModel) -> None:
    ranked = ["lm/head.1[2]", "lm/head.1[0]", "lm/head.2[3]", "lm/head.0[1]"]
    none, found, *drawn = parts().settings(model, ranked, [3], 20, 0)
    assert (none.heads, found.heads) == ((), tuple(ranked[:3]))
    for setting in drawn:
        assert sorted(head.split("[")[0] for head in setting.heads) == [
            "lm/head.1", "lm/head.1", "lm/head.2",
        ]  # fmt: skip
        assert not set(setting.heads) & set(found.heads)
    assert len({setting.heads for setting in drawn}) > 2


def test_each_head_gets_its_own_mean(model: LanguageModel, tmp_path: Path) -> None:
    examples = read_winobias(None).examples
    trial = parts().Trial(model, examples, ["The nurse ran home ."], tmp_path)
    fitted = trial._ablated(["lm/head.2[3]"])
    again = MeanAblation(sites=("lm/head.2[3]",)).fit(
        model, trial._prompts(), rng=np.random.default_rng(0)
    )
    torch.testing.assert_close(
        fitted.learned.tensors["lm/head.2[3]"], again.learned.tensors["lm/head.2[3]"]
    )
    before = perplexity(model, trial.paragraphs)
    with fitted.applied(model):
        assert perplexity(model, trial.paragraphs) != pytest.approx(before, rel=1e-6)
    assert perplexity(model, trial.paragraphs) == before


Script = Callable[..., str]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """Runs an experiment as from the command line, in this process, and gives back what it prints."""

    def run(name: str, *arguments: str | Path) -> str:
        monkeypatch.syspath_prepend(EXPERIMENTS)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        run_path(str(EXPERIMENTS / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.integration
def test_the_debiasing_loop_is_resumable(tmp_path: Path, script: Script) -> None:
    model, out = write_language("llama", tmp_path / "llama"), tmp_path / "out"
    command = ("language_debias.py", model, "--out", out)
    command += ("--fit", "6", "--k", "2", "--random", "2")
    first = script(*command)
    assert "perplexity" in first
    kept = sorted((out / "settings").glob("*.json"))
    assert [path.stem for path in kept] == ["found-2", "none-0", "random0-2", "random1-2"]
    stamps = [path.stat().st_mtime_ns for path in kept[:-1]]
    kept[-1].unlink()
    assert script(*command) == first
    assert [path.stat().st_mtime_ns for path in kept[:-1]] == stamps


@pytest.mark.integration
def test_models_are_set_side_by_side(tmp_path: Path, script: Script) -> None:
    models = [write_language(kind, tmp_path / kind) for kind in ("gpt2", "llama")]
    options = ("--studies", "lm_winobias", "--limit", "3", "--draws", "20", "--workers", "1")
    printed = script("language.py", *models, "--out", tmp_path / "runs", *options)
    assert printed.count("total effect on the odds") == 4
    text = (tmp_path / "runs" / "report" / "index.html").read_text()
    assert "Models side by side: winobias" in text
    assert "photo" not in text.split("How to read and how to word this")[1]
