"""WinoBias and Winogender: whom does a pronoun make the model expect? (Vig et al. 2020, section 4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlbias.causal.cloze import Cloze
from vlbias.causal.example import Example
from vlbias.data.text_files import lines_of
from vlbias.data.texts import Texts, make_texts, texts_folder
from vlbias.errors import BadData

__all__ = ["read_winobias", "read_winogender"]

Statistic = Literal["bls", "bergsma"]
_SWAPPED = {"she": "he", "her": "his"}
_NEUTRAL = {"she": "they", "her": "their"}
_BRACKETS = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class _Half:
    """One of two sentences that share all up to a pronoun."""

    prefix: str
    pronoun: str
    continuation: str
    referent: str


def read_winobias(path: Path | None, *, they: bool = False) -> Texts:
    """Type-1 sentences of WinoBias in pairs: the same beginning, two continuations.

    The null world ends in "she" (or "her"), the world swap-gender in "he" ("his"). Candidates are the
    continuation whose referent is the male-typed occupation ("anti") and the other one ("stereo").

    Args:
        path: Folder that holds winobias/, or the files themselves; the package's small set if None.
        they: Make a third world "they", whose prompt ends in the singular "they" ("their").

    Raises:
        BadData: if a file is missing or lines do not come in pairs.
    """
    folder = _inside(texts_folder(path), "winobias")
    examples: list[Example] = []
    funnel: dict[str, dict[str, int]] = {}
    for split in ("dev", "test"):
        found, pairs = _winobias_split(folder, split, they)
        examples += found
        funnel[split] = {"pairs": pairs, "skipped": pairs - len(found), "examples": len(found)}
    meta = {"reader": "winobias", "source": "pro_stereotyped_type1.txt", "funnel": funnel}
    return make_texts(examples, ("anti", "stereo"), meta)


def _winobias_split(folder: Path, split: str, they: bool) -> tuple[list[Example], int]:
    name = f"pro_stereotyped_type1.txt.{split}"
    lines = lines_of(folder / name)
    male = {line.strip().lower() for line in lines_of(folder / "male_occupations.txt")}
    female = {line.strip().lower() for line in lines_of(folder / "female_occupations.txt")}
    if len(lines) % 2:
        raise BadData(f"{folder / name} has {len(lines)} lines, expected pairs")
    examples = []
    for number in range(0, len(lines), 2):
        halves = [_winobias_half(line) for line in lines[number : number + 2]]
        pair = _paired(halves, male, female)
        if pair is not None:
            name = f"winobias-{split}/{number + 1}"
            examples.append(_coreference(name, *pair, split=split, they=they))
    return examples, len(lines) // 2


def _inside(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_dir() else folder


def _winobias_half(line: str) -> _Half | None:
    sentence = line.strip().partition(" ")[2]
    found = _BRACKETS.findall(sentence)
    if len(found) != 2 or "him" in found:
        return None
    referent, pronoun = found
    before, _, after = sentence.partition(f"[{pronoun}]")
    prefix = before.replace("[", "").replace("]", "").strip()
    return _Half(prefix, pronoun, after, referent.lower().removeprefix("the ").strip())


def _paired(
    halves: Sequence[_Half | None], male: set[str], female: set[str]
) -> tuple[_Half, _Half] | None:
    """The male-typed and the female-typed half, if the two can be told apart by the pronoun alone."""
    one, other = halves
    if one is None or other is None or one.prefix != other.prefix:
        return None
    pronouns = {_SWAPPED.get(half.pronoun, half.pronoun) for half in (one, other)}
    if len(pronouns) > 1:
        return None
    for first, second in ((one, other), (other, one)):
        if first.referent in male and second.referent in female:
            return first, second
    return None


def _coreference(
    name: str,
    male: _Half,
    female: _Half,
    *,
    split: str,
    they: bool,
    cluster: str | None = None,
) -> Example:
    she = next(k for k, v in _SWAPPED.items() if _SWAPPED.get(male.pronoun, male.pronoun) == v)
    candidates = (male.continuation.strip(), female.continuation.strip())

    def text(pronoun: str) -> dict[str, Cloze]:
        prompt = f"{male.prefix} {pronoun}"
        span = ("word", len(prompt) - len(pronoun), len(prompt))
        return {"text": Cloze(prompt, candidates, (span,))}

    worlds = {"null": text(she), "swap-gender": text(_SWAPPED[she])}
    worlds |= {"they": text(_NEUTRAL[she])} if they else {}
    attributes = {"group": "all", "split": split, "male": male.referent, "female": female.referent}
    return Example(name, cluster or name, worlds, attributes=attributes)


def read_winogender(
    path: Path | None, *, statistic: Statistic = "bls", they: bool = False
) -> Texts:
    """Winogender sentences in pairs whose pronoun follows both mentions.

    Worlds and candidates as in `read_winobias`; the occupation is female-typed where more than half of
    those who have it are women, and the other participant then takes the other part.

    Args:
        path: Folder that holds winogender/, or the files themselves; the package's small set if None.
        statistic: "bls", labour statistics, or "bergsma", counts in a corpus; they disagree for 13 of 44.
        they: As in `read_winobias`.

    Raises:
        BadData: if a file is missing, or a sentence's occupation has no number.
    """
    folder = _inside(texts_folder(path), "winogender")
    source = "winogender_templates_structurefilter.tsv"
    share = _shares(folder / "winogender_occupation_stats.tsv", statistic)
    rows = [line.split("\t") for line in lines_of(folder / source)[1:]]
    if len(rows) % 2 or any(len(row) != 4 for row in rows):
        raise BadData(f"{folder / source}: expected pairs of rows of four cells")
    examples = []
    for number in range(0, len(rows), 2):
        halves = {int(row[2]): _winogender_half(row) for row in rows[number : number + 2]}
        occupation = rows[number][0]
        if set(halves) != {0, 1} or occupation not in share:
            raise BadData(
                f"{folder / source} row {number + 2}: no pair of answers 0 and 1, or no share"
            )
        ours, theirs = halves[0], halves[1]
        male, female = (theirs, ours) if share[occupation] > 50 else (ours, theirs)
        name = f"winogender/{occupation}"
        examples.append(
            _coreference(name, male, female, split="test", they=they, cluster=occupation)
        )
    typed = sum(e.attributes["female"] == e.cluster for e in examples)
    funnel = {"pairs": len(rows) // 2, "examples": len(examples), "female-typed": typed}
    meta = {"reader": "winogender", "source": source, "statistic": statistic, "funnel": funnel}
    return make_texts(examples, ("anti", "stereo"), meta)


def _shares(path: Path, statistic: Statistic) -> dict[str, float]:
    head, *rows = [line.split("\t") for line in lines_of(path)]
    column = f"{statistic}_pct_female"
    if column not in head:
        raise BadData(f"{path} has no column {column!r}; it has {head}")
    place = head.index(column)
    return {row[0]: float(row[place]) for row in rows}


def _winogender_half(row: Sequence[str]) -> _Half:
    occupation, participant, answer, sentence = row
    place = re.search(r"\$(NOM|POSS)_PRONOUN", sentence)
    if place is None:
        raise BadData(f"winogender sentence without a subject or possessive pronoun: {sentence!r}")
    prefix = _filled(sentence[: place.start()], occupation, participant)
    pronoun = {"NOM": "he", "POSS": "his"}[place.group(1)]
    referent = participant if answer == "1" else occupation
    return _Half(prefix.strip(), pronoun, sentence[place.end() :], referent)


def _filled(text: str, occupation: str, participant: str) -> str:
    return text.replace("$OCCUPATION", occupation).replace("$PARTICIPANT", participant)
