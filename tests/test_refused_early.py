"""What cannot be is refused in words, before any work: devices, texts, mediators, options, odd files."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call
from fitted_mitigations import examples, rng
from matplotlib.figure import Figure

from vlbias.api import effects
from vlbias.causal.site import Site
from vlbias.causal.staged_model import resolve
from vlbias.errors import BadData, BadModel, BadOption, BadStudy, BadTable, UnknownName
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.base import Fitted
from vlbias.models import load_model, outline_model
from vlbias.progress import watched
from vlbias.report.drawing import finish_rows, svg
from vlbias.runs.study import read_toml
from vlbias.store.run_folder import Run
from vlbias.studies import kind_named
from vlbias.studies.bias.study import Study
from vlbias.studies.lifecycle import make_plan
from vlbias.studies.reporting import report

STUDY: dict[str, Any] = {"name": "x", "model": "toy", "dataset": {"name": "coco"}}


@pytest.mark.parametrize("device", ["tpu9", "cuda:99", "meta", "", "xla"])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(BadStudy, match="'cpu'"):
        load_model("toy", device=device)
    with pytest.raises(BadStudy, match="device"):
        make_plan(Study.parse({**STUDY, "device": device}))


@pytest.mark.parametrize("name", ["clip", "siglip", "dinov2-bert", "owlv2"])
def test_the_text_that_is_too_long_is_named(load: Callable[[str], Any], name: str) -> None:
    short, long = " ".join(["bicycle"] * 5), " ".join(["a"] * 40)
    assert len(short) < len(long)
    for texts in ([short, long], [".", long, short]):
        with pytest.raises(BadModel, match="'a a a"):
            load(name).collate("text_encoder", texts)


def test_more_letters_are_not_more_tokens(load: Callable[[str], Any]) -> None:
    with pytest.raises(BadModel, match=r"'\. \. \."):
        load("clip").collate("text_encoder", ["bicycle " * 12, ". " * 30])


@pytest.mark.parametrize(
    "text", ["image_encoder/neuron.{}", "image_encoder/neuron[{}]", "image_encoder/neuron@-{}"]
)
def test_mediators_of_many_digits_or_nested(text: str) -> None:
    with pytest.raises(BadStudy, match="mediators") as caught:
        Site.parse(text.format("9" * 5000))
    assert len(str(caught.value)) < 600
    with pytest.raises(BadStudy, match="mediators"):
        resolve(outline_model("toy"), ["all " * 5000 + "image_encoder"])
    assert len(resolve(outline_model("toy"), ["all image_encoder/neuron[*]"])) == 1


@pytest.mark.parametrize(
    "change",
    [{"contrasts": []}, {"outcomes": []}, {"dataset": {"groups": ["all"]}}, {"seed": -1},
     {"seed": 2**64}],
)  # fmt: skip
def test_studies_of_nothing(change: dict[str, Any]) -> None:
    with pytest.raises(BadStudy):
        Study.parse({**STUDY, **change})


def test_toml_that_no_parser_takes(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    for text in ("seed = " + "9" * 5000, "x = " + "[" * 5000):
        path.write_text(text)
        with pytest.raises(BadStudy, match="TOML"):
            read_toml(path)
    with pytest.raises(UnknownName):
        kind_named(["bias"])  # type: ignore[arg-type]


def test_options_of_reports_and_effects(tmp_path: Path) -> None:
    import pandas as pd

    for options in ({"draws": 0}, {"seed": -1}):
        with pytest.raises(BadOption):
            report(tmp_path / "none", **options)  # type: ignore[arg-type]
    assert isinstance(call("report", tmp_path, "--draws", "0").exception, BadOption)
    with pytest.raises(BadOption):
        effects(pd.DataFrame(), n_boot=0)
    found = call("power", "--n", "900", "--fpr", "2").exception
    assert isinstance(found, BadOption)
    assert str(found).startswith("option 'fpr': got 2.0, expected above 0")


@pytest.mark.parametrize(
    "content",
    [b"[1]", b'"\xff"', b"{", b'{"model_type": ["clip"]}', b"[" * 5000],
)
def test_settings_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(BadModel):
        outline_model(str(tmp_path))


@pytest.mark.parametrize("value", [-1, 0, "two", None, [1]])
@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size"])
def test_settings_that_no_model_has(
    tmp_path: Path, model_folder: Callable[[str], Path], key: str, value: object
) -> None:
    folder = shutil.copytree(model_folder("clip"), tmp_path / "clip")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"][key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadModel):
        load_model(str(folder))
    with pytest.raises(BadModel):
        outline_model(str(folder))


class Evil:
    def __reduce__(self) -> Any:
        return print, ("run",)


def test_pickled_weights(tmp_path: Path, model_folder: Callable[[str], Path]) -> None:
    folder = shutil.copytree(model_folder("clip"), tmp_path / "clip")
    (folder / "model.safetensors").unlink()
    for save in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))):
        save({"weight": Evil()}, folder / "pytorch_model.bin")
        with pytest.raises(BadModel, match="safetensors"):
            load_model(str(folder))


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "3", '{"schema": 1, "cells": 3}', '{"schema": 1, "study": []}',
     '{"schema": 1, "cells": [["a"]]}', '{"schema": 1, "study": {}, "sessions": [1]}'],
)  # fmt: skip
def test_odd_manifests(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(BadTable):
        Run(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b'{"schema": 1, "name": "\xff"}')
    with pytest.raises(BadTable):
        Run(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema": 1, "study": {}}')
    with pytest.raises(BadTable, match="'cells'"):
        Run(tmp_path).missing  # noqa: B018
    with pytest.raises(BadTable):
        report(tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", '{"tensors": 3}', '{"tensors": [], "spec": []}'])
def test_odd_saved_mitigations(tmp_path: Path, content: str) -> None:
    (tmp_path / "mitigation.json").write_text(content)
    with pytest.raises(BadModel, match="mitigation"):
        Fitted.load(tmp_path)
    with pytest.raises(BadStudy, match="sfid"):
        make_mitigation("sfid", features="many")


@pytest.mark.parametrize("name", ["leace", "inlp", "sfid"])
def test_values_that_are_no_numbers_teach_nothing(
    load: Callable[[str], Any], model_folder: Callable[[str], Path], name: str
) -> None:
    model = load_model(str(model_folder("clip")))
    with torch.no_grad():
        model.net.visual_projection.weight.fill_(torch.nan)  # type: ignore[union-attr,operator]
    with pytest.raises(BadData, match="not finite"):
        make_mitigation(name).fit(model, examples(8), rng=rng())


def test_sfid_leaves_features(load: Callable[[str], Any]) -> None:
    with pytest.raises(BadStudy, match="fewer than the 12"):
        make_mitigation("sfid").fit(load("clip"), examples(20), rng=rng())


def test_names_in_figures_are_no_formulas() -> None:
    name = r"$\foo$ and $x$"
    figure = Figure()
    axis = figure.subplots()
    axis.plot([1, 2], [0, 1], label=name)
    finish_rows(axis, [name, r"\$"], name)
    axis.set_title(name)
    axis.set_xscale("log")
    drawn = re.sub(r"<!--.*?-->", "", svg(figure))
    assert drawn.count(name) >= 4
    assert "mathdefault" not in drawn, "powers of ten are drawn as such"


def test_names_on_the_terminal_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with watched() as (events, say):
        events.note("[/x] :smile: [bold]")
        say("[/y]")
    said = capsys.readouterr().err
    assert "[/x] :smile: [bold]" in said
    assert "[/y]" in said
