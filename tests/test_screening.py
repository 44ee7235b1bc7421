from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from explained import Heads, unexplained
from tiny_language import CAUSAL, MASKED, cloze, language_sides, write_language
from torch import Tensor

from vlbias.analysis.preselection import preselect, screening_quality
from vlbias.causal.attribution import attributions
from vlbias.causal.conformance_tools import state_of
from vlbias.causal.contrast import Contrast
from vlbias.causal.example import Example
from vlbias.causal.hooks import register_write_hook
from vlbias.causal.staged_model import Readout, find_port, resolve
from vlbias.errors import BadStudy
from vlbias.models import load_model
from vlbias.models.language.adapter import LanguageModel
from vlbias.store.run_folder import Run
from vlbias.studies.lifecycle import make_plan, read_study, run_plan, study_of
from vlbias.studies.reporting import report

ROOT = Path(__file__).resolve().parents[1]
CONTRAST = Contrast("a", "b")


def log_odds(readout: Readout) -> Tensor:
    score = readout["candidate_score"][0]
    return score[0] - score[1]


def pairs(kind: str) -> list[Example]:
    base, cf = language_sides(" ." if kind in MASKED else "")
    both = zip(base, cf, strict=True)
    return [Example(str(i), str(i), {"a": a, "b": b}) for i, (a, b) in enumerate(both)]


def loaded(kind: str, folder: Path) -> LanguageModel:
    model = load_model(str(write_language(kind, folder / kind)))
    assert isinstance(model, LanguageModel)
    model.net.double()
    return model


def slope(model: LanguageModel, example: Example, text: str, step: float = 2.5e-3) -> float:
    """The change of the log-odds along the way to the other world's value, by a central difference."""
    (mediator,) = resolve(model, [text])
    (site,) = mediator.sites
    port = find_port(model, site)
    assert port is not None
    base, other = (model.split(example.worlds[w])["lm"] for w in ("a", "b"))
    batch = model.collate("lm", [*base, *other])
    spans, point = batch["span.word"], (port.path(site.layer), port.slot)
    seen: list[Tensor] = []

    def moved(by: float) -> float:
        def write(tensor: Tensor) -> Tensor:
            seen.append(tensor.clone())
            rows = len(tensor) // 2
            change = torch.zeros_like(tensor)
            change[:rows] = by * (tensor[rows:] - tensor[:rows])
            parts = change.unflatten(-1, (port.units_at(site.layer), -1)).clone()
            if site.units is not None:
                others = [u for u in range(parts.shape[-2]) if u not in site.units]
                parts[..., others, :] = 0
            if site.positions == ("word",):
                parts[:rows] = parts[:rows] * spans[:rows, :, None, None]
            return tensor + parts.flatten(-2)

        remove = register_write_hook(model.net, point, write)
        with torch.no_grad():
            encoded = model.encode("lm", batch)
        remove()
        index = {"lm": torch.arange(len(base))[None]}
        return float(log_odds(model.join({"lm": encoded}, index)))

    return (moved(step) - moved(-step)) / (2 * step)


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma2", "bert", "roberta"])
def test_attributions_are_slopes(kind: str, tmp_path: Path) -> None:
    model = loaded(kind, tmp_path)
    sites = ["lm/embed@word", "lm/mlp.1", "lm/mlp.0[3]@word", "lm/head.1[2]", "lm/weights.2[1]"]
    before = state_of(model.net)
    examples = pairs(kind)
    found = attributions(model, examples, CONTRAST, resolve(model, sites), of=log_odds)
    assert state_of(model.net) == before
    for example, row in zip(examples, found, strict=True):
        expected = [slope(model, example, site) for site in sites]
        np.testing.assert_allclose(row.numpy(), expected, rtol=1e-2, atol=5e-4)
    assert (found.abs() > 1e-3).any(0).all()


@pytest.mark.integration
@pytest.mark.parametrize("kind", CAUSAL)
def test_mediators_of_several_sites_add_up_to_first_order(kind: str, tmp_path: Path) -> None:
    model, sites = loaded(kind, tmp_path), ["lm/head.0[*]", "lm/head.0", "all lm/head.0[*]"]
    *single, whole, joint = attributions(
        model, pairs(kind), CONTRAST, resolve(model, sites), of=log_odds
    ).T
    torch.testing.assert_close(sum(single), whole)  # type: ignore[arg-type]
    torch.testing.assert_close(joint, whole)


def test_misaligned_texts_and_whole_stages_have_no_attribution(tmp_path: Path) -> None:
    model = loaded("gpt2", tmp_path)
    texts = [("nurse", "man"), ("librarian", "man")]
    examples = [
        Example(str(i), str(i), {"a": {"text": cloze(a)}, "b": {"text": cloze(b)}})
        for i, (a, b) in enumerate(texts)
    ]
    found = attributions(model, examples, CONTRAST, resolve(model, ["lm/mlp.1@word"]), of=log_odds)
    assert found.isnan().squeeze(1).tolist() == [False, True]
    with pytest.raises(BadStudy, match="port"):
        attributions(model, examples, CONTRAST, resolve(model, ["lm"]), of=log_odds)


def test_the_largest_are_chosen_and_controls_are_drawn_from_the_rest() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(2, 200))
    part = preselect(means, 0.1, seed=0)
    size = np.abs(means).max(0)
    assert (part == "chosen").sum() == 20
    assert size[part == "chosen"].min() >= size[part != "chosen"].max()
    assert (part == "control").sum() == 20
    assert np.array_equal(part, preselect(means, 0.1, seed=0))
    assert not np.array_equal(part, preselect(means, 0.1, seed=1))
    assert (preselect(means[:, :10], 0.5, seed=0) != "skipped").all()
    with pytest.raises(BadStudy, match="screen"):
        preselect(means, 1.0, seed=0)


def test_quality_is_measured_on_controls_too() -> None:
    names = [str(i) for i in range(60)]
    part = np.repeat(["chosen", "control", "skipped"], 20)
    rng = np.random.default_rng(0)
    approximate = rng.normal(size=60)
    exact = pd.Series(dict(zip(names[:40], approximate[:40], strict=True)))
    exact[names[20:40]] = rng.normal(size=20)  # the approximation says nothing of these
    exact["25"] = 9.0
    table = pd.DataFrame(
        {"contrast": "x", "mediator": names, "approximate": approximate, "part": part}
    )
    row = screening_quality(table, exact).iloc[0]
    assert (row["chosen"], row["control"], row["skipped"]) == (20, 20, 20)
    assert row["pearson_controls"] == pytest.approx(
        np.corrcoef(approximate[20:40], exact[names[20:40]])[0, 1]
    )
    assert row["pearson"] > row["pearson_controls"]
    assert (row["largest_missed"], row["largest_control"]) == ("25", 9.0)


@pytest.mark.integration
def test_a_screened_run_is_exact_in_what_it_runs(tmp_path: Path) -> None:
    model = write_language("gpt2", tmp_path / "gpt2")
    study = read_study(ROOT / "experiments" / "lm_winobias.toml", model=str(model), screen=0.25)
    study = study.model_copy(update={"mediators": ("lm/mlp.*[*]", "lm/mlp.*", "all lm/mlp.*")})
    whole = study.model_copy(update={"screen": None, "name": "whole"})
    run, every = (Run(run_plan(make_plan(one), tmp_path).folder) for one in (study, whole))
    about = run.manifest["screen"]
    assert (about["chosen"], about["control"], about["skipped"]) == (12, 20, 16)
    assert run.folder.name == "lm-winobias-screen0.25"
    contrast = "null->swap-gender"
    there = run.mediators(contrast, "log-odds")
    assert len(there) == 12 + 20 + 3 + 1
    for mediator in there:
        for arm in ("01", "10"):
            one, other = (r.slab(contrast, mediator, arm, "log-odds") for r in (run, every))
            np.testing.assert_allclose(one, other, atol=1e-5)
    again = run_plan(make_plan(study_of(run.folder)), tmp_path)
    assert (again.done, again.failed) == (0, ())
    page = report(run.folder, draws=20)
    assert Heads(page.html).codes() == set()
    assert unexplained(page.tables) == set()
    text = page.html.read_text()
    assert "Approximate" in text
    quality = pd.read_csv(page.tables / run.folder.name / "screening.csv").iloc[0]
    assert quality["skipped"] == 16
    assert -1 <= quality["pearson_controls"] <= 1


@pytest.mark.integration
def test_screening_needs_units(tmp_path: Path) -> None:
    model = write_language("gpt2", tmp_path / "gpt2")
    study = read_study(ROOT / "experiments" / "lm_winobias.toml", model=str(model), screen=0.5)
    study = study.model_copy(update={"mediators": ("lm/mlp.*",)})
    with pytest.raises(BadStudy, match="units"):
        run_plan(make_plan(study), tmp_path)
