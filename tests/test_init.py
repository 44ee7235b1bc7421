"""`vlbias init` and `vlbias check`: a study for what somebody has, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from data_layouts import coco_content, write_coco, write_own, write_photo, write_voc
from typer.testing import CliRunner, Result

from vlbias import cli
from vlbias.errors import BadData, UnknownName
from vlbias.studies.bias.init import recognise
from vlbias.studies.lifecycle import load_study

MODEL = "dinov2-bert"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def begun(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> Callable[..., tuple[Result, Path]]:
    def run(data: Path, model: str | Path | None = None) -> tuple[Result, Path]:
        out = tmp_path / "studies" / "mine.toml"
        out.parent.mkdir(exist_ok=True)
        return call("init", data, "--model", model or model_folder(MODEL), "--out", out), out

    return run


Begun = Callable[..., tuple[Result, Path]]


def test_own_photos_with_boxes_get_all_worlds(begun: Begun, tmp_path: Path) -> None:
    header = ("image", "group", "labels", "text", "boxes")
    data = write_own(tmp_path / "photos", header, groups=("masculine", "feminine"))
    result, out = begun(data)
    assert result.exit_code == 0, result.exception
    assert f"next: vlbias check {out}" in result.stdout
    study = load_study(out)
    assert study.prompt == "template"
    assert "null->both" in study.contrasts
    assert study.dataset.path is not None
    assert study.dataset.path.resolve() == (data / "photos.csv").resolve()
    assert study.dataset.groups == ("masculine", "feminine")
    assert {"image_encoder/head.*[*]", "text_encoder/mlp.*"} <= set(study.mediators)
    assert study.min_group == 6
    assert all("#" in line for line in out.read_text().splitlines() if line.startswith('  "null'))


def test_a_study_asks_only_what_the_data_can_answer(begun: Begun, tmp_path: Path) -> None:
    with_text = write_own(tmp_path / "text", ("image", "group", "labels", "text"))
    result, out = begun(with_text)
    study = load_study(out)
    assert study.prompt == "caption+class", "no word stands for these groups in a template"
    assert set(study.contrasts) == {"null->replace-gender", "null->placebo-text", "null->null"}
    assert "no image world is asked for" in result.stdout
    out.unlink()
    bare = write_own(tmp_path / "bare", ("image", "group", "labels"))
    result, out = begun(bare)
    assert load_study(out).contrasts == ("null->null",)
    assert load_study(out).prompt == "template-neutral"
    assert "no word stands for the groups man, woman" in result.stdout


def test_slips_in_an_own_table_are_named(begun: Begun, tmp_path: Path) -> None:
    header = ("image", "group", "labels", "text", "boxes")
    data = write_own(tmp_path / "photos", header, groups=("masculine", "feminine"))
    table = data / "photos.csv"
    text = table.read_text().replace("boxes", "box", 1).replace(",feminine,", ",feminin,", 1)
    table.write_text(text)
    result, out = begun(data)
    assert "1 photos of group 'feminin': is 'feminine' meant?" in result.stdout
    assert "columns that are not read: 'box' ('boxes'?)" in result.stdout
    assert load_study(out).min_group == 2, "a group of one photo must not switch the guard off"
    assert "prompts are your captions" in result.stdout


def test_coco_and_pascal_are_recognised(tmp_path: Path, begun: Begun) -> None:
    coco = write_coco(tmp_path / "coco", *coco_content(), official=True)
    assert recognise(coco) == ("coco", coco)
    voc = write_voc(tmp_path / "voc")
    assert recognise(voc) == ("pascal-sentence", voc)
    result, out = begun(coco)
    assert result.exit_code == 0, result.exception
    study = load_study(out)
    assert (study.dataset.name, study.dataset.labels.held_out) == ("coco", 1)
    assert study.operating_point.report == ("test",)


def test_detectors_get_prompts_that_list_classes(
    begun: Begun, tmp_path: Path, model_folder: Callable[[str], Path]
) -> None:
    import tiny_detectors

    name = next(iter(tiny_detectors.DETECTORS))
    coco = write_coco(tmp_path / "coco", *coco_content())
    _, out = begun(coco, model_folder(name))
    study = load_study(out)
    assert study.prompt == "template+categories"
    assert study.keep_boxes == 100
    assert not any("/" in site for site in study.mediators)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (("file", "gender", "labels"), ["'file' to 'image'", "'gender' to 'group'"]),
        (("image", "sex", "labels", "caption"), ["'sex' to 'group'", "'caption' to 'text'"]),
        (("image", "group", "text"), ["labels (or boxes)"]),
        (("image", "labels", "text"), ["group (or captions"]),
    ],
)
def test_other_names_of_columns_are_answered_with_the_right_ones(
    header: Sequence[str], said: Sequence[str], begun: Begun, tmp_path: Path
) -> None:
    result, out = begun(write_own(tmp_path / "photos", header))
    assert isinstance(result.exception, BadData)
    for words in said:
        assert words in str(result.exception)
    assert not out.exists()


def test_what_no_reader_knows_is_said(begun: Begun, tmp_path: Path) -> None:
    write_photo(tmp_path / "loose" / "a.jpg", (8, 8))
    result, _ = begun(tmp_path / "loose")
    assert "1 photos and no table" in str(result.exception)
    assert "image,group,labels" in str(result.exception), "an example to copy"
    assert isinstance(begun(tmp_path / "absent")[0].exception, BadData)
    two = write_own(tmp_path / "two", ("image", "group", "labels"))
    (two / "more.csv").write_text((two / "photos.csv").read_text())
    assert "several tables" in str(begun(two)[0].exception)
    one_group = write_own(tmp_path / "one", ("image", "group", "labels"), groups=("all",))
    assert "a gap needs two" in str(begun(one_group)[0].exception)


def test_init_overwrites_nothing_and_knows_the_model_first(begun: Begun, tmp_path: Path) -> None:
    data = write_own(tmp_path / "photos", ("image", "group", "labels"))
    assert isinstance(begun(data, "clip-vit-b23")[0].exception, UnknownName)
    _, out = begun(data)
    before = out.read_text()
    result, _ = begun(data)
    assert "there already" in str(result.exception)
    assert out.read_text() == before


def remarks(path: Path) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for remark in json.loads(call("check", path, "--json").stdout):
        found.setdefault(remark["about"], []).append((remark["verdict"], remark["text"]))
    return found


def test_check_finds_nothing_wrong_with_what_init_wrote(begun: Begun, tmp_path: Path) -> None:
    header = ("image", "group", "labels", "text", "boxes")
    data = write_own(tmp_path / "photos", header, groups=("masculine", "feminine"))
    _, out = begun(data)
    result = call("check", out)
    assert result.exit_code == 0, result.stdout
    assert f"next: vlbias run {out} --dry-run" in result.stdout
    found = remarks(out)
    assert found["whole"][0][0] == "ok"
    (verdict, text) = found["size"][0]
    assert verdict == "note", "twelve photos show nothing"
    assert "insufficient" in text


def test_check_names_every_mistake_at_once(begun: Begun, tmp_path: Path) -> None:
    data = write_own(tmp_path / "photos", ("image", "group", "labels"))
    _, out = begun(data)
    text = out.read_text().replace("image_encoder/attn.*", "image_encodr/attn.*")
    out.write_text(text.replace("photos.csv", "fotos.csv"))
    found = remarks(out)
    assert found["mediators"][0][0] == "wrong"
    assert "image_encoder" in found["mediators"][0][1]
    assert found["data"][0][0] == "wrong"
    assert "fotos.csv" in found["data"][0][1]
    result = call("check", out)
    assert result.exit_code == 1
    assert "to repair: 2" in result.stdout
    out.write_text("name = 3")
    assert remarks(out)["file"][0][0] == "wrong"


def test_check_says_where_a_world_takes_nothing_out(begun: Begun, tmp_path: Path) -> None:
    header = ("image", "group", "labels", "text")
    data = write_own(tmp_path / "photos", header, groups=("older", "younger"))
    _, out = begun(data)
    found = remarks(out)
    verdict, text = found["null->replace-gender"][0]
    assert verdict == "note"
    assert "12 of 12 photos are the same in both worlds" in text


def test_check_takes_a_photo_that_cannot_be_opened_for_wrong(begun: Begun, tmp_path: Path) -> None:
    data = write_own(tmp_path / "photos", ("image", "group", "labels"))
    _, out = begun(data)
    photo = data / "3.jpg"
    photo.write_bytes(photo.read_bytes()[:300])
    wrong: Any = [text for pairs in remarks(out).values() for v, text in pairs if v == "wrong"]
    assert any("3.jpg" in text for text in wrong)


@pytest.mark.parametrize("splits", [("dev", "test"), ("test",), ("fit", "test"), ("fit", "dev")])
@pytest.mark.parametrize("name", ["my study [1].toml"])
def test_every_study_that_is_begun_can_be_run(
    model_folder: Callable[[str], Path], tmp_path: Path, name: str, splits: tuple[str, ...]
) -> None:
    data = write_own(tmp_path / "photos [a b]", ("image", "group", "labels", "boxes"))
    rows = (data / "photos.csv").read_text().splitlines()
    ends = ["split", *(splits[i // 2 % len(splits)] for i in range(len(rows) - 1))]
    text = "\n".join(f"{row},{end}" for row, end in zip(rows, ends, strict=True))
    (data / "photos.csv").write_text(text)
    out = tmp_path / name
    result = call("init", data, "--model", model_folder(MODEL), "--out", out)
    assert result.exit_code == 0, result.exception
    assert f"next: vlbias check '{out}'" in result.stdout
    found = remarks(out)
    assert not [one for some in found.values() for one in some if one[0] == "wrong"], found
    assert load_study(out).dataset.splits == splits


def test_what_no_command_would_take_for_a_study_is_not_begun(tmp_path: Path) -> None:
    result = call("init", tmp_path, "--model", "toy", "--out", tmp_path / "study [1")
    assert isinstance(result.exception, BadData)
    assert ".toml" in str(result.exception)
