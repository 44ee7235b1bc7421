"""First-order changes against finite differences, in one tower and in several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_language import CAUSAL, MASKED, cloze, language_sides, write_language
from tiny_photos import pictures
from torch import Tensor

from vlbias.causal.attribution import Score, mean_attributions
from vlbias.causal.conformance_tools import state_of
from vlbias.causal.contrast import Contrast
from vlbias.causal.example import Example, Inputs
from vlbias.causal.hooks import register_write_hook
from vlbias.causal.staged_model import Readout, find_port, resolve
from vlbias.errors import BadStudy
from vlbias.models import load_model
from vlbias.models.language.adapter import LanguageModel

ROOT = Path(__file__).resolve().parents[1]
CONTRAST = Contrast("a", "b")


def log_odds(readout: Readout, examples: Sequence[Example]) -> Tensor:
    score = readout["candidate_score"]
    return score[:, 0] - score[:, 1]


def one_by_one(
    model: Any, examples: list[Example], sites: list[str], of: Score, contrast: Contrast = CONTRAST
) -> Tensor:
    """Attributions [examples, mediators], each example by itself."""
    mediators = resolve(model, sites)
    return torch.stack(
        [mean_attributions(model, [one], contrast, mediators, of=of)[0] for one in examples]
    )


def pairs(kind: str) -> list[Example]:
    base, cf = language_sides(" ." if kind in MASKED else "")
    both = zip(base, cf, strict=True)
    return [Example(str(i), str(i), {"a": a, "b": b}) for i, (a, b) in enumerate(both)]


def loaded(kind: str, folder: Path) -> LanguageModel:
    model = load_model(str(write_language(kind, folder / kind)))
    assert isinstance(model, LanguageModel)
    model.net.double()
    return model


def slope(model: Any, example: Example, text: str, of: Score, step: float = 2.5e-3) -> float:
    """The change of the score along the way to the other world's value, by a central difference."""
    (mediator,) = resolve(model, [text])
    (site,) = mediator.sites
    port = find_port(model, site)
    assert port is not None
    base, other = (model.split(example.worlds[world]) for world in ("a", "b"))
    batches = {name: model.collate(name, [*base[name], *other[name]]) for name in base}
    home = next(t.name for t in model.towers if site.stage in {stage.name for stage in t.stages})
    point = (port.path(site.layer), port.slot)

    def moved(by: float) -> float:
        def write(tensor: Tensor) -> Tensor:
            rows = len(tensor) // 2
            change = torch.zeros_like(tensor)
            change[:rows] = by * (tensor[rows:] - tensor[:rows])
            parts = change.unflatten(-1, (port.units_at(site.layer) or 1, -1)).clone()
            if site.units is not None:
                others = [u for u in range(parts.shape[-2]) if u not in site.units]
                parts[..., others, :] = 0
            if site.positions == ("word",):
                spans = batches[home]["span.word"]
                parts[:rows] = parts[:rows] * spans[:rows, :, None, None]
            return tensor + parts.flatten(-2)

        encoded = {}
        with torch.no_grad():
            for name, batch in batches.items():
                remove = register_write_hook(model.net, point, write) if name == home else None
                encoded[name] = model.encode(name, batch)
                if remove:
                    remove()
            index = {name: torch.arange(len(base[name]))[None] for name in base}
            return float(of(model.join(encoded, index), [example])[0])

    return (moved(step) - moved(-step)) / (2 * step)


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma2", "bert", "roberta"])
def test_attributions_are_slopes(kind: str, tmp_path: Path) -> None:
    model = loaded(kind, tmp_path)
    sites = ["lm/embed@word", "lm/mlp.1", "lm/mlp.0[3]@word", "lm/head.1[2]", "lm/weights.2[1]"]
    before = state_of(model.net)
    examples = pairs(kind)
    found = one_by_one(model, examples, sites, log_odds)
    assert state_of(model.net) == before
    for example, row in zip(examples, found, strict=True):
        expected = [slope(model, example, site, log_odds) for site in sites]
        np.testing.assert_allclose(row.numpy(), expected, rtol=1e-2, atol=5e-4)
    assert (found.abs() > 1e-3).any(0).all()
    together, used = mean_attributions(
        model, examples, CONTRAST, resolve(model, sites), of=log_odds, batch=3
    )
    assert used == len(examples)
    torch.testing.assert_close(together, found.mean(0), rtol=1e-6, atol=1e-9)


def photo_pairs(model: Any, count: int = 3) -> list[Example]:
    """Photos of two sizes; the two worlds differ in image, text, or both, and share some texts."""
    names = ("dog", "horse", "umbrella")
    images = [*pictures(count, 1), *pictures(count, 2, size=(48, 36))]
    others = [*pictures(count, 3), *pictures(count, 4, size=(48, 36))]
    examples = []
    for i, (image, other) in enumerate(zip(images, others, strict=True)):
        worlds: dict[str, Inputs] = {
            "a": {"image": image, "text": tuple(f"a photo of a man with a {name}" for name in names)},
            "b": {
                "image": other if i % 3 else image,
                "text": tuple(
                    f"a photo of a {'man' if i % 3 == 1 else 'person'} with a {name}" for name in names
                ),
            },
        }  # fmt: skip
        examples.append(Example(str(i), str(i), worlds))
    return examples


def weighted(readout: Readout, examples: Sequence[Example]) -> Tensor:
    logits = readout["class_logits"]
    return logits @ torch.tensor([1.0, -2.0, 0.5], dtype=logits.dtype)


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["dinov2-bert", "clip", "owlv2"])
def test_attributions_in_several_towers_are_slopes(
    kind: str, model_folder: Callable[[str], Path]
) -> None:
    model: Any = load_model(str(model_folder(kind)))
    model.net.double()
    sites = [
        "image_encoder/head.1[0]", "image_encoder/mlp.0", "text_encoder/attn.1",
        "text_encoder/head.0[1]",
    ]  # fmt: skip
    examples = photo_pairs(model)
    found = one_by_one(model, examples, sites, weighted)
    for example, row in zip(examples, found, strict=True):
        expected = [slope(model, example, site, weighted) for site in sites]
        np.testing.assert_allclose(row.numpy(), expected, rtol=1e-2, atol=1e-5)
    assert (found[0, :2] == 0).all(), "the image is the same in both worlds"
    assert (found[1, 2:] == 0).all(), "the texts are"
    assert (found[2] != 0).all()
    together, used = mean_attributions(
        model, examples, CONTRAST, resolve(model, sites), of=weighted, batch=2
    )
    assert used == len(examples)
    torch.testing.assert_close(together, found.mean(0), rtol=1e-6, atol=1e-9)


@pytest.mark.integration
@pytest.mark.parametrize("kind", CAUSAL)
def test_mediators_of_several_sites_add_up_to_first_order(kind: str, tmp_path: Path) -> None:
    model, sites = loaded(kind, tmp_path), ["lm/head.0[*]", "lm/head.0", "all lm/head.0[*]"]
    *single, whole, joint = one_by_one(model, pairs(kind), sites, log_odds).T
    torch.testing.assert_close(sum(single), whole)  # type: ignore[arg-type]
    torch.testing.assert_close(joint, whole)


def test_misaligned_texts_and_whole_stages_have_no_attribution(tmp_path: Path) -> None:
    model = loaded("gpt2", tmp_path)
    texts = [("nurse", "man"), ("librarian", "man")]
    examples = [
        Example(str(i), str(i), {"a": {"text": cloze(a)}, "b": {"text": cloze(b)}})
        for i, (a, b) in enumerate(texts)
    ]
    found = one_by_one(model, examples, ["lm/mlp.1@word"], log_odds)
    assert found.isnan().squeeze(1).tolist() == [False, True]
    sites = resolve(model, ["lm/mlp.1@word"])
    mean, used = mean_attributions(model, examples, CONTRAST, sites, of=log_odds)
    assert used == 1
    torch.testing.assert_close(mean, found[0])
    with pytest.raises(BadStudy, match="port"):
        one_by_one(model, examples, ["lm"], log_odds)
