"""The short path of causal models against the whole one, for every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_language import CAUSAL, cloze, language_sides, write_language
from torch import Tensor

from vlbias.causal import unit_jobs
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example, Inputs
from vlbias.causal.joint_pass import run_joint_pass
from vlbias.causal.staged_model import resolve
from vlbias.causal.sweep import Sweep, SweepPlan
from vlbias.models import load_model
from vlbias.models.language.adapter import LanguageModel

PATTERNS = [
    "lm/embed@word",
    "lm/resid.1@word",
    "lm/attn.*",
    "lm/mlp.*@word",
    "lm/mlp.0[3]@-2",
    "lm/neuron.1[5,9]",
    "lm/head.*[*]",
    "lm/weights.*[*]@prompt",
    "lm/weights.2",
    "all lm/head.*",
    "lm/head.0[1]+lm/mlp.2[4]@word+lm/weights.1[2]@-1",
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LanguageModel]:
    made: dict[str, Any] = {}

    def of(kind: str) -> LanguageModel:
        if kind not in made:
            folder: Path = tmp_path_factory.mktemp("suffix") / kind
            made[kind] = load_model(str(write_language(kind, folder)))
        return made[kind]

    return of


def swept(model: LanguageModel, short: bool, patterns: list[str]) -> Sweep:
    texts = [inputs for side in language_sides() for inputs in side]
    late = [{"text": cloze(w, frame="The nurse told the {}")} for w in ("man", "woman")]
    rows = [row for one in [*texts, *late] for row in model.split(one)["lm"]]
    plan = SweepPlan(model, model.towers[0], resolve(model, patterns), narrow=short)
    half = len(texts)
    pairs = [(i, half + i) for i in range(half)] + [(2 * half, 2 * half + 2)]
    pairs += [(j, i) for i, j in pairs] + [(0, 0)]
    return plan.run(model.collate("lm", rows), pairs)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma2"])
@pytest.mark.parametrize("positions", ["-1", "-2,-1", "word"])
def test_jobs_that_replace_late_tokens_run_from_there_on(
    loaded: Callable[[str], LanguageModel], kind: str, positions: str
) -> None:
    model = loaded(kind)
    ports = ("head.*[*]", "weights.*[*]", "mlp.*", "resid.1")
    patterns = [f"lm/{port}@{positions}" for port in ports]
    short, whole = (swept(model, way, patterns) for way in (True, False))
    for name, expected in whole.patched.items():
        torch.testing.assert_close(
            short.patched[name], expected, atol=1e-5, rtol=1e-5, equal_nan=True, msg=name
        )
    assert any(
        not torch.allclose(v[0], whole.encoded[0], atol=1e-4) for v in whole.patched.values()
    )


@pytest.mark.parametrize("kind", CAUSAL)
def test_the_short_path_gives_what_the_whole_one_gives(
    loaded: Callable[[str], LanguageModel], kind: str
) -> None:
    model = loaded(kind)
    short, whole = (swept(model, way, PATTERNS) for way in (True, False))
    for name, expected in whole.patched.items():
        torch.testing.assert_close(
            short.patched[name], expected, atol=1e-5, rtol=1e-5, equal_nan=True, msg=name
        )
    moved = [
        name
        for name, value in whole.patched.items()
        if not torch.allclose(value[0], whole.encoded[0], atol=1e-4)
    ]
    assert len(moved) > len(PATTERNS)


def test_the_short_path_runs_no_token_before_the_first_that_differs(
    loaded: Callable[[str], LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ran = loaded("llama"), []
    block = model.net.get_submodule("model.layers.2")
    handle = block.register_forward_hook(lambda _, __, out: ran.append(tuple(out.shape)))
    frame = "The nurse told the man that the {}"
    sides = [model.split({"text": cloze(who, frame=frame)})["lm"][0] for who in ("clerk", "doctor")]
    plan = SweepPlan(model, model.towers[0], resolve(model, ["lm/head.*[*]"]))
    plan.run(model.collate("lm", sides), [(0, 1), (1, 0)])
    handle.remove()
    tokens = model.collate("lm", sides)["input_ids"].shape[1]
    resumed = [shape for shape in ran if shape[0] > 3]
    assert resumed
    assert {shape[1] for shape in resumed} == {1}
    assert tokens > 6


def test_positions_before_the_first_difference_change_nothing(
    loaded: Callable[[str], LanguageModel],
) -> None:
    model = loaded("gpt2")
    rows = [model.split({"text": cloze(who)})["lm"][0] for who in ("nurse", "man")]
    plan = SweepPlan(model, model.towers[0], resolve(model, ["lm/mlp.0@0", "lm/mlp.0@1"]))
    sweep = plan.run(model.collate("lm", rows), [(0, 1)])
    value: Tensor = sweep.patched["lm/mlp.0@0"]
    assert torch.equal(value[0], sweep.encoded[0])
    assert not torch.equal(sweep.patched["lm/mlp.0@1"][0], sweep.encoded[0])


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "opt"])
def test_scores_differ_as_log_probabilities_do(
    loaded: Callable[[str], LanguageModel], kind: str
) -> None:
    """Without the sum over the vocabulary, for texts with short, long and mixed candidates."""
    model = loaded(kind)
    lean = model.scores_only()
    asked = (("he", "she"), ("he", "she ran"), ("ran home", "ate"))
    base: list[Inputs] = [{"text": cloze("nurse", *names)} for names in asked]
    cf: list[Inputs] = [{"text": cloze("man", *names)} for names in asked]
    pairs = enumerate(zip(base, cf, strict=True))
    examples = [Example(str(i), str(i), {"a": a, "b": b}) for i, (a, b) in pairs]
    contrast, found = Contrast("a", "b"), []
    for one in (model, lean):
        engine = Engine(one, [contrast], resolve(one, ["lm/head.1[*]"]), altered={})
        found.append([arm.readout["candidate_score"] for arm in engine.run(examples)])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours.diff(dim=1), expected.diff(dim=1), atol=2e-5, rtol=1e-5)
    assert lean.gives == {"candidate_score"}
    assert model.gives > lean.gives


def shapes_of(module: torch.nn.Module) -> tuple[list[tuple[int, ...]], Callable[[], None]]:
    seen: list[tuple[int, ...]] = []
    handle = module.register_forward_hook(lambda _, args, __: seen.append(tuple(args[0].shape[:2])))
    return seen, handle.remove


@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt", "gemma2"])
def test_no_token_is_run_behind_the_last_that_is_read(
    loaded: Callable[[str], LanguageModel], kind: str
) -> None:
    """Short and long texts in one batch: each pair runs from its word to the end of its own text."""
    model = loaded(kind)
    frames = ("The {} said", "The {} said that", "The {} told the man that she was tired because")
    sides = [
        [model.split({"text": cloze(who, frame=frame)})["lm"][0] for frame in frames]
        for who in ("clerk", "doctor")
    ]
    batch = model.collate("lm", [*sides[0], *sides[1]])
    pairs = [(0, 3), (1, 4), (2, 5)]
    plan, whole = (
        SweepPlan(model, model.towers[0], resolve(model, PATTERNS[1:4]), narrow=narrow)
        for narrow in (True, False)
    )
    expected = whole.run(batch, pairs).patched
    plan.run(batch, [])
    seen, remove = shapes_of(model.net.get_submodule(model.layout.blocks + ".2"))
    found = plan.run(batch, pairs).patched
    remove()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=1e-5)
    start = int((batch["input_ids"][0] != batch["input_ids"][3]).long().argmax())
    lengths = batch["length"][:3].tolist()
    jobs = [shape for shape in seen if shape[0] != 6]
    assert start > 0
    assert {shape[1] for shape in jobs} == {length - start for length in lengths}


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox", "gemma2"])
def test_the_last_mlp_runs_on_the_token_that_is_read(
    loaded: Callable[[str], LanguageModel], kind: str
) -> None:
    model = loaded(kind)
    rows = [model.split({"text": cloze(who)})["lm"][0] for who in ("clerk", "doctor", "man")]
    batch = model.collate("lm", rows)
    patterns = ["lm/head.*[*]", "lm/mlp.0[*]@word"]
    plans = [
        SweepPlan(model, model.towers[0], resolve(model, patterns), narrow=narrow)
        for narrow in (True, False)
    ]
    expected = plans[1].run(batch, [(0, 1), (1, 0)]).patched
    plans[0].run(batch, [])
    seen, remove = shapes_of(model.net.get_submodule(f"{model.layout.blocks}.2.mlp"))
    found = plans[0].run(batch, [(0, 1), (1, 0)]).patched
    remove()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=1e-5)
    assert {tokens for rows, tokens in seen if rows != 3} == {1}


def test_the_last_mlp_runs_on_all_tokens_that_are_read(
    loaded: Callable[[str], LanguageModel],
) -> None:
    """A candidate of several tokens is read at several places."""
    model = loaded("gpt2")
    rows = [
        model.split({"text": cloze(who, "was tired", "ran home")})["lm"][0]
        for who in ("clerk", "doctor")
    ]
    batch = model.collate("lm", rows)
    plan = SweepPlan(model, model.towers[0], resolve(model, ["lm/head.*[*]"]))
    plan.run(batch, [])
    seen, remove = shapes_of(model.net.get_submodule("transformer.h.2.mlp"))
    plan.run(batch, [(0, 1)])
    remove()
    first = int((batch["input_ids"][0] != batch["input_ids"][1]).long().argmax())
    assert {tokens for rows, tokens in seen if rows != 2} == {int(batch["at"].max()) + 1 - first}


@pytest.mark.parametrize("kind", CAUSAL)
def test_jobs_of_all_layers_share_a_pass(
    loaded: Callable[[str], LanguageModel], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads, weights, neurons and residuals of three layers, whole passes for each being the reference."""
    model = loaded(kind)
    patterns = ["lm/head.*[*]", "lm/weights.*[*]@prompt", "lm/mlp.*[1,3]@word", "lm/resid.*[2]"]
    patterns += ["lm/neuron.*[5]", "lm/attn.*[0]"]
    passes: list[list[int]] = []

    def counting(*args: Any, **options: Any) -> Any:
        passes.append([len(entry.own) for entry in args[3]])
        return run_joint_pass(*args, **options)

    monkeypatch.setattr(unit_jobs, "run_joint_pass", counting)
    together = swept(model, True, patterns)
    assert max(len(rows) for rows in passes) == 18
    monkeypatch.setattr(unit_jobs, "is_joint_cheaper", lambda *_: False)
    apart, whole = swept(model, True, patterns), swept(model, False, patterns)
    for name, expected in whole.patched.items():
        for found in (together, apart):
            torch.testing.assert_close(found.patched[name], expected, atol=1e-5, rtol=1e-5)
    moved = [n for n, e in whole.patched.items() if not torch.equal(e[0], whole.encoded[0])]
    assert len(moved) > len(whole.patched) * 2 // 3


def test_a_shared_pass_runs_each_block_once(loaded: Callable[[str], LanguageModel]) -> None:
    model = loaded("llama")
    rows = [model.split({"text": cloze(who)})["lm"][0] for who in ("clerk", "doctor")]
    batch = model.collate("lm", rows)
    plan = SweepPlan(model, model.towers[0], resolve(model, ["lm/head.*[*]"]), mediator_batch=12)
    plan.run(batch, [])
    blocks = [shapes_of(model.net.get_submodule(f"model.layers.{i}.mlp")) for i in range(3)]
    forwards = {name: module.__dict__.get("forward") for name, module in model.net.named_modules()}
    plan.run(batch, [(0, 1)])
    for _, remove in blocks:
        remove()
    jobs_of = [[rows for rows, _ in seen if rows != 2] for seen, _ in blocks]
    assert jobs_of == [[4], [4, 4], [8, 4]]  # those that entered before, and those that enter
    assert forwards == {
        name: module.__dict__.get("forward") for name, module in model.net.named_modules()
    }
