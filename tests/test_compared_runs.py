"""Models compared on the same photos: paired, corrected, and refused where they share none."""

from __future__ import annotations

import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vlbias as vb
from vlbias.analysis.model_differences import ScoredModel, model_differences
from vlbias.analysis.panel import Panel
from vlbias.errors import BadOption, BadTable
from vlbias.files import read_sealed, write_sealed
from vlbias.studies.photos.compared_runs import Comparison


def _panel(count: int, objects: int) -> Panel:
    names = np.array([f"{i:05d}" for i in range(count)])
    group = np.where(np.arange(count) % 2, "b", "a")
    targets = tuple(map(str, range(objects)))
    absent = np.zeros((count, objects), bool)
    return Panel(names, names, group, np.full(count, "test"), targets, absent, ("a", "b"))


def _scores(panel: Panel, shift: float, own: int) -> np.ndarray:
    """Scores with noise that all models share, some of their own, and more for one group."""
    shape = panel.present.shape
    shared = np.random.default_rng(0).normal(size=shape)
    noise = np.random.default_rng(own).normal(size=shape)
    return 0.9 * shared + 0.4 * noise + shift * (panel.group == "a")[:, None]


def test_the_answer_names_the_model_with_more_first() -> None:
    ranking = pd.DataFrame({"run": ["a", "b", "c"], "photos": 160, "n_objects": 5})
    pairs = pd.DataFrame(
        {"first": ["a", "a", "b"], "second": ["b", "c", "c"], "difference": [-0.1, -0.5, -0.4],
         "lo": [-0.3, -0.7, -0.6], "hi": [0.1, -0.3, -0.2], "n_objects": 5,
         "said": ["not shown", "less", "less"]}
    )  # fmt: skip
    answer = Comparison(ranking, pairs).answer
    assert answer.verdict == "shown"
    assert answer.said.endswith("larger in c than in a.")
    assert answer.number.startswith("10.0 percentage points more per object")
    assert "limits 6.0 to 14.0" in answer.number
    assert answer.number.endswith("1 more of 3 pairs differ")
    none = Comparison(ranking, pairs.assign(said="not shown")).answer
    assert (none.verdict, none.number) == ("not shown", "")


def test_more_bias_is_shown_and_less_of_it_is_not_said_twice() -> None:
    panel = _panel(800, 8)
    limits = np.full(8, 1.28)
    models = {
        name: ScoredModel(_scores(panel, shift, own), limits)
        for own, (name, shift) in enumerate({"none": 0.0, "again": 0.0, "biased": 0.6}.items(), 1)
    }
    table = model_differences(
        panel, models, objects=np.arange(8), rng=np.random.default_rng(0), draws=300
    ).set_index(["first", "second"])
    assert table.loc[("none", "biased"), "said"] == "less"
    assert table.loc[("again", "biased"), "said"] == "less"
    assert table.loc[("none", "again"), "said"] == "not shown"
    # an independent count of the plug-in difference lies within the limits of that of B
    rates = {
        name: np.abs(
            np.diff([(one.scores >= limits)[panel.group == g].mean(axis=0) for g in "ab"], axis=0)
        ).sum()
        for name, one in models.items()
    }
    row = table.loc[("none", "biased")]
    assert row["B_lo"] <= rates["none"] - rates["biased"] <= row["B_hi"]
    assert row["lo"] <= row["difference"] <= row["hi"] < 0
    assert (table["p_holm"] >= table["p"]).all()


def test_pairing_narrows_the_limits() -> None:
    panel = _panel(800, 8)
    limits = np.full(8, 1.28)
    first = _scores(panel, 0.4, 1)
    other = np.random.default_rng(9).permutation(400)
    apart = np.empty_like(first)
    for start in (0, 1):  # photos of a group in another order: as biased, and no longer paired
        apart[start::2] = _scores(panel, 0.4, 2)[start::2][other]
    width = {}
    for name, second in (("paired", _scores(panel, 0.4, 2)), ("apart", apart)):
        models = {"a": ScoredModel(first, limits), "b": ScoredModel(second, limits)}
        row = model_differences(
            panel, models, objects=np.arange(8), rng=np.random.default_rng(0), draws=300
        ).iloc[0]
        width[name] = row["hi"] - row["lo"]
    assert width["paired"] < 0.8 * width["apart"]


@pytest.fixture
def runs(toy_folder: Path, tmp_path: Path) -> list[Path]:
    """The toy run twice, under two names."""
    second = tmp_path / "again"
    shutil.copytree(toy_folder, second, ignore=shutil.ignore_patterns("report"))
    manifest = read_sealed(second / "manifest.json", of="manifest")
    manifest["study"]["name"] = "again"
    write_sealed(second / "manifest.json", manifest, of="manifest")
    return [toy_folder, second]


@pytest.mark.integration
def test_a_run_does_not_differ_from_itself(runs: list[Path]) -> None:
    found = vb.compare(*runs, draws=60)
    (row,) = found.differences.to_dict("records")
    assert (row["difference"], row["said"], row["photos"]) == (0, "not shown", 400)
    assert list(found.ranking["rank"]) == [1, 2]
    assert "0 of 1 differences of B between 2 models are shown" in repr(found)
    assert found._repr_html_().count("<table") == 2


@pytest.mark.integration
def test_runs_that_cannot_be_paired_are_refused(runs: list[Path]) -> None:
    first, second = runs
    with pytest.raises(BadOption, match="two run folders"):
        vb.compare(first)
    manifest = read_sealed(second / "manifest.json", of="manifest")
    manifest["study"]["operating_point"]["value"] = 0.2
    write_sealed(second / "manifest.json", manifest, of="manifest")
    with pytest.raises(BadTable, match="operating points differ in value"):
        vb.compare(first, second)
    manifest["data"]["content_hash"] = "0" * 64
    write_sealed(second / "manifest.json", manifest, of="manifest")
    with pytest.raises(BadTable, match="photos or labels differ"):
        vb.compare(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["the same bias", "less in the second"])
def test_size_and_coverage(name: str) -> None:
    """The whole table: `python experiments/model_differences.py`."""
    folder = Path(__file__).resolve().parents[1] / "experiments"
    spec = spec_from_file_location("simulated_differences", folder / "model_differences.py")
    assert spec is not None
    assert spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    sizes = script.SCENARIOS[name]
    rows = [script.replicate(sizes, 400, seed, 200) for seed in range(300)]
    found = {key: np.array([row[key] for row in rows]) for key in ("difference", "lo", "hi", "p")}
    truth = 0.0 if sizes[0] == sizes[1] else found["difference"].mean()
    covered = ((found["lo"] <= truth) & (truth <= found["hi"])).mean()
    assert covered >= 0.93 - 2 * 0.0147, "Monte-Carlo error of 93 % of 300"
    if sizes[0] == sizes[1]:
        assert (found["p"] <= 0.05).mean() <= 0.07 + 2 * 0.0147
