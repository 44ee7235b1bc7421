from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from contract import COMPLETE, GIVES, HEARD, PORTS, REPEATS, REPLAY, ROOTS, ROWS, failed
from engine_runs import ADAPTERS, Load
from torch import Tensor, nn

from vlbias.causal.conformance import conformance
from vlbias.causal.example import Inputs
from vlbias.causal.staged_model import Port, Stage, Tower
from vlbias.models import MODELS, load_model
from vlbias.models.check_adapter import check
from vlbias.models.dual import HfDual
from vlbias.models.toy import Toy

pytestmark = pytest.mark.integration


Folder = Callable[[str], Path]


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_keep_the_contract(load: Load, name: str) -> None:
    assert failed(check(load(name))) == {}


def test_the_toy_keeps_the_contract() -> None:
    assert failed(check("toy")) == {}


def test_every_registered_adapter_is_tested_above(load: Load) -> None:
    modules = {MODELS.entry(name).target.partition(":")[0] for name in MODELS}
    tested = {type(load(name)).__module__ for name in [*ADAPTERS, "toy"]}
    # the tests of detectors and of nets for texts are in files of their own
    names = (
        "grounding",
        "omdet",
        "owl",
        "language.loading",
        "image_text.loading",
        "fusion.loading",
        "glip.loading",
    )
    others = {f"vlbias.models.{name}" for name in names}
    assert modules == tested | others


def toy_sides() -> tuple[list[Inputs], list[Inputs]]:
    vectors = torch.randn(2, 3, 2, 8, generator=torch.Generator().manual_seed(0)).tolist()
    a, b = ([{"image": tuple(r[0]), "text": tuple(r[1])} for r in side] for side in vectors)
    return a, b


class ForgottenParent(Toy):
    """The text reaches the fusion, but the drawing does not say so."""

    def __init__(self) -> None:
        super().__init__()
        tower = self.towers[0]
        fusion = replace(tower.stages[2], parents=("image_encoder",))
        self.towers = (replace(tower, stages=(*tower.stages[:2], fusion)),)


class Peeks(Toy):
    """The outcome reads the image vector past all stages."""

    def encode(self, tower: str, batch: dict[str, Tensor]) -> Tensor:
        return super().encode(tower, batch) + batch["image"].mean(1, keepdim=True)


class PartOfThePath(Toy):
    """The text stage is drawn round nothing of the image's path, and the fusion is left out."""

    def __init__(self) -> None:
        super().__init__()
        tower = self.towers[0]
        self.towers = (replace(tower, stages=(tower.stages[1],)),)
        self.ports = self.ports[1:]


class NormalisedOverTheBatch(Toy):
    def join(self, values: Mapping[str, Any], index: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"class_logits": super().join(values, index)["class_logits"].softmax(0)}


class PromisesTooLittle(Toy):
    gives = frozenset({"score"})


class BreaksOff(Toy):
    def join(self, values: Mapping[str, Any], index: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"class_logits": values["model"][index["model"][:, 1]]}


@pytest.mark.parametrize(
    ("mutant", "caught_by"),
    [
        (ForgottenParent, ROOTS),
        (Peeks, COMPLETE),
        (PartOfThePath, COMPLETE),
        (NormalisedOverTheBatch, ROWS),
        (PromisesTooLittle, GIVES),
        (BreaksOff, REPEATS),
    ],
)
def test_mutants_of_the_toy_are_caught(mutant: type[Toy], caught_by: str) -> None:
    assert caught_by in failed(conformance(mutant(), *toy_sides()))


class _Skip(nn.Module):
    """Blocks of which the first is read again at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        first = self.blocks[0](x)
        return self.blocks[2](self.blocks[1](first)) + first


class _Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = _Skip(), nn.Linear(8, 8)


class ReadElsewhere(Toy):
    """Declares blocks that feed only one another, though the first is read at the end."""

    def __init__(self, *, honest: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = _Both().double().eval()  # type: ignore[assignment]
        blocks = () if honest else tuple(f"image.blocks.{i}" for i in range(3))
        self.towers = (
            Tower("image", ("image",), (Stage("image_encoder", "image", blocks=blocks),)),
            Tower("text", ("text",), (Stage("text_encoder", "text"),)),
        )
        self.ports = (Port("image_encoder", "branch", "image.blocks.{layer}", layers=3),)

    def split(self, inputs: Inputs) -> dict[str, tuple[Any, ...]]:
        return {"image": (inputs["image"],), "text": (inputs["text"],)}

    def collate(self, tower: str, rows: Sequence[Any]) -> dict[str, Tensor]:
        return {"x": torch.tensor(rows, dtype=torch.float64)}

    def encode(self, tower: str, batch: dict[str, Tensor]) -> Tensor:
        return self.net.get_submodule(tower)(batch["x"])

    def join(self, values: Mapping[str, Any], index: Mapping[str, Tensor]) -> dict[str, Tensor]:
        image, text = (values[name][index[name][:, 0]] for name in ("image", "text"))
        return {"class_logits": image * text}


def test_a_block_that_is_read_elsewhere_is_found_out() -> None:
    found = failed(conformance(ReadElsewhere(), *toy_sides()))
    assert "unread" in found[REPLAY]
    assert "unread" in found[PORTS]
    assert failed(conformance(ReadElsewhere(honest=True), *toy_sides())) == {}


def fresh(model_folder: Folder) -> HfDual:
    model: Any = load_model(str(model_folder("dinov2-bert")))
    return model


def quiet(model: HfDual) -> None:
    with torch.no_grad():
        model.net.get_submodule("text_model.embeddings.word_embeddings").weight.mul_(1e-6)


def dropout_active(model: HfDual) -> None:
    model.net.train()


def score_normalised(model: HfDual) -> None:
    join = model.join

    def over_the_batch(values: Any, index: Any) -> dict[str, Tensor]:
        return {key: value.softmax(0) for key, value in join(values, index).items()}

    model.join = over_the_batch  # type: ignore[method-assign]


def peeks_at_pixels(model: HfDual) -> None:
    encode = model.encode

    def past_the_stages(tower: str, batch: dict[str, Tensor]) -> Tensor:
        seen = encode(tower, batch)
        return (
            seen + batch["pixel_values"].mean((1, 2, 3))[:, None]
            if "pixel_values" in batch
            else seen
        )

    model.encode = past_the_stages  # type: ignore[method-assign]


def _redrawn(model: HfDual, number: int, module: str) -> None:
    towers = list(model.towers)
    stage = replace(towers[number].stages[0], module=module, blocks=())
    towers[number] = replace(towers[number], stages=(stage,))
    model.towers = (towers[0], towers[1])


def image_stage_round_one_branch(model: HfDual) -> None:
    _redrawn(model, 0, "vision_model.encoder.layer.2.mlp")


def text_stage_round_one_block_s_attention(model: HfDual) -> None:
    _redrawn(model, 1, "text_model.encoder.layer.1.attention.output.dense")


def padding_without_a_mask(model: HfDual) -> None:
    collate = model.collate

    def unmasked(tower: str, rows: Sequence[Any]) -> dict[str, Tensor]:
        batch = collate(tower, rows)
        if tower == "text_encoder":
            batch["attention_mask"] = torch.ones_like(batch["attention_mask"])
        return batch

    model.collate = unmasked  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("mutate", "caught_by"),
    [
        (quiet, HEARD),
        (dropout_active, REPEATS),
        (score_normalised, ROWS),
        (peeks_at_pixels, COMPLETE),
        (image_stage_round_one_branch, COMPLETE),
        (text_stage_round_one_block_s_attention, COMPLETE),
        (padding_without_a_mask, ROWS),
    ],
)
def test_mutants_of_a_dual_encoder_are_caught(
    model_folder: Folder, mutate: Callable[[HfDual], None], caught_by: str
) -> None:
    model = fresh(model_folder)
    mutate(model)
    assert caught_by in failed(check(model))
