"""Mediators examined and written all at once, against one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_photos
import torch
from engine_runs import Load
from tiny_language import cloze, language_sides, write_language

from vlbias.causal import entry_groups
from vlbias.causal.staged_model import Batch, StagedModel, resolve
from vlbias.causal.sweep import Sweep, SweepPlan
from vlbias.causal.unit_batch import unit_batches
from vlbias.errors import BadStudy
from vlbias.models import load_model

IMAGES = [
    "image_encoder/attn.0[0,1,2,3]",
    "image_encoder/attn.0",
    "image_encoder/mlp.0",
    "image_encoder/mlp.0[3,5]",
    "image_encoder/mlp.0[4]@0",
]
TEXTS = [
    "lm/embed[*]@word",
    "lm/head.*[*]",
    "lm/mlp.1[*]@word",
    "lm/mlp.1",
    "lm/neuron.0[2,7]@-1",
    "lm/weights.*[*]@prompt",
    "lm/head.0[1]+lm/mlp.2[4]@word",
]
PAIRS = [(0, 3), (3, 0), (1, 4), (2, 5), (0, 0)]


def swept(
    model: StagedModel, batch: Batch, patterns: list[str], *, lazy: bool = True, narrow: bool = True
) -> Sweep:
    tower = model.towers[0]
    mediators = resolve(model, patterns)
    plan = SweepPlan(model, tower, mediators, mediator_batch=7, lazy=lazy, narrow=narrow)
    return plan.run(batch, PAIRS)


def compare(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[], Sweep], tolerance: float = 1e-5
) -> None:
    together = run()
    monkeypatch.setattr(entry_groups, "unit_batches", lambda targets, names: ([], list(names)))
    singly = run()
    assert list(together.patched) == list(singly.patched)
    moved, largest = 0, 0.0
    for name, expected in singly.patched.items():
        torch.testing.assert_close(
            together.patched[name], expected, atol=tolerance, rtol=1e-5, equal_nan=True, msg=name
        )
        moved += not torch.equal(expected[0], singly.encoded[0])
        largest = max(largest, float((expected[0] - singly.encoded[0]).abs().max()))
    assert moved * 2 > len(singly.patched)
    assert largest > 100 * tolerance


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("panel")


@pytest.mark.parametrize("kind", ["gpt2", "opt", "llama", "bert"])
@pytest.mark.parametrize("lazy", [True, False])
def test_texts_together_are_as_one_by_one(
    monkeypatch: pytest.MonkeyPatch, folder: Path, kind: str, lazy: bool
) -> None:
    path = folder / kind
    model = load_model(str(path if path.exists() else write_language(kind, path)))
    rows = [row for side in language_sides() for one in side for row in model.split(one)["lm"][:1]]
    batch = model.collate("lm", rows)
    compare(monkeypatch, lambda: swept(model, batch, TEXTS, lazy=lazy))


@pytest.mark.parametrize("name", ["dinov2-bert", "openclip"])
def test_images_together_are_as_one_by_one(
    monkeypatch: pytest.MonkeyPatch, load: Load, name: str
) -> None:
    model = load(name)
    base, cf = tiny_photos.sides(3)
    rows = [row for side in (base, cf) for one in side for row in model.split(one)["image_encoder"]]
    batch = model.collate("image_encoder", rows)
    compare(monkeypatch, lambda: swept(model, batch, IMAGES))


def test_a_unit_batch_holds_mediators_of_one_site_at_the_same_positions(folder: Path) -> None:
    path = folder / "gpt2"
    model = load_model(str(path if path.exists() else write_language("gpt2", path)))
    patterns = ["lm/mlp.0[*]@word", "lm/mlp.0[1]@-1", "lm/mlp.0[2]@word+lm/mlp.1[2]@word"]
    plan = SweepPlan(model, model.towers[0], resolve(model, patterns))
    plan.run(model.collate("lm", [model.split({"text": cloze()})["lm"][0]]), [])
    names = [mediator.name for mediator in plan.mediators]
    batches, others = unit_batches({name: plan._targets[name] for name in names}, names)
    assert [len(batch.names) for batch in batches] == [16, 1]
    assert others == names[-1:]


def test_an_active_mediator_is_one_that_changes_something(folder: Path) -> None:
    path = folder / "gpt2"
    model = load_model(str(path if path.exists() else write_language("gpt2", path)))
    rows = [model.split({"text": cloze(who)})["lm"][0] for who in ("nurse", "man")]
    batch = model.collate("lm", rows)
    ran: list[int] = []
    last = model.net.get_submodule("transformer.h.2.ln_1")
    plan = SweepPlan(model, model.towers[0], resolve(model, ["lm/mlp.0[*]@0", "lm/mlp.0[*]@1"]))
    plan.run(batch, [])
    handle = last.register_forward_hook(lambda _, __, out: ran.append(out.shape[0]))
    sweep = plan.run(batch, [(0, 1)])
    handle.remove()
    # before the word that differs nothing can change: 16 jobs, behind the recording and its keys
    assert ran[2:] == [16]
    assert torch.equal(sweep.patched["lm/mlp.0[5]@0"][0], sweep.encoded[0])
    assert not torch.equal(sweep.patched["lm/mlp.0[5]@1"][0], sweep.encoded[0])


def test_a_position_that_a_row_lacks_is_refused(folder: Path) -> None:
    path = folder / "gpt2"
    model = load_model(str(path if path.exists() else write_language("gpt2", path)))
    rows = [model.split({"text": cloze(who)})["lm"][0] for who in ("nurse", "man")]
    plan = SweepPlan(model, model.towers[0], resolve(model, ["lm/mlp.0[*]@9"]))
    with pytest.raises(BadStudy, match="positions that every row has"):
        plan.run(model.collate("lm", rows), [(0, 1)])
