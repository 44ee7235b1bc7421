"""Studies of mitigations on photos: a tiny dual encoder, every place where methods act, the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_photos
import torch

from vlbias.cli import main
from vlbias.errors import BadData
from vlbias.mitigations.base import Fitted
from vlbias.models import load_model
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle
from vlbias.studies.mitigation.numbers.performance import ConditionPerformance
from vlbias.studies.mitigation.numbers.scores import ConditionScores
from vlbias.studies.mitigation.results import Conditions
from vlbias.studies.mitigation.work.cached_towers import CachedTowers
from vlbias.studies.mitigation.work.passes import nulls, readouts
from vlbias.studies.mitigation.work.site_selection import SiteSearch, choose_sites

pytestmark = pytest.mark.integration

STUDY = """
name = "photos"
model = "{model}"
min_group = 4
[dataset]
path = "{photos}"
[operating_point]
rule = "fpr"
value = 0.4
min_negatives = 1
min_events = 0
[mitigation]
strengths = [1.0]
timed = 2
batch = 5
[[mitigation.methods]]
name = "pixel-blur"
[[mitigation.methods]]
name = "feature-blur"
options.sites = ["image_encoder/resid.1"]
[[mitigation.methods]]
name = "text-neutral"
[[mitigation.methods]]
name = "mean-ablation"
pick = {{ candidates = ["image_encoder/head.*[*]"], most = 2, width = 2, photos = 8 }}
[[mitigation.methods]]
name = "leace"
vary.sites = [["image_encoder"], ["text_encoder"]]
[[mitigation.methods]]
name = "prompt-projection"
placebos = 2
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, model_folder: Callable[[str], Path]) -> Path:
    root = tmp_path_factory.mktemp("study")
    photos = tiny_photos.write_photos(root / "photos", 48, splits=3)
    boxes = json.loads((photos / "instances.json").read_text())
    largest = max(image["id"] for image in boxes["images"])
    for box in boxes["annotations"]:  # the last photo of every split has no room for a placebo
        if box["image_id"] > largest - 3 and box["category_id"] == 1:
            box["bbox"] = [1, 1, 62, 46]
    (photos / "instances.json").write_text(json.dumps(boxes))
    path = root / "study.toml"
    path.write_text(STUDY.format(model=model_folder("dinov2-bert"), photos=photos))
    return path


@pytest.fixture(scope="module")
def run(study: Path) -> Run:
    """The run, done; no test may change it."""
    result = lifecycle.run(study, study.parent / "runs")
    assert result.failed == (), [
        json.loads(path.read_text())["error"] for path in result.folder.glob("cells/*.error.json")
    ]
    return Run(result.folder)


def scores(run: Run, condition: str, outcome: str = "presence") -> np.ndarray:
    targets = {
        "presence": run.targets,
        "query": tuple(run.manifest["queries"]),
        "rank": ("photo to caption", "caption to photo"),
    }[outcome]
    found = Conditions(run).scores(condition, outcome, targets)
    return found[(run.samples["split"] != "fit").to_numpy()]


def test_every_method_moves_scores_and_placebos_do_something_else(run: Run) -> None:
    frame = Conditions(run).frame
    assert len(frame) == 1 + 7 * 2 + 1, "seven settings, a placebo each, two of prompt-projection"
    none = scores(run, "none")
    assert not np.isnan(none).any()
    for name in frame["name"][1:]:
        other = scores(run, name)
        seen = ~np.isnan(other)
        assert (other[seen] != none[seen]).any(), name
    assert scores(run, "placebo 1 of prompt-projection @ 1").tolist() != (
        scores(run, "placebo 2 of prompt-projection @ 1").tolist()
    )


def test_a_condition_is_what_the_mitigated_model_says(run: Run, study: Path) -> None:
    """Also where rows were encoded once for all, as they are for what acts on outputs alone."""
    plan = lifecycle.make_plan(lifecycle.read_study(study))
    model = load_model(plan.study.model)
    stored = Conditions(run)
    place = {sample: i for i, sample in enumerate(run.samples["sample_id"])}
    for about in stored.frame.to_dict("records")[1:]:
        fitted = Fitted.load(run.folder / "fits" / about["fit"])
        unusable = fitted.mitigation.unusable(plan.split["test"])
        examples = [e for e in plan.split["test"] if e.id not in unusable]
        with fitted.applied(model, about["strength"]) as mitigated:
            direct = [r["class_logits"] for _, r in readouts(mitigated, nulls(examples), 3)]
        kept = stored.scores(about["name"], "presence", run.targets)
        np.testing.assert_allclose(
            kept[[place[e.id] for e in examples]],
            torch.cat(direct),
            atol=2e-4,
            err_msg=about["name"],
        )


def test_queries_that_ask_for_gender_are_left_alone_by_neutral_texts(run: Run) -> None:
    assert run.manifest["queries"] == {
        "masculine": "a photo of a man", "feminine": "a photo of a woman",
    }  # fmt: skip
    before, after = (scores(run, name, "query") for name in ("none", "text-neutral @ 1"))
    np.testing.assert_array_equal(before, after)
    performance = ConditionPerformance(ConditionScores(run, draws=3))
    numbers = dict(performance.metrics("none", "report", np.ones(16, bool)))
    assert {"mAP", "R@5", "R@1 photo to caption", "AUC of queries for the group"} <= set(numbers)
    assert np.isfinite(numbers["AUC of queries for the group"]).all()


def test_ranks_are_those_of_the_scores_between_photos_and_captions(run: Run, study: Path) -> None:
    plan = lifecycle.make_plan(lifecycle.read_study(study))
    model = load_model(plan.study.model)
    captions = plan.asked["test"].captions
    assert captions[0].startswith("A ")
    inputs = [{**one, "text": captions} for one in nulls(plan.split["test"])]
    table = torch.cat([r["class_logits"] for _, r in readouts(model, inputs, 4)]).numpy()
    own = np.diagonal(table)
    stored = Conditions(run).scores("none", "rank", ("photo to caption", "caption to photo"))
    rows = (run.samples["split"] == "test").to_numpy()
    for found, other in zip(stored[rows].T, (table, table.T), strict=True):
        least = 1 + (other > own[:, None] + 1e-6).sum(axis=1)
        most = (other >= own[:, None] - 1e-6).sum(axis=1)
        assert ((least <= found) & (found <= most)).all()


def test_chosen_sites_are_kept_with_how_they_were_chosen(run: Run) -> None:
    (path,) = run.folder.glob("fits/pick-*.json")
    chosen = json.loads(path.read_text())
    frame = Conditions(run).frame
    keys = frame[frame["setting"] == "mean-ablation"].set_index("role")["fit"]
    own = Fitted.load(run.folder / "fits" / keys["mitigated"])
    assert list(own.mitigation.spec["sites"]) == chosen["sites"]
    control = Fitted.load(run.folder / "fits" / keys["placebo"])
    assert not set(control.learned.tensors) & set(chosen["sites"])
    assert len(chosen["singles"]) == 6
    assert chosen["reductions"][0] == max(chosen["singles"].values())


def test_a_killed_choice_of_sites_goes_on_where_it_was(
    run: Run, study: Path, tmp_path: Path
) -> None:
    read = lifecycle.read_study(study)
    plan = lifecycle.make_plan(read)
    (setting,) = (one for one in plan.settings if one.selection)
    search = SiteSearch(
        load_model(read.model), plan.split["fit"], plan.dataset.classes, setting.selection, 5
    )
    (whole,) = run.folder.glob("fits/pick-*.json")
    path, heard = tmp_path / whole.name, []

    def choose(killed_at: int) -> tuple[str, ...]:
        def note(text: str) -> None:
            heard.append(text)
            if len(heard) == killed_at:
                raise KeyboardInterrupt

        key = int(whole.stem.removeprefix("pick-"), 16)
        rng = np.random.default_rng([read.seed, key % 2**32])
        return choose_sites(search, setting.make(), path, rng, note)

    with pytest.raises(KeyboardInterrupt):
        choose(killed_at=4)
    sites = choose(killed_at=0)
    assert json.loads(path.read_text()) == json.loads(whole.read_text())
    assert list(sites) == json.loads(whole.read_text())["sites"]
    assert len(heard) == len(set(heard)), "no set is tried twice"
    assert list(tmp_path.iterdir()) == [path]


def test_maps_are_of_what_changes_tokens(run: Run) -> None:
    maps = Conditions(run).maps()
    settings = {name.removeprefix("placebo 1 of ").partition(" @")[0] for name in maps}
    assert settings == {"pixel-blur", "feature-blur", "mean-ablation"}
    for arrays in maps.values():
        assert arrays["change"].shape == (5,), "a square of four patches behind one token"
        assert arrays["change"].max() > 0
        assert (arrays["change"] <= arrays["before"] + arrays["after"] + 1e-6).all()


def test_photos_that_a_condition_cannot_read_are_counted_with_their_reason(run: Run) -> None:
    stored = Conditions(run)
    left_out = stored.unusable("test")
    counted = left_out.groupby("condition")["photos"].sum().to_dict()
    split = run.samples["split"][run.samples["split"] != "fit"].to_numpy()
    unread = {
        name: int(np.isnan(scores(run, name)[split == "test"]).all(axis=1).sum())
        for name in stored.frame["name"]
    }
    assert counted == {name: photos for name, photos in unread.items() if photos}
    assert "placebo 1 of pixel-blur @ 1" in counted
    assert (left_out["why"] != "ok").all()


def test_rows_are_cached_to_the_last_bit(study: Path) -> None:
    plan = lifecycle.make_plan(lifecycle.read_study(study))
    model = load_model(plan.study.model)
    cached = CachedTowers(model, 5)
    inputs = nulls(plan.split["test"])
    cached.add(inputs)
    plain = [r["class_logits"] for _, r in readouts(model, inputs, 5)]
    again = [r["class_logits"] for _, r in readouts(cached, inputs, 5)]
    assert torch.equal(torch.cat(plain), torch.cat(again))


def test_the_command_line_runs_reports_and_resumes(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["vlbias", *words])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        assert caught.value.code == 0, said.err
        return said.out

    short = tmp_path / "short.toml"
    head, *methods = study.read_text().split("[[mitigation.methods]]")
    short.write_text("[[mitigation.methods]]".join([head, methods[4]]))
    said = call("mitigate", str(short), "--dry-run")
    assert "photos: fit 16, dev 16, test 16; settings 2, fits 4, conditions 5" in said
    assert "estimated time" in said
    out = tmp_path / "runs"
    assert "10 cells computed" in call("mitigate", str(short), "-o", str(out), "--workers", "1")
    assert "10 were there" in call("resume", str(out / "photos"))
    said = call("report", str(out / "photos"), "--draws", "50")
    assert "Settings: 2." in said
    tables = out / "photos" / "report" / "tables" / "photos"
    assert set(pd.read_csv(tables / "retention.csv")["metric"]) >= {"mAP", "R@5"}
    assert "mean-ablation" in call("list", "mitigations")


def test_the_same_photo_in_two_splits_is_refused(study: Path, tmp_path: Path) -> None:
    photos = tiny_photos.write_photos(tmp_path / "photos", 48, splits=3)
    one, other = sorted((photos / "images").iterdir())[:2]
    other.write_bytes(one.read_bytes())
    text = study.read_text().replace(str(study.parent / "photos"), str(photos))
    (tmp_path / "study.toml").write_text(text)
    loaded = lifecycle.read_study(tmp_path / "study.toml")
    with pytest.raises(BadData, match=r"/10 \(test\) = .*/11 \(dev\)"):
        lifecycle.make_plan(loaded)
