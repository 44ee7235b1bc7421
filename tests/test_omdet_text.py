"""Texts of OmDet-Turbo: a text for each class behind its task, and where lists are cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_detectors import OMDET_LIMIT
from tiny_photos import CLASSES
from tiny_tokenizers import clip_tokenizer

from vlbias.causal.example import GroundedText
from vlbias.errors import BadModel, BadStudy
from vlbias.models.omdet.text import TaskReader, TaskText, apart

pytestmark = pytest.mark.integration


class TestTexts:
    def reader(self, limit: int = OMDET_LIMIT) -> TaskReader:
        return TaskReader("tiny", clip_tokenizer(("detect", "hot", "stop", "sign")), limit)

    def test_every_class_is_a_text_of_its_own_behind_the_task(self) -> None:
        reader = self.reader()
        pieces = reader.pieces(GroundedText("a man with a hot dog. ", ("dog", "hot dog")))
        assert pieces == (
            TaskText("a man with a hot dog. Detect dog, hot dog.", ("dog", "hot dog"), 0, 2),
        )
        batch, tokenizer = reader.read(pieces), reader.tokenizer
        texts = ["a man with a hot dog. detect dog, hot dog.", "dog", "hot dog"]
        for number, text in enumerate(texts):
            own = batch["text"][0] == number
            assert batch["input_ids"][0, own].tolist() == tokenizer(text)["input_ids"]
            assert batch["place"][0, own].tolist() == list(range(int(own.sum())))
        assert bool((batch["input_ids"][0, batch["end"][0]] == tokenizer.eos_token_id).all())
        assert batch["text"][0, batch["end"][0]].tolist() == [1, 2]

    def test_rows_of_fewer_classes_repeat_their_first(self) -> None:
        reader = self.reader()
        batch = reader.read(
            [
                TaskText("Detect cup, dog.", ("cup", "dog"), 0, 3),
                TaskText("Detect a.", ("a",), 2, 3),
            ]
        )
        assert batch["owner"].tolist() == [[0, 1], [2, 2]]
        assert batch["end"][1].unique().numel() == 1

    def test_no_token_sees_another_text(self) -> None:
        mask = apart(torch.tensor([[0, 0, 1, 1, -1]]), torch.float32)[0, 0]
        assert [[int(seen == 0) for seen in row] for row in mask] == [
            [1, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [0, 0, 1, 0, 0],
            [0, 0, 1, 1, 0],
            [0, 0, 0, 0, 1],
        ]

    def test_a_cut_depends_on_no_caption_and_no_list_on_the_texts_of_a_tuple(self) -> None:
        reader, names = self.reader(), ("dog", "cup", "horse", "umbrella") * 3
        cuts = [
            [piece.names for piece in reader.pieces(GroundedText(before, names))]
            for before in ("", "a very big man. ")
        ]
        assert cuts[0] == cuts[1]
        assert len(cuts[0]) == 2
        alone = reader.pieces(("a man with a dog", "a cup"))
        assert [(p.task, p.names, p.first) for p in alone] == [
            ("Detect a man with a dog.", ("a man with a dog",), 0),
            ("Detect a cup.", ("a cup",), 1),
        ]

    def test_texts_beyond_the_limit_are_refused(self) -> None:
        reader = self.reader()
        caption = GroundedText("a very " * 24 + "big man. ", CLASSES)
        with pytest.raises(BadModel, match="reads 48"):
            reader.read(reader.pieces(caption))
        with pytest.raises(BadModel, match="class name"):
            reader.pieces(GroundedText("", ("cup", "a very " * 12 + "big dog")))
        with pytest.raises(BadModel, match="48"):
            reader.read([TaskText("Detect it.", ("a very " * 24 + "big dog",), 0, 1)])

    @pytest.mark.parametrize("text", [GroundedText("", ("cup", " ")), ("cup", "")])
    def test_empty_class_names_are_refused(self, text: Any) -> None:
        with pytest.raises(BadStudy, match="objects"):
            self.reader().pieces(text)

    def test_class_names_the_tokenizer_does_not_know_are_refused(self) -> None:
        reader = self.reader()
        with pytest.raises(BadModel, match="hot quiz"):
            reader.read(reader.pieces(GroundedText("", ("hot quiz", "hot dog"))))

    def test_texts_that_ask_for_different_classes_are_refused(self) -> None:
        reader = self.reader()
        texts = GroundedText("", ("dog",)), GroundedText("", ("dog", "cup"))
        with pytest.raises(BadModel, match="classes"):
            reader.read([reader.pieces(text)[0] for text in texts])

    def test_a_tokenizer_of_another_model_is_refused(self) -> None:
        tokenizer = clip_tokenizer()
        tokenizer.add_tokens(["<extra>"])
        with pytest.raises(BadModel, match="highest"):
            TaskReader("tiny", tokenizer, 48)
