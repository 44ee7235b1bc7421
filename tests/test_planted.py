"""The models that come with the package have the bias that was planted in them, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils._pytree import tree_map
from typer.testing import CliRunner

from vlbias import api, cli
from vlbias.causal.example import Example, GroundedText, Picture
from vlbias.causal.hooks import replaced_output
from vlbias.data.pictograms import OBJECTS as EVERY
from vlbias.data.prompts import PROMPTS, Prompt
from vlbias.data.scenes import LINKED, SceneSpec, draw_scene
from vlbias.errors import BadStudy, UnknownName
from vlbias.models import MODELS, load_model
from vlbias.studies.mitigation.work.passes import readouts
from vlbias.studies.planted import methods as benchmark_methods
from vlbias.studies.planted.methods import ENCODERS, first_order
from vlbias.studies.planted.work import (
    FAMILIES,
    TRUTH,
    Benchmark,
    _judged,
    benchmark_planted,
    summary,
)

PLANTED = [name for name in MODELS if name.startswith("planted-")]
OBJECTS = [name for names in LINKED.values() for name in names]
SIGN = np.array([1 if name in LINKED["feminine"] else -1 for name in OBJECTS])
FOLDERS = {name: Path(dict(MODELS.entry(name).options)["checkpoint"]) for name in PLANTED}


def texts(word: str) -> tuple[str, ...]:
    return tuple(f"a photo of a {word} with a {name}".replace("a u", "an u") for name in OBJECTS)


def scored(model: Any, images: list[Image.Image], word: str) -> np.ndarray:
    """Logits of `OBJECTS`, asked for as studies of the model's family ask."""
    prompt = Prompt("planted", PROMPTS[FAMILIES[model.name.split("-")[1]]], {}, word)
    text = prompt.texts([], "", list(EVERY))
    found = readouts(model, [{"image": Picture(image), "text": text} for image in images], 50)
    logits = torch.cat([readout["class_logits"] for _, readout in found])
    return logits[:, [list(EVERY).index(name) for name in OBJECTS]].numpy()


@pytest.mark.parametrize("name", PLANTED)
def test_a_cue_moves_the_model_where_it_was_planted_and_nowhere_else(name: str) -> None:
    model = load_model(name)
    spec = SceneSpec(seed=31, co_occurrence=0.0)
    scenes = [draw_scene(spec, number) for number in range(400)]
    neutral = [scene.render("neutral") for scene in scenes]
    image = sum(
        sign * scored(model, [scene.render(shown) for scene in scenes], "person")
        for shown, sign in (("feminine", 1), ("masculine", -1))
    )
    text = scored(model, neutral, "woman") - scored(model, neutral, "man")
    moved = {"image_encoder": image @ SIGN, "text_encoder": text @ SIGN}
    about = json.loads((FOLDERS[name] / "planted.json").read_text())
    for route, change in moved.items():
        size = float(change.mean()) / len(OBJECTS)
        if route in TRUTH[about["plant"]]:
            assert size > 0.4
        else:
            assert abs(size) < 0.1
        # what the folder says was measured on other scenes
        said = about["measured"][f"cue_{route.partition('_')[0]}"]
        assert size == pytest.approx(said, abs=0.25)


def test_all_of_them_are_small() -> None:
    files = [file for folder in FOLDERS.values() for file in folder.iterdir()]
    assert sum(file.stat().st_size for file in files) < 12e6
    assert {name.split("-")[1] for name in PLANTED} <= set(FAMILIES)


def test_first_order_is_the_slope_of_the_cosine() -> None:
    model = load_model("planted-dual-image")
    spec = SceneSpec(seed=5)
    examples = []
    for number in range(3):
        scene = draw_scene(spec, number)
        images = [Picture(scene.render(shown)) for shown in (scene.group, "neutral")]
        worlds = {
            world: {"image": image, "text": texts(word)}
            for world, image, word in zip(
                ("null", "both"), images, ("woman", "person"), strict=True
            )
        }
        examples.append(Example(str(number), str(number), worlds))
    slopes = first_order(model, examples, batch=2)
    for encoder, found in zip(("image_encoder", "text_encoder"), slopes, strict=True):
        for row, example in enumerate(examples):
            with torch.no_grad():
                sides = {
                    world: {
                        tower: model.encode(
                            tower, model.collate(tower, model.split(example.worlds[world])[tower])
                        ).double()
                        for tower in ("image_encoder", "text_encoder")
                    }
                    for world in ("null", "both")
                }
            base = {tower: value.requires_grad_() for tower, value in sides["null"].items()}
            unit = {t: torch.nn.functional.normalize(v, dim=-1) for t, v in base.items()}
            logits = unit["image_encoder"] @ unit["text_encoder"].T * model.net.logit_scale.exp()
            for k in range(len(OBJECTS)):
                slope = torch.autograd.grad(logits[0, k], base[encoder], retain_graph=True)[0]
                wanted = (slope * (sides["both"][encoder] - base[encoder])).sum()
                assert found[row, k] == pytest.approx(float(wanted.detach()), abs=2e-2)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_first_order_is_the_slope_inside_a_detector(
    load: Any, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # other boxes are proposed where loud weights are moved further
    monkeypatch.setattr(benchmark_methods, "_STEP", 1e-4)
    model = load("grounding-dino")
    rng = np.random.default_rng(0)
    names, examples = ("dog", "cup"), []
    for number in range(4):
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        other = pixels.copy()
        other[16:48, 16:48] = 128
        worlds = {
            world: {
                "image": Picture(Image.fromarray(image)),
                "text": GroundedText(f"a photo of a {word}. ", names),
            }
            for world, image, word in (("null", pixels, "woman"), ("both", other, "person"))
        }
        examples.append(Example(str(number), str(number), worlds))
    found = first_order(model, examples, batch=2)[ENCODERS.index(encoder)]
    stage = next(stage for stage in model.towers[0].stages if stage.name == encoder)
    module = model.net.get_submodule(stage.module)
    for row, example in enumerate(examples):
        pairs = [model.split(example.worlds[world])["model"][0] for world in ("null", "both")]
        given: list[Any] = []
        handle = module.register_forward_hook(lambda *call, to=given: to.append(call[2]))
        with torch.no_grad():
            for pair in pairs:
                model.encode("model", model.collate("model", [pair]))
        handle.remove()
        step = torch.zeros((), requires_grad=True)

        def moved(a: Any, b: Any, step: torch.Tensor = step) -> Any:
            return a + step * (b - a) if a.is_floating_point() else a

        with replaced_output(module, tree_map(moved, *given)), monkeypatch.context() as patch:
            # the detector learns no box through the layer behind it, and still moves with it
            patch.setattr(torch.Tensor, "detach", lambda tensor: tensor)
            logits = model.encode("model", model.collate("model", pairs[:1]))["logits"].amax(1)
        for k in range(len(names)):
            (slope,) = torch.autograd.grad(logits[0, k], step, retain_graph=True)
            assert found[row, k] == pytest.approx(slope.item(), rel=0.03, abs=0.15)
    assert np.abs(found).max() > 0.5


def test_a_summary_counts_what_is_right_and_shares_what_is_wrong() -> None:
    cells = [
        # plant, seed, change of image and of text, named image and text
        ("image", 0, -0.9, -0.1, True, False),
        ("image", 1, -0.8, 0.2, True, True),
        ("unbiased", 0, 0.0, 0.0, False, False),
        ("unbiased", 1, -0.1, 0.0, True, False),
    ]
    table = pd.DataFrame(
        [
            {
                "method": "m",
                "plant": p,
                "seed": s,
                "encoder": e,
                "printed": 1.0,
                "change": c,
                "named": n,
            }
            for p, s, *rest in cells
            for e, c, n in zip(("image_encoder", "text_encoder"), rest[:2], rest[2:], strict=True)
        ]
    )
    found = summary(_judged(table)).set_index("plant")
    assert found.loc["image", ["right", "seeds"]].tolist() == [1, 2]
    assert found.loc["image", "wrong_share"] == pytest.approx(0.15)
    assert found.loc["image", "lo"] == 0.0
    # two shares, .1 and .2, so Student's limits with one degree of freedom
    assert found.loc["image", "hi"] == pytest.approx(0.15 + 12.706 * 0.05, abs=1e-3)
    assert found.loc["unbiased", ["right", "seeds"]].tolist() == [1, 2]
    assert np.isnan(found.loc["unbiased", "wrong_share"])


@pytest.mark.integration
def test_the_benchmark_goes_on_where_it_was(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    from vlbias.runs.runner import Events

    def stop(done: int, total: int, _: int) -> None:
        steps.append((done, total))
        if done == 2 and len(steps) == 3:
            raise KeyboardInterrupt

    small = {"seeds": 2, "photos": 200, "draws": 100}
    with pytest.raises(KeyboardInterrupt):
        benchmark_planted(tmp_path, **small, events=Events(cells=stop))
    scored_files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("scored/*.json")}
    assert len(scored_files) == 2
    found = benchmark_planted(tmp_path, **small)
    assert all(path.stat().st_mtime_ns == time for path, time in scored_files.items())
    assert set(found.table["method"]) == {"effects", "percent change", "gradient"}
    assert len(found.table) == 14 * 3 * 2
    pd.testing.assert_frame_equal(
        pd.read_csv(found.path), found.table, check_dtype=False, rtol=1e-12
    )
    image = found.table[(found.table["plant"] == "image") & (found.table["method"] == "effects")]
    share = image.groupby("encoder")["change"].mean()
    assert share["image_encoder"] < -0.5
    assert abs(share["text_encoder"]) < 0.2 * abs(share["image_encoder"])


def test_what_cannot_be_scored_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="dual"):
        benchmark_planted(tmp_path, family="duel")
    with pytest.raises(BadStudy, match="seeds"):
        benchmark_planted(tmp_path, seeds=1)
    with pytest.raises(BadStudy, match="photos"):
        benchmark_planted(tmp_path, photos=20)
    monkeypatch.setitem(FAMILIES, "promised", "template")
    with pytest.raises(BadStudy, match="there is no planted-promised-image, planted-promised-text"):
        benchmark_planted(tmp_path, family="promised")


def test_the_command_prints_what_was_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = {"method": "effects", "plant": "image", "right": 4, "seeds": 5, "printed": 1.25}
    rows = pd.DataFrame([{**row, "wrong_share": 0.012, "lo": 0.0, "hi": 0.031}])
    asked = {}

    def score(out: Path, **options: object) -> Benchmark:
        asked.update(options)
        return Benchmark(rows, rows, out / "benchmark.csv")

    monkeypatch.setattr(api, "benchmark_planted", score)
    command = ["benchmark", "planted", "--seeds", "3", "--out", str(tmp_path)]
    printed = CliRunner().invoke(cli.app, command).stdout
    assert (asked["family"], asked["seeds"], asked["photos"]) == ("dual", 3, 1000)
    for said in ("effects", "1.250", "0.012", "0.031", "benchmark.csv"):
        assert said in printed
    assert isinstance(CliRunner().invoke(cli.app, ["benchmark", "plnted"]).exception, UnknownName)
