from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vlbias.errors import BadStudy
from vlbias.studies.bias.study import Study
from vlbias.studies.lifecycle import read_study

FULL = """
name = "full"
model = "clip-vit-b32"
device = "cuda:1"
dtype = "bfloat16"
prompt = "caption"
contrasts = ["null->both", "null->grey"]
unmediated = ["both->grey"]
mediators = ["image_encoder", "image_encoder/head.*[*]"]
outcomes = ["match"]
objects = ["cup", "dog"]
min_group = 5
shard_size = 3
mediator_batch = 7
keep_boxes = 30
screen = 0.5
seed = 11

[racing]
keep = 3

[regions]
own = "boxes.json"

[dataset]
name = "own"
path = "photos.csv"
splits = ["test"]
groups = ["a", "b", "c"]
limit = 9

[dataset.labels]
words = "zhao2017"
min_captions = 3
dominance = 1.5

[worlds.null]

[worlds.both]
image = "mask-gender"
text = "swap-gender"
fill = "mean"

[worlds.grey]
image = "placebo"
strength = 0.5

[question]
order = "reversed"

[operating_point]
rule = "given"
split = "test"
report = ["test"]
thresholds = {cup = 1.5, dog = -0.5}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(text)
    return path


def test_every_key_of_the_file_reaches_the_study(tmp_path: Path) -> None:
    study = Study.load(write(tmp_path, FULL))
    assert study.device == "cuda:1"
    assert study.dataset.path == tmp_path / "photos.csv"
    assert study.regions == {"own": str(tmp_path / "boxes.json")}
    assert study.dataset.labels.rule().dominance == 1.5
    assert study.worlds["grey"].world().strength == 0.5
    assert study.operating_point.thresholds == {"cup": 1.5, "dog": -0.5}
    assert [pair.name for pair in study.pairs] == ["null->both", "null->grey", "both->grey"]
    defaults = Study(name="x", model="toy").model_dump()
    same = {key for key, value in study.model_dump().items() if value == defaults[key]}
    assert same == {"kind"}, "the file above must set every key to something else"


def test_a_study_survives_the_manifest(tmp_path: Path) -> None:
    study = Study.load(write(tmp_path, FULL))
    assert Study.parse(json.loads(json.dumps(study.model_dump(mode="json")))) == study


@pytest.mark.parametrize(
    ("text", "field", "suggested"),
    [
        ('modle = "toy"', "modle", "model"),
        ('contrast = ["null->both"]', "contrast", "contrasts"),
        ("[dataset]\nsplit = ['dev']", "dataset.split", "splits"),
        ("[dataset.labels]\nmin_caption = 2", "dataset.labels.min_caption", "min_captions"),
        ("[operating_point]\ntreshold = 1", "operating_point.treshold", "thresholds"),
        ("[worlds.null]\nimag = 'placebo'", "worlds.null.imag", "image"),
    ],
)
def test_misspelt_keys_are_named_with_a_suggestion(
    tmp_path: Path, text: str, field: str, suggested: str
) -> None:
    head = 'name = "x"\n' if "modle" in text else 'name = "x"\nmodel = "toy"\n'
    with pytest.raises(BadStudy, match=f"did you mean '{suggested}'") as caught:
        Study.load(write(tmp_path, head + text))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "field", "given"),
    [
        ('contrasts = ["null-both"]', "contrasts", "null-both"),
        ('contrasts = ["null->bth"]', "contrasts", "null->bth"),
        ('contrasts = ["->both"]', "contrasts", "->both"),
        ('contrasts = ["null->both", "null->both"]', "contrasts", ["null->both", "null->both"]),
        ('unmediated = ["null->both"]', "unmediated", ["null->both"]),
        ('mediators = "image_encoder"', "mediators", "image_encoder"),
        ('seed = "one"', "seed", "one"),
        ("shard_size = 0", "shard_size", 0),
        ('dtype = "float16"', "dtype", "float16"),
        ('name = "../elsewhere"', "name", "../elsewhere"),
        ('name = "a/b"', "name", "a/b"),
        ("[dataset]\nsplits = ['train']", "dataset.splits.0", "train"),
        ("[operating_point]\nvalue = 1.5", "operating_point.value", 1.5),
        ("[worlds.null]\n[worlds.both]\nfill = 'red'", "worlds.both.fill", "red"),
        ("[dataset.labels]\nwords = 'mine'", "dataset.labels.words", "mine"),
    ],
)
def test_values_that_cannot_be_are_named(
    tmp_path: Path, text: str, field: str, given: object
) -> None:
    head = "" if text.startswith("name") else 'name = "x"\n'
    with pytest.raises(BadStudy) as caught:
        Study.load(write(tmp_path, head + 'model = "toy"\n' + text))
    assert caught.value.field == field
    assert caught.value.given == given


def test_a_world_that_is_misspelt_in_a_contrast_is_suggested(tmp_path: Path) -> None:
    text = 'name = "x"\nmodel = "toy"\ncontrasts = ["null->mask-gendr"]'
    with pytest.raises(BadStudy, match="did you mean 'mask-gender'"):
        Study.load(write(tmp_path, text))


@pytest.mark.parametrize("key", ["name", "model"])
def test_required_keys(tmp_path: Path, key: str) -> None:
    text = FULL.replace(f"{key} =", f"# {key} =", 1)
    with pytest.raises(BadStudy) as caught:
        Study.load(write(tmp_path, text))
    assert caught.value.field == key


def unreadable(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "latin.toml").write_bytes('name = "é"'.encode("latin-1"))
    return {
        "absent": tmp_path / "absent.toml",
        "folder": tmp_path,
        "no toml": write(tmp_path, "name = "),
        "latin": tmp_path / "latin.toml",
    }


@pytest.mark.parametrize("which", ["absent", "folder", "no toml", "latin"])
def test_files_that_are_no_study(tmp_path: Path, which: str) -> None:
    path = unreadable(tmp_path)[which]
    with pytest.raises(BadStudy) as caught:
        Study.load(path)
    assert (caught.value.field, caught.value.given) == ("file", str(path))


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    text = 'name = "x"\nmodel = "./model"\n[dataset]\npath = "photos"'
    study = Study.load(write(tmp_path, text))
    assert Path(study.model) == tmp_path.resolve() / "model"
    assert study.dataset.path == tmp_path / "photos"
    with pytest.raises(BadStudy) as caught:
        Study.load(write(tmp_path, text.replace("./model", "../nowhere")))
    assert caught.value.given == "../nowhere"


def test_paths_of_a_run_do_not_hang_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run started as `vlbias run study.toml` is resumed from anywhere."""
    (tmp_path / "model").mkdir()
    write(tmp_path, 'name = "x"\nmodel = "model"\n[dataset]\npath = "photos"')
    monkeypatch.chdir(tmp_path)
    study = Study.load(Path("study.toml"))
    assert Path(study.model).is_absolute()
    assert study.dataset.path is not None
    assert study.dataset.path.is_absolute()


def test_a_study_cannot_be_changed_in_place() -> None:
    study: Any = Study(name="x", model="toy")
    with pytest.raises(ValueError, match="frozen"):
        study.seed = 1


def test_another_model_is_taken_where_the_file_s_own_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, 'name = "x"\nmodel = "../build/reference-dual"\n')
    with pytest.raises(BadStudy, match="a folder that exists"):
        read_study(path)
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_study(path, model="mine").model == str(tmp_path / "mine")
    assert read_study(path, model="toy").model == "toy"
