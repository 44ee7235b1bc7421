"""Texts of Grounding DINO: which tokens belong to which class, and where lists are cut."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_detectors import SEPARATORS, bert_tokenizer
from tiny_photos import CLASSES

from vlbias.causal.example import GroundedText
from vlbias.errors import BadModel, BadStudy
from vlbias.models.phrases import PhraseReader

pytestmark = pytest.mark.integration


class TestTexts:
    def reader(self, limit: int = 48) -> PhraseReader:
        return PhraseReader("tiny", bert_tokenizer(), limit, tuple(SEPARATORS))

    def words(self, text: Any, reader: PhraseReader | None = None) -> list[dict[int, str]]:
        """The words of each class, piece by piece."""
        reader = reader or self.reader()
        pieces = reader.pieces(text)
        batch, found = reader.read(pieces), []
        for ids, roles in zip(batch["input_ids"], batch["roles"], strict=True):
            classes = sorted({int(role) for role in roles if role >= 0})
            found.append({k: reader.tokenizer.decode(ids[roles == k]) for k in classes})
        return found

    def test_classes_keep_their_own_tokens_beside_a_caption_that_names_them(self) -> None:
        text = GroundedText("a man with a hot dog. ", ("dog", "hot dog", "stop sign"))
        assert self.words(text) == [{0: "dog", 1: "hot dog", 2: "stop sign"}]
        batch = self.reader().read(self.reader().pieces(text))
        # [CLS] and seven words with their stop come before the first class
        assert (batch["roles"][0] == 0).nonzero().tolist() == [[8]]
        assert batch["input_ids"].tolist() == self.reader().tokenizer([str(text)])["input_ids"]

    def test_a_list_that_is_too_long_is_cut_into_even_pieces(self) -> None:
        names = ("dog", "hot dog", "cup", "horse", "bicycle", "umbrella", "stop sign", "person")
        reader = self.reader(limit=20)
        found = self.words(GroundedText("a man. ", names), reader)
        assert len(found) == 2
        assert {k: v for piece in found for k, v in piece.items()} == dict(enumerate(names))
        batch = reader.read(reader.pieces(GroundedText("a man. ", names)))
        assert batch["classes"].tolist() == [8, 8]
        # the cut must not depend on the caption
        others = self.words(GroundedText("", names), reader)
        assert [list(piece) for piece in others] == [list(piece) for piece in found]

    def test_a_list_that_fits_is_not_cut(self) -> None:
        names = ("dog", "cup", "horse", "bicycle", "umbrella", "person")
        pieces = self.reader(limit=20).pieces(GroundedText("a man. ", names))
        # of 20 tokens 5 are kept for a caption, two stand around the text, each name has its stop
        assert len(pieces) == 1
        assert len(self.reader(limit=20).pieces(GroundedText("", (*names, "stop sign")))) == 2

    def test_a_tuple_holds_one_phrase_per_class_and_a_plain_text_is_one(self) -> None:
        assert self.words(("a man with a dog", "a cup")) == [{0: "a man with a dog", 1: "a cup"}]
        assert self.words("a man with a dog") == [{0: "a man with a dog"}]

    def test_texts_end_in_a_full_stop(self) -> None:
        """Without one, the library reads the last words differently where padding follows."""
        for text in ("a man with a dog", GroundedText("", ("dog",), " with a man")):
            ids = self.reader().read(self.reader().pieces(text))["input_ids"][0].tolist()
            assert ids[-2:] == [1012, 102]

    def test_a_text_beyond_the_limit_is_refused(self) -> None:
        reader = self.reader(limit=16)
        with pytest.raises(BadModel, match="reads 16"):
            reader.read(reader.pieces(GroundedText("a very " * 8 + "big man. ", CLASSES)))

    @pytest.mark.parametrize("phrase", ["st. dog", "dog?", " "])
    def test_class_names_that_would_be_torn_are_refused(self, phrase: str) -> None:
        with pytest.raises(BadStudy, match="objects"):
            self.reader().pieces(GroundedText("", ("cup", phrase)))

    def test_class_names_the_tokenizer_does_not_know_are_refused(self) -> None:
        reader = self.reader()
        with pytest.raises(BadModel, match="hot zebra"):
            reader.read(reader.pieces(GroundedText("", ("hot zebra", "hot dog"))))

    def test_texts_that_ask_for_different_classes_are_refused(self) -> None:
        reader = self.reader()
        texts = GroundedText("", ("dog",)), GroundedText("", ("dog", "cup"))
        with pytest.raises(BadModel, match="classes"):
            reader.read([reader.pieces(text)[0] for text in texts])

    def test_a_tokenizer_of_another_model_is_refused(self) -> None:
        with pytest.raises(BadModel, match="separates"):
            PhraseReader("tiny", bert_tokenizer(), 48, (1, 2, 3, 4))
