"""Worlds, and the examples that are made of a data set in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_layouts import coco_content, coco_people, write_coco, write_photo

from vlbias.causal.example import Example, channel_key
from vlbias.causal.region import mask_of
from vlbias.data.coco import read_coco
from vlbias.data.counterfactual_examples import WORLDS, World, channels_changed, make_examples
from vlbias.data.lexicon import changed_words, gender_words
from vlbias.data.own_photos import read_own
from vlbias.data.prompts import PROMPTS, Prompt, prompt_named
from vlbias.data.table import Dataset
from vlbias.errors import BadData, BadStudy, UnknownName


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return read_coco(write_coco(tmp_path / "coco", *coco_content()))


def texts(example: Example) -> dict[str, Any]:
    return {name: inputs["text"] for name, inputs in example.worlds.items()}


class TestWorld:
    @pytest.mark.parametrize(
        "wrong",
        [{"image": "mask"}, {"text": "swap"}, {"fill": "red"}, {"strength": 1.5},
         {"strength": -0.5}, {"region": "nose"}],
    )  # fmt: skip
    def test_fields_are_checked(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(BadStudy, match=next(iter(wrong))):
            World(**wrong)

    def test_channels_changed(self) -> None:
        def changed(a: str, b: str) -> set[str]:
            return set(channels_changed(WORLDS[a], WORLDS[b]))

        assert changed("null", "null") == set()
        assert changed("null", "mask-gender") == {"image"}
        assert changed("null", "replace-gender") == {"text"}
        assert changed("null", "both") == changed("null", "placebo-both") == {"image", "text"}
        assert changed("both", "replace-gender") == {"image"}
        assert changed("mask-gender", "placebo-image") == {"image"}
        assert set(channels_changed(World(), World(fill="black"))) == set()
        weak = replace(WORLDS["mask-gender"], strength=0.0)
        assert set(channels_changed(World(), weak)) == set()


class TestExamples:
    def test_ids_targets_and_attributes(self, dataset: Dataset) -> None:
        examples = make_examples(dataset, WORLDS)
        assert [e.id for e in examples] == [f"coco-val2017/{n}" for n in (10, 11, 12, 13)]
        first = examples[0]
        assert first.targets["present"] == {"person", "umbrella"}
        assert first.targets["size"] == (64, 48)
        assert first.targets["objects"][0] == ("person", 4.0, 4.0, 16.0, 34.0, False)
        assert first.attributes["group"] == "masculine"
        assert first.attributes["split"] == "test"
        assert first.attributes["words_changed"] == "1"
        assert float(first.attributes["masked_share"]) == pytest.approx(
            12 * 30 / (64 * 48), abs=1e-4
        )
        assert first.attributes["placebo_how"] == "same-shape"
        assert set(first.worlds) == set(WORLDS)
        assert not first.absent

    def test_template_worlds(self, dataset: Dataset) -> None:
        worlds = {**WORLDS, "swap": World(text="swap-gender")}
        man, _, woman, _ = make_examples(dataset, worlds)
        assert texts(man)["null"][2] == "a photo of a man with an umbrella"
        assert texts(woman)["null"][2] == "a photo of a woman with an umbrella"
        assert texts(man)["swap"] == texts(woman)["null"]
        assert texts(man)["replace-gender"] == texts(woman)["replace-gender"]
        assert texts(man)["replace-gender"][2] == "a photo of a person with an umbrella"
        assert texts(man)["placebo-text"][2] == "a picture of a man with an umbrella"

    @pytest.mark.parametrize("prompt", PROMPTS)
    def test_text_placebo_changes_as_many_words_and_no_gender_word(
        self, dataset: Dataset, prompt: str
    ) -> None:
        for example in make_examples(dataset, WORLDS, prompt):
            worlds = {
                n: t if isinstance(t, tuple) else (str(t),) for n, t in texts(example).items()
            }
            for null, neutral, placebo in zip(
                worlds["null"], worlds["replace-gender"], worlds["placebo-text"], strict=True
            ):
                n = int(example.attributes["words_changed"])
                assert changed_words(null, neutral) == changed_words(null, placebo) == n
                assert gender_words(neutral) == ((), ())
                assert gender_words(null) == gender_words(placebo)
            assert worlds["both"] == worlds["replace-gender"]
            assert worlds["mask-gender"] == worlds["placebo-image"] == worlds["null"]

    def test_image_placebo_fills_as_many_pixels_away_from_persons(self, dataset: Dataset) -> None:
        for example in make_examples(dataset, WORLDS):
            opened = {n: np.asarray(w["image"].open()) for n, w in example.worlds.items()}
            masked, placebo = (
                example.worlds[n]["image"].edits[0] for n in ("mask-gender", "placebo-image")
            )
            here, there = mask_of(masked.boxes, (64, 48)), mask_of(placebo.boxes, (64, 48))
            assert here.sum() == there.sum() > 0
            assert not (here & there).any()
            assert np.array_equal(opened["mask-gender"][~here], opened["null"][~here])
            assert np.array_equal(opened["placebo-image"][~there], opened["null"][~there])
            assert not np.array_equal(opened["mask-gender"], opened["null"])
            assert not np.array_equal(opened["placebo-image"], opened["null"])
            assert np.array_equal(opened["both"], opened["mask-gender"])

    def test_changes_that_should_not_matter_leave_the_persons_alone(self, dataset: Dataset) -> None:
        for example in make_examples(dataset, WORLDS):
            person = mask_of([(4.0, 4.0, 16.0, 34.0)], (64, 48))
            umbrella = mask_of([(40.5, 10.0, 50.5, 20.0)], (64, 48))
            null, blurred, masked = (
                np.asarray(example.worlds[name]["image"].open()).astype(int)
                for name in ("null", "background-blur", "object-mask")
            )
            assert np.array_equal(blurred[person], null[person])
            assert (blurred[~person] != null[~person]).any(-1).mean() > 0.5
            # weak: a photo of 48 px is blurred by a quarter of a pixel
            assert np.abs(blurred - null).mean() < 20
            assert np.array_equal(masked[~umbrella], null[~umbrella])
            assert len(np.unique(masked[umbrella], axis=0)) == 1
            assert example.worlds["object-mask"]["text"] == example.worlds["null"]["text"]

    def test_the_captions_that_gave_the_label_are_counted(self, dataset: Dataset) -> None:
        counts = [e.attributes["agreeing_captions"] for e in make_examples(dataset, WORLDS)]
        assert counts == ["3", "3", "2", "2"]

    def test_tiles_are_blurred_as_the_persons_are(self, tmp_path: Path) -> None:
        instances, captions = coco_content()
        instances["annotations"][0]["bbox"] = [20, 0, 24, 48]
        dataset = read_coco(write_coco(tmp_path, instances, captions))
        first, second, *_ = make_examples(dataset, WORLDS)
        assert first.attributes["placebo_how"] == "tiles"
        assert first.worlds["placebo-image"]["image"].edits[0].height == 48.0
        assert second.worlds["placebo-image"]["image"].edits[0].height is None

    def test_equal_inputs_are_the_same_objects(self, dataset: Dataset) -> None:
        worlds = {**WORLDS, "weak": World(image="mask-gender", strength=0.0)}
        one, two, *_ = make_examples(dataset, worlds)
        w = one.worlds
        assert w["both"]["image"] is w["mask-gender"]["image"]
        assert w["weak"]["image"] is w["null"]["image"]
        assert w["both"]["text"] is w["replace-gender"]["text"]
        assert w["null"]["text"] is two.worlds["null"]["text"]
        for a in worlds:
            for b in worlds:
                for channel in ("image", "text"):
                    equal = channel_key(w[a][channel]) == channel_key(w[b][channel])
                    assert equal == (channel not in channels_changed(worlds[a], worlds[b]))

    def test_the_same_call_gives_the_same_examples(self, dataset: Dataset) -> None:
        def keys(seed: int) -> list[object]:
            made = make_examples(dataset, WORLDS, seed=seed)
            return [channel_key(e.worlds["placebo-image"]["image"]) for e in made]

        assert keys(0) == keys(0)
        assert keys(0) != keys(1)

    def test_worlds_that_cannot_be_made_are_absent_with_a_reason(self, tmp_path: Path) -> None:
        instances, captions = coco_content()
        instances["annotations"][0]["bbox"] = [0, 0, 60, 48]  # a person nearly fills photo 10
        for caption in captions["annotations"]:
            if caption["id"] == 1000:
                caption["caption"] = "He skates."
        dataset = read_coco(write_coco(tmp_path, instances, captions))
        first = make_examples(dataset, WORLDS, "caption")[0]
        assert set(first.absent) == {"placebo-image", "placebo-text", "placebo-both"}
        assert "more than half" in first.absent["placebo-image"]
        assert "fewer than 1" in first.absent["placebo-text"]
        assert set(first.worlds) == set(WORLDS) - set(first.absent)

    def test_a_smaller_limit_is_part_of_a_larger(self, dataset: Dataset) -> None:
        two = {e.id for e in make_examples(dataset, WORLDS, limit=2)}
        three = {e.id for e in make_examples(dataset, WORLDS, limit=3)}
        assert len(two) == 2
        assert two < three
        assert len(make_examples(dataset, WORLDS, limit=99)) == 4
        with pytest.raises(BadStudy, match="limit"):
            make_examples(dataset, WORLDS, limit=0)

    def test_splits_and_groups(self, dataset: Dataset) -> None:
        made = make_examples(dataset, WORLDS, splits=["fit"], groups=["feminine"])
        assert {(e.attributes["split"], e.attributes["group"]) for e in made} == {
            ("fit", "feminine")
        }
        with pytest.raises(UnknownName, match="train"):
            make_examples(dataset, WORLDS, splits=["train"])

    def test_an_empty_group_is_named(self, dataset: Dataset) -> None:
        with pytest.raises(BadData, match=r"'feminine'.*masculine"):
            make_examples(dataset, WORLDS, splits=["test"], groups=["masculine", "feminine"])
        with pytest.raises(BadData, match="none given"):
            make_examples(dataset, WORLDS, groups=[])


class TestOwnGroups:
    words: Mapping[str, str] = {"young": "young person", "old": "elderly person", "child": "child"}

    def examples(self, tmp_path: Path, prompt: Prompt, *groups: str) -> list[Example]:
        lines = []
        for i, group in enumerate(groups):
            write_photo(tmp_path / f"{i}.jpg", (40, 40), i)
            record = {"image": f"{i}.jpg", "labels": ["cup"], "group": group, "text": "A nurse"}
            record["boxes"] = [["person", 2, 2, 12, 20]]
            lines.append(json.dumps(record))
        (tmp_path / "mine.jsonl").write_text("\n".join(lines))
        worlds = {**WORLDS, "swap": World(text="swap-gender")}
        return make_examples(read_own(tmp_path / "mine.jsonl"), worlds, prompt, groups=groups)

    def test_three_groups(self, tmp_path: Path) -> None:
        made = self.examples(tmp_path, prompt_named("template", self.words), "young", "old")
        old = made[1]
        assert texts(old)["null"][0] == "a photo of an elderly person with a cup"
        assert texts(old)["replace-gender"][0] == "a photo of a person with a cup"
        assert old.attributes["words_changed"] == "2"
        assert "swap" in old.absent

    def test_two_groups_are_swapped_for_each_other(self, tmp_path: Path) -> None:
        words = {"young": "young person", "old": "elderly person"}
        made = self.examples(tmp_path, prompt_named("template", words), "young", "old")
        assert texts(made[0])["swap"] == texts(made[1])["null"]


@pytest.fixture(scope="module")
def people() -> Dataset:
    return read_coco(coco_people())


class TestRealPhotos:
    def test_worlds_of_fifty_photos(self, people: Dataset) -> None:
        made = make_examples(people, WORLDS, splits=["dev"], limit=50)
        assert len(made) == 50
        for example in made:
            masked = example.worlds["mask-gender"]["image"].edits[0]
            size = example.targets["size"]
            here = mask_of(masked.boxes, size)
            null = np.asarray(example.worlds["null"]["image"].open())
            after = np.asarray(example.worlds["mask-gender"]["image"].open())
            assert np.array_equal(after[~here], null[~here])
            if "placebo-image" in example.worlds:
                placebo = example.worlds["placebo-image"]["image"].edits[0]
                there = mask_of(placebo.boxes, size)
                assert here.sum() == there.sum()
                assert not (here & there).any()
            else:
                assert example.absent["placebo-image"]

    def test_text_placebos_can_be_made_for_nearly_all_captions(self, people: Dataset) -> None:
        made = make_examples(people, {"placebo-text": WORLDS["placebo-text"]}, "caption")
        lacking = sum("placebo-text" in example.absent for example in made)
        assert lacking < 0.04 * len(made)
