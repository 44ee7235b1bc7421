"""Edits of tiny language models: exact, undone to the bit, folded, the same in one pass as layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vlbias.causal.hooks import first_tensor
from vlbias.data.facts import Fact
from vlbias.edits.change import Change
from vlbias.edits.keys import completion, key_moments, record_maps
from vlbias.edits.memit import Memit
from vlbias.edits.rank_one import Context, RankOne, change_of, update_of
from vlbias.edits.staggered_passes import can_stagger
from vlbias.edits.values import ValueSearch, find_targets
from vlbias.edits.weights import editable_maps, output_maps, weight_blocks
from vlbias.errors import BadData, BadModel, BadStudy, UnknownName
from vlbias.models import load_model

FACT = Fact("nurse/said", "nurse", "The nurse said that", "he", target="she")
OTHER = Fact("clerk/ran", "clerk", "The clerk ran", "home", target="that")
LONG = replace(FACT, id="long", target="the doctor was tired")
PREFIXES = ("they went home", "the man was happy because")
TEXTS = [
    "The doctor told the man that she was tired because the nurse went home .",
    "they said that the clerk ate because he was happy",
]
Load = Callable[[str], Any]


def context(model: Any, sites: tuple[str, ...] = ("lm/mlp.*",)) -> Context:
    return Context(key_moments(model, output_maps(model, sites), TEXTS), PREFIXES)


def weights(model: Any) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.net.named_parameters()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("kind", "keys", "fact"),
    [
        ("gpt2", "mixed", FACT),
        ("llama", "one", LONG),
        ("opt", "mixed", LONG),
        ("gemma2", "one", FACT),
    ],
)
def test_an_edit_gives_its_key_its_value(language: Load, kind: str, keys: Any, fact: Fact) -> None:
    """B1: the edited map gives v* for the key that the rule names, in every layer."""
    model = language(kind)
    before = weights(model)
    settings = RankOne(("lm/mlp.*",), "smallest-cost", keys, ridge=0.1)
    given = context(model)
    maps = settings.maps(model)
    targets = find_targets(model, maps, fact, fact.target, PREFIXES, settings.search)
    for one, target in zip(maps, targets, strict=True):
        assert float(target.delta.norm()) > 0
        update = update_of(one, target, given.moments, 0.1, keys)
        key = (target.keys[0] if keys == "mixed" else target.mean_key).double()
        bias = getattr(one.module, "bias", None)
        added = 0.0 if bias is None else bias.detach().double()
        goal = (target.value + target.delta).double()
        new = one.weight.double() + update.matrix
        assert float((new @ key + added - goal).norm() / goal.norm()) <= 1e-6
        # and as it is written: in single precision, which rounds each weight
        written = change_of(one, update, {}).values[one.name].double()
        read = (written.T if one.is_turned else written) @ key + added
        assert float((read - goal).norm()) <= 1e-6 * float(new.norm() * key.norm())
    change = settings.fit(model, fact, fact.target, given, rng=np.random.default_rng(0))
    assert change.notes["cost"] == min(change.notes["costs"].values())
    assert same(before, weights(model))  # B5: a scan leaves no trace


@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt", "gpt_neox", "gemma2"])
def test_layers_in_shared_passes_are_as_if_each_were_alone(language: Load, kind: str) -> None:
    """Against every token, block and layer run anew for each layer."""
    model = language(kind)
    search, maps = ValueSearch(steps=6, enough=0.0), editable_maps(model, ["lm/mlp.*"])
    assert can_stagger(model)
    together = find_targets(model, maps[::-1], LONG, LONG.target, PREFIXES, search)[::-1]
    for one, target in zip(maps, together, strict=True):
        whole = find_targets(model, [one], LONG, LONG.target, PREFIXES, search, shared=False)[0]
        assert float((target.delta - whole.delta).norm()) <= 1e-3 * float(whole.delta.norm())
        assert target.loss == pytest.approx(whole.loss, rel=1e-3)
        assert target.steps == whole.steps == 6


def test_the_first_step_of_all_layers_takes_one_pass_of_each_text(language: Load) -> None:
    """One forward and one backward pass give the gradients of all layers; later rows enter at their layer."""
    model = language("llama")
    maps, rows = editable_maps(model, ["lm/mlp.*"]), []
    block = model.net.get_submodule(maps[-1].block)
    handle = block.register_forward_hook(lambda *args: rows.append(first_tensor(args[2]).shape[:2]))
    find_targets(model, maps, FACT, "she", (), ValueSearch(steps=1, enough=0.0))
    handle.remove()
    # what is recorded, the prompt and the essence as they are, the first step, the second
    assert [shape[0] for shape in rows] == [1, 1, 1, 1, 1, len(maps), len(maps)]
    assert rows[3][1] < rows[1][1]  # tokens before the subject's last are not run again


def test_the_search_lowers_the_loss_by_gradients_that_differences_confirm(language: Load) -> None:
    model = language("gpt2")
    one = output_maps(model, ["lm/mlp.1"])
    start = find_targets(model, one, FACT, "she", PREFIXES, ValueSearch(steps=0, enough=0.0))[0]
    found = find_targets(model, one, FACT, "she", PREFIXES, ValueSearch(enough=0.0))[0]
    texts = [completion(FACT, "she", prefix) for prefix in ("", *PREFIXES)]
    rows = [model.split({"text": text})["lm"][0] for text in texts]
    with torch.no_grad():
        plain = -float(model.encode("lm", model.collate("lm", rows)).mean())
    assert start.loss == pytest.approx(plain, abs=1e-5)
    assert found.loss < plain
    assert float(found.delta.norm()) <= 4.0 * float(found.value.norm()) * (1 + 1e-6)


def test_an_edit_is_undone_to_the_bit_also_after_an_error_and_an_interrupt(language: Load) -> None:
    model = language("llama")
    before = weights(model)
    change = RankOne(("lm/mlp.1",), ridge=0.1).fit(
        model, FACT, "she", context(model), rng=np.random.default_rng(0)
    )
    for error in (None, ValueError, KeyboardInterrupt):
        try:
            with change.applied(model) as changed:
                assert changed.revision == f"{model.revision}+{change.key}"
                assert not same(before, weights(changed))
                if error is not None:
                    raise error
        except (ValueError, KeyboardInterrupt):
            assert error is not None
        assert same(before, weights(model))
    assert change.cost(model.net).relative == pytest.approx(change.notes["cost"], rel=1e-4)
    assert change.cost(model.net).parameters == 16 * 32


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_folded_edit_is_the_applied_one(language: Load, tmp_path: Path, kind: str) -> None:
    model = language(kind)
    sites = ("lm/mlp.0", "lm/mlp.1")
    settings = Memit(sites, weight=1e-3, ridge=0.1, search=ValueSearch(reach=4.0))
    change = settings.fit(model, [(FACT, "she"), (OTHER, "that")], context(model))
    ids = [model.tokens(text) for text in (FACT.prompt, OTHER.prompt, *TEXTS)]
    plain = model.next_token_logits(ids)
    with change.applied(model) as changed:
        applied = changed.next_token_logits(ids)
    change.folded(model, tmp_path / "folded")
    folded: Any = load_model(str(tmp_path / "folded"))
    assert float((folded.next_token_logits(ids) - applied).abs().max()) <= 1e-5
    assert float((applied - plain).abs().max()) > 1e-3
    again = Change.load(tmp_path / "folded" / "change")
    assert (again.key, again.notes["site"]) == (change.key, "lm/mlp.0+lm/mlp.1")
    with pytest.raises(BadModel, match="not empty"):
        change.folded(model, tmp_path / "folded")


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_many_facts_at_once_reach_their_targets(language: Load, kind: str) -> None:
    """What the last block gives at each subject moves by the change that was searched for."""
    model = language(kind)
    # without prefixes the key of an edit is that of its prompt
    wanted, given = [(FACT, "she"), (OTHER, "that")], replace(context(model), prefixes=())
    settings = Memit(("lm/mlp.0", "lm/mlp.1"), weight=1e-6, ridge=0.1)
    change = settings.fit(model, wanted, given)
    last = settings.maps(model)[-1]

    def block(model: Any, fact: Fact, answer: str) -> Tensor:
        return record_maps(model, [last], [completion(fact, answer)])[last.path].block[0]

    for fact, answer in wanted:
        delta = find_targets(model, [last], fact, answer, (), settings.search)[0].delta
        before = block(model, fact, answer)
        with change.applied(model) as changed:
            moved = block(changed, fact, answer) - before
        assert float((moved - delta).norm() / delta.norm()) < 0.02


def test_moments_are_means_over_tokens_and_are_cached(language: Load, tmp_path: Path) -> None:
    model = language("opt")
    maps = output_maps(model, ["lm/mlp.2"])
    found = key_moments(model, maps, TEXTS, tmp_path)
    keys = []
    handle = maps[0].module.register_forward_pre_hook(
        lambda _, args: keys.append(args[0].flatten(0, -2))
    )
    for text in TEXTS:
        model.next_token_logits([model.tokens(text)])
    handle.remove()
    every = torch.cat(keys).double()
    assert torch.allclose(found.moments[maps[0].path], every.T @ every / len(every), atol=1e-5)
    assert found.tokens == len(every)
    file = next(tmp_path.glob("moments-*.safetensors"))
    stamp = file.stat().st_mtime_ns
    again = key_moments(model, maps, TEXTS, tmp_path)
    assert torch.equal(again.moments[maps[0].path], found.moments[maps[0].path])
    assert (file.stat().st_mtime_ns, len(list(tmp_path.iterdir()))) == (stamp, 1)
    key_moments(model, maps, TEXTS[:1], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_edited_is_refused(language: Load) -> None:
    model, rng = language("llama"), np.random.default_rng(0)
    few = Context(key_moments(model, output_maps(model, ["lm/mlp.0"]), TEXTS[:1]), PREFIXES)
    with pytest.raises(BadData, match=r"rank \d+ of 32: \d+ tokens of text are too few"):
        RankOne(("lm/mlp.0",)).fit(model, FACT, "she", few, rng=rng)
    both = Context(key_moments(model, output_maps(model, ["lm/mlp.*"]), ["ran"]), PREFIXES)
    with pytest.raises(BadData, match=r"rank \d+ of 32: \d+ tokens of text are too few"):
        Memit(("lm/mlp.0", "lm/mlp.1")).fit(model, [(FACT, "she")], both)
    eased = Memit(("lm/mlp.0", "lm/mlp.1"), ridge=0.1, search=ValueSearch(steps=1))
    assert eased.fit(model, [(FACT, "she")], both).notes["cost"] > 0
    with pytest.raises(BadStudy, match="an MLP before the last block"):
        RankOne(("lm/mlp.2",)).maps(model)
    assert [one.site.layer for one in RankOne(("lm/mlp.*",), "random").maps(model)] == [0, 1]
    with pytest.raises(BadStudy, match="one MLP for the rule 'fixed'"):
        RankOne(("lm/mlp.*",)).maps(model)
    with pytest.raises(BadStudy, match="a layer from 0 to 2"):
        RankOne(("lm/mlp.7",)).maps(model)
    with pytest.raises(UnknownName, match="mlp"):
        RankOne(("lm/mpl.1",)).maps(model)
    with pytest.raises(BadStudy, match="an MLP"):
        RankOne(("lm/attn.1",)).maps(model)
    with pytest.raises(BadStudy, match="in the order of depth"):
        Memit(("lm/mlp.1", "lm/mlp.0")).maps(model)
    with pytest.raises(BadData, match="does not stand in the prompt"):
        Fact("x", "pilot", "The nurse said that", "he")
    with pytest.raises(BadModel, match="made for another model"):
        Change({"lm_head.weight": torch.zeros(2, 2)}).write(model.net)
    with pytest.raises(BadModel, match="no parameter"):
        Change({"no.such": torch.zeros(2)}).write(model.net)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox", "opt", "gemma2"])
def test_blocks_are_the_weights_of_their_site(language: Load, kind: str) -> None:
    """Attention and MLP share no weight, and with norms and biases they are the whole block."""
    model = language(kind)
    blocks = {
        port: set(weight_blocks(model, [f"lm/{port}.1"])[0].names)
        for port in ("attn", "mlp", "resid")
    }
    assert not blocks["attn"] & blocks["mlp"]
    rest = blocks["resid"] - blocks["attn"] - blocks["mlp"]
    assert all("norm" in name or ".ln_" in name for name in rest), rest
    assert {len(model.net.get_parameter(n).shape) for n in blocks["mlp"]} <= {1, 2}
    assert output_maps(model, ["lm/mlp.1"])[0].name in blocks["mlp"]


def test_records_are_at_the_last_token_of_the_subject(language: Load) -> None:
    model = language("gpt2")
    one = output_maps(model, ["lm/mlp.0"])
    text = completion(FACT, "he", "they went home")
    at = max(model.tokenised(text).spans["subject"])
    assert model.text_of([model.tokenised(text).ids[at]]).strip() == "nurse"
    seen: list[Tensor] = []
    handle = one[0].module.register_forward_hook(lambda _, args, out: seen.append(out[0]))
    model.next_token_logits([model.tokens(text.text)])
    handle.remove()
    found = record_maps(model, one, [text])[one[0].path]
    assert torch.allclose(found.values[0], seen[0][at], atol=1e-6)
