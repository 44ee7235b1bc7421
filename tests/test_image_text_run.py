"""Studies of a generative model: presence from questions, choices about photos, a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_photos
from explained import unexplained
from tiny_image_text import photos as noise
from tiny_image_text import write_image_text

from vlbias.errors import BadStudy
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle

pytestmark = pytest.mark.integration

SITES = '"image_encoder", "text_embedding", "lm/attn.*", "lm/resid.1@image", "lm/head.1[*]"'
CHANGES = {
    'mediators = ["image_encoder", "text_encoder", "image_encoder/head.*[*]", "text_encoder/mlp.*"]': (
        f'mediators = [{SITES}]\nprompt = "question+person"\nobjects = ["bicycle", "umbrella"]'
    ),
    'splits = ["dev", "test"]': 'splits = ["dev", "test"]\nlimit = 8',
    "[operating_point]": '[question]\norder = "reversed"\n\n[operating_point]',
}
KILLED = (
    "import sys; from pathlib import Path; import torch; torch.set_num_threads(1); import killed_runs; "
    "from vlbias.studies import lifecycle; killed_runs.between_cells(); lifecycle.run(*sys.argv[1:])"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image_text("llava", tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: Path, photos: Path) -> Path:
    """The run folder of a study that was killed behind its first cell, and resumed."""
    out = tmp_path_factory.mktemp("generative")
    study = tiny_photos.write_study(out / "study.toml", model, photos, **CHANGES)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(study), str(out)], cwd=Path(__file__).parent, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    left = list((out / "tiny" / "cells").glob("*.parquet"))
    assert len(left) == 1
    result = lifecycle.run(study, out)
    assert (result.skipped, result.done) == (1, 1)
    return result.folder


def test_presence_is_the_odds_of_yes(folder: Path) -> None:
    run = Run(folder)
    assert run.missing == []
    assert tuple(run.targets) == ("bicycle", "umbrella")
    null = run.slab("null->both", "", "00")
    assert np.isfinite(null).all()
    # a question and a photo that change nothing have exactly no effect
    for mediator in run.mediators("null->null"):
        for arm in ("01", "10"):
            np.testing.assert_array_equal(run.slab("null->null", mediator, arm), null)


def test_stages_part_the_total_into_photo_and_question(folder: Path) -> None:
    run = Run(folder)
    for stage, world in (("image_encoder", "mask-gender"), ("text_embedding", "replace-gender")):
        swapped = run.slab("null->both", stage, "01")
        np.testing.assert_allclose(swapped, run.slab(f"null->{world}", "", "11"), rtol=0, atol=1e-5)


def test_how_it_was_asked_is_part_of_the_run(folder: Path) -> None:
    run = Run(folder)
    assert run.manifest["study"]["question"]["order"] == "reversed"
    assert "reversed" in run.manifest["paper_unknowns"]["U2 prompt"]


def test_the_page_explains_itself(folder: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from vlbias.cli import app

    answer = CliRunner().invoke(app, ["report", str(folder), "--out", str(tmp_path)])
    assert answer.exit_code == 0, (answer.output, answer.exc_info)
    assert unexplained(tmp_path / "tables") == set()


@pytest.mark.parametrize("field", ["order", "instruction", "template"])
def test_the_question_goes_into_the_key(
    tmp_path: Path, model: Path, photos: Path, field: str
) -> None:
    plain = {key: text for key, text in CHANGES.items() if key != "[operating_point]"}
    value = {"order": "reversed", "instruction": "", "template": "plain"}[field]
    asked = {**plain, "[operating_point]": f'[question]\n{field} = "{value}"\n\n[operating_point]'}
    keys = []
    for number, changes in enumerate((plain, asked)):
        study = tiny_photos.write_study(tmp_path / f"{number}.toml", model, photos, **changes)
        keys.append(lifecycle.read_study(study).keyed())
    assert keys[0] != keys[1]


def test_a_dual_encoder_answers_no_questions(
    tmp_path: Path, model_folder: Callable[[str], Path], photos: Path
) -> None:
    changes = {"[operating_point]": "[question]\n\n[operating_point]"}
    study = tiny_photos.write_study(
        tmp_path / "study.toml", model_folder("dinov2-bert"), photos, **changes
    )
    with pytest.raises(BadStudy, match="answers no questions"):
        lifecycle.make_plan(lifecycle.read_study(study))


def test_a_prompt_that_asks_nothing_is_refused(tmp_path: Path, model: Path, photos: Path) -> None:
    changes = {old: new.replace("question+person", "template") for old, new in CHANGES.items()}
    study = tiny_photos.write_study(tmp_path / "study.toml", model, photos, **changes)
    with pytest.raises(BadStudy, match="a question, which llava answers"):
        lifecycle.make_plan(lifecycle.read_study(study))


def test_a_study_that_is_begun_for_one_asks(tmp_path: Path, model: Path, photos: Path) -> None:
    from typer.testing import CliRunner

    from vlbias.cli import app

    out = tmp_path / "study.toml"
    answer = CliRunner().invoke(
        app, ["init", str(photos), "--model", str(model), "--out", str(out)]
    )
    assert answer.exit_code == 0, (answer.output, answer.exc_info)
    assert 'prompt = "question+person"' in out.read_text()


def test_choices_about_a_photo_are_odds(tmp_path: Path, model: Path) -> None:
    """Texts of one's own with a photo each: the language kind, effects of its stages."""
    rows = []
    for i, picture in enumerate(noise(4)):
        picture.open().save(tmp_path / f"{i}.png")
        worlds = {
            "null": "a nurse in this photo . the person is a",
            "cf": "a man in this photo . the person is a",
        }
        span = {"null": "nurse", "cf": "man"}
        rows.append(
            {
                "id": str(i),
                "group": ("masculine", "feminine")[i % 2],
                "worlds": worlds,
                "span": span,
                "candidates": ["doctor", "teacher"],
                "image": f"{i}.png",
            }
        )
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    text = (
        f'kind = "language"\nname = "choices"\nmodel = "{model}"\ncontrasts = ["null->cf"]\n'
        'mediators = ["text_embedding", "lm/mlp.*", "lm/attn.1@word"]\n'
        '[dataset]\nname = "texts"\npath = "texts.jsonl"\n'
    )
    (tmp_path / "choices.toml").write_text(text)
    run = Run(lifecycle.run(tmp_path / "choices.toml", tmp_path / "out").folder)
    assert run.missing == []

    def slab(mediator: str, arm: str) -> Any:
        return run.slab("null->cf", mediator, arm, "log-odds")

    total = slab("", "11") - slab("", "00")
    assert np.abs(total).max() > 1e-3
    whole = slab("text_embedding", "01")
    np.testing.assert_allclose(whole, slab("", "11"), rtol=0, atol=1e-5)
