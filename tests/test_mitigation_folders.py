"""Mitigations saved and loaded, and exported as models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fitted_mitigations import SETTINGS, Load, fitted
from mitigated import examples, outputs, same

import vlbias as vb
from vlbias.errors import BadModel
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.base import Fitted, Mitigation


@pytest.mark.parametrize("name", SETTINGS)
def test_saved_and_loaded_it_does_the_same(load: Load, name: str, tmp_path: Path) -> None:
    model, some, mitigation = load("clip"), examples(4, seed=1), fitted(name, load("clip"))
    mitigation.save(tmp_path / "small")
    again = Fitted.load(tmp_path / "small")
    assert (again.mitigation, again.key, again.seen) == (
        mitigation.mitigation,
        mitigation.key,
        mitigation.seen,
    )
    with mitigation.applied(model) as one:
        expected, revision = outputs(one, some), one.revision
    with again.applied(model) as other:
        assert same(outputs(other, some), expected)
        assert other.revision == revision


def test_a_saved_mitigation_with_other_numbers_is_refused(load: Load, tmp_path: Path) -> None:
    fitted("leace", load("clip")).save(tmp_path)
    about = json.loads((tmp_path / "mitigation.json").read_text())
    about["spec"]["svd_tol"] = 0.5
    (tmp_path / "mitigation.json").write_text(json.dumps(about))
    with pytest.raises(BadModel, match="not those that were saved"):
        Fitted.load(tmp_path)
    with pytest.raises(BadModel, match="no saved mitigation"):
        Fitted.load(tmp_path / "nothing")


def test_specs_are_json_and_make_the_mitigation_again() -> None:
    for name, settings in SETTINGS.items():
        one: Mitigation = make_mitigation(name, **settings)
        spec = json.loads(json.dumps(one.spec))
        assert make_mitigation(spec.pop("name"), **spec) == one


def test_export_of_weights_is_an_ordinary_checkpoint(
    load: Load, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from transformers import AutoModel

    model, some = load("clip"), examples(4, seed=1)
    ready = fitted("folded-ablation", model)
    ready.export(model, tmp_path / "out", str(model_folder("clip")))
    with ready.applied(model) as mitigated:
        expected = outputs(mitigated, some)
    assert same(outputs(vb.load_model(str(tmp_path / "out")), some), expected)
    weight = AutoModel.from_pretrained(tmp_path / "out").vision_model.encoder.layers[0].self_attn
    assert not torch.equal(
        weight.out_proj.weight,
        model.net.vision_model.encoder.layers[0].self_attn.out_proj.weight,
    )


@pytest.mark.parametrize("name", ["feature-blur", "leace", "text-neutral"])
def test_a_wrapped_folder_loads_as_the_mitigated_model(
    load: Load, name: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    import gc

    model, some = load("clip"), examples(4, seed=1)
    ready = fitted(name, model)
    ready.export(model, tmp_path / "out", str(model_folder("clip")), 0.5)
    with ready.applied(model, 0.5) as mitigated:
        expected = outputs(mitigated, some)
    again = vb.load_model(str(tmp_path / "out"))
    gc.collect()
    assert again.name == "out"
    assert same(outputs(again, some), expected)
    assert not same(outputs(model, some), expected)
    with pytest.raises(BadModel, match="not empty"):
        ready.export(model, tmp_path / "out", str(model_folder("clip")))
