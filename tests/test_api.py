"""The public calls, as README.md and the design write them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vlbias as vb
from vlbias.errors import BadData, BadStudy

ROOT = Path(__file__).resolve().parents[1]


def _images(count: int, seed: int) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(count)
    ]


def test_readme_example_runs_as_written(
    photos: Path,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare = [sys.executable, str(ROOT / "datasets/coco/prepare.py"), str(photos)]
    subprocess.run([*prepare, "--out", str(tmp_path / "coco"), "--min-captions", "1"], check=True)
    monkeypatch.setenv("VLBIAS_DATA", str(tmp_path))
    load = vb.load_model
    # the checkpoint cannot be fetched in a test; a folder takes its place, all else is as written
    monkeypatch.setitem(
        vb.__dict__, "load_model", lambda name: load(str(model_folder("dinov2-bert")))
    )
    text = (ROOT / "README.md").read_text()
    example = re.search(r"```python\n(import vlbias as vb.*?)```", text, re.S)
    assert example is not None
    *statements, last = ast.parse(example[1]).body
    assert isinstance(last, ast.Expr)
    names: dict[str, Any] = {}
    exec(compile(ast.Module(statements, []), "README.md", "exec"), names)
    frame = eval(compile(ast.Expression(last.value), "README.md", "eval"), names)
    wanted = {"effect", "estimate", "lo", "hi", "n", "n_clusters"}
    assert wanted <= set(frame.columns)
    assert {"image_encoder", "text_encoder"} <= set(frame["mediator"])
    assert ((frame["lo"] <= frame["estimate"]) & (frame["estimate"] <= frame["hi"])).all()


def test_pil_images_and_their_effects(load: Callable[[str], Any]) -> None:
    model = load("dinov2-bert")
    examples = vb.paired_examples(
        _images(6, 0),
        _images(6, 1),
        ["a photo of a man"] * 6,
        ["a photo of a person"] * 6,
        groups=["masculine", "feminine"] * 3,
    )
    arms = vb.potential_outcomes(model, examples, mediators=["image_encoder"])
    frame = vb.effects(arms, by="group", n_boot=200, seed=3)
    whole = vb.effects(arms, n_boot=50)
    wide = arms[arms["mediator"] == ""].pivot(index="sample_id", columns="arm", values="value")
    total = whole[(whole["effect"] == "TE") & (whole["mediator"] == "")]["estimate"].item()
    assert total == pytest.approx((wide["11"] - wide["00"]).mean(), abs=1e-12)
    named = frame[frame["mediator"] == "image_encoder"].pivot(
        index="group", columns="effect", values="estimate"
    )
    np.testing.assert_allclose(named["TE"], named["NDE"] + named["NIE"] + named["INT"], atol=1e-9)
    assert "feminine - masculine" in named.index
    again = vb.effects(arms, by="group", n_boot=200, seed=3)
    assert frame.equals(again)


def test_image_encoder_is_a_cut_when_only_the_image_changes(load: Callable[[str], Any]) -> None:
    examples = vb.paired_examples(_images(4, 0), _images(4, 1), ["a photo of a man"] * 4)
    arms = vb.potential_outcomes(load("dinov2-bert"), examples, mediators=["image_encoder"])
    frame = vb.effects(arms, n_boot=20)
    rows = frame[frame["mediator"] == "image_encoder"].set_index("effect")
    assert rows["cut"].all()
    assert rows.loc["NDE", "estimate"] == 0
    assert rows.loc["NIE", "estimate"] == rows.loc["TE", "estimate"] != 0


def test_bad_calls_say_what_is_wrong(load: Callable[[str], Any]) -> None:
    with pytest.raises(BadData, match="lengths differ"):
        vb.paired_examples(_images(2, 0), _images(1, 0), ["a", "b"])
    examples = vb.paired_examples(_images(2, 0), _images(2, 1), ["a photo"] * 2)
    arms = vb.potential_outcomes(load("dinov2-bert"), examples)
    with pytest.raises(BadStudy, match="shoe size"):
        vb.effects(arms, by="shoe size")


@pytest.mark.integration
@pytest.mark.parametrize(
    "before",
    [
        "import vlbias.report.page",
        *(pytest.param(code, marks=pytest.mark.slow) for code in ("", "vb.run")),
    ],
)
def test_report_can_be_called_whatever_was_imported_before(tmp_path: Path, before: str) -> None:
    """The package `vlbias.report` and the public function have one name: both can be called."""
    script = f"import vlbias as vb; {before or 'pass'}; vb.report({str(tmp_path)!r})"
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert "is no run folder" in answer.stderr.splitlines()[-1]
