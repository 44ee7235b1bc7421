"""Gendered words that speak of no person in the photo: of animals, of rooms, in idioms.

Such words are replaced where a text is made neutral, since a model reads them all the same, but
they are no evidence of a person's perceived gender.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["ANIMALS", "NOT_OF_PERSONS", "PERSONS", "of_no_person"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ANIMALS = _words(
    "antelope ape bear bird bison buck buffalo bull cat cattle cheetah chick chicken cow coyote "
    "deer dog donkey dove duck eagle elephant elk flamingo fox gazelle giraffe goat goose gorilla "
    "hamster hawk hen hippo horse impala kangaroo kitten kitty koala lamb leopard lion lioness llama "
    "monkey moose mule orangutan ostrich owl ox panda parrot peacock penguin pig pony puppy rabbit "
    "ram rhino robin rooster seagull seal sheep squirrel stallion swan tiger turkey turtle whale "
    "wolf yak zebra"
)
"""Animals of photos, in the singular."""

PERSONS = frozenset(
    _words(
        "person people child children kid kids toddler owner owners rider riders jockey jockeys player "
        "players trainer trainers someone somebody crowd family families couple couples friend friends "
        "farmer farmers surfer surfers skier skiers skateboarder snowboarder adult adults teen teens "
        "teenager teenagers passenger passengers driver drivers worker workers officer officers cop "
        "cops chef chefs student students handler handlers walker walkers shepherd individual "
        "individuals tourist tourists pedestrian pedestrians cyclist cyclists"
    )
)
"""Words for persons that tell no gender: a pronoun near one may be theirs."""

_ANIMAL = rf"(?:{'|'.join(ANIMALS)}|oxen|geese|wolves|ponies|puppies|kitties)s?"
_AGENT = r"(?:rid|walk|own|handl|train|watch|rac|keep|groom|herd|farm|hunt|lov)ers?|jockeys?"
_SORT = r"(?:polar|grizzly|brown|black|white|gray|grey|african|asian|mountain|wild|big|large|adult)"
_ROOM = (
    r"(?:rest|bath|bed|wash|locker|changing|dressing|fitting|shower|powder)[- ]?rooms?|toilets?|"
    r"lavator(?:y|ies)|urinals?|loos?|departments?|sections?|room"
)

NOT_OF_PERSONS = re.compile(
    # "a mother elephant", "two male polar bears", but not "a male dog walker"
    r"\b(?:mother|mom|mommy|mama|momma|mum|father|dad|daddy|papa|brother|sister|boy|girl|fe?male)s? "
    rf"(?:{_SORT} )?{_ANIMAL}(?![- ](?:{_AGENT})\b)\b|"
    # "the men's bathroom", "a boys' bedroom", "ladies room"
    rf"\b(?:wo)?m[ae]n['’]?s?['’]? (?:{_ROOM})\b|"
    rf"\b(?:boy|girl|lady|gent|guy|gal)['’]?s?['’]? (?:{_ROOM})\b|"
    rf"\b(?:ladies|gentlem[ae]n)['’]?s?['’]? (?:{_ROOM})\b|"
    r"\bhis[- ](?:and|&|n|or)[- ]hers\b|"
    r"\bm[ae]n['’]s best friends?\b",
    re.IGNORECASE,
)
"""Where a gendered word stands for no person."""

_NO_ADJECTIVE = r"(?:and|with|on|of|in|at|by|near|or|to|for|from|is|are|has|his|her|while|behind)"
_SUBJECT = re.compile(
    rf"\W*(?:(?!{_NO_ADJECTIVE}\b)[\w-]+\s+){{0,4}}?{_ANIMAL}(?![- ](?:{_AGENT})\b)\b",
    re.IGNORECASE,
)
# "a dog wags his tail", but "a dog looks at her", "a cat sits on her lap": a person is there
_OWN = re.compile(
    r"\s+(?:\w+\s+)?(?:tails?|paws?|heads?|ears?|nose|snout|mouth|tongue|teeth|trunk|tusks?|horns?|"
    r"antlers|beak|wings?|feathers|fur|mane|hoof|hooves|neck|back|legs?|face|eyes?|whiskers|belly|"
    r"stomach|nest|cage|bowl|collar|leash|bone|toys?|mate|herd|young|bab(?:y|ies)|cal(?:f|ves)|"
    r"foals?|cubs?|fawns?|lambs?|chicks?|kittens?|pupp(?:y|ies)|mother|mom)\b",
    re.IGNORECASE,
)
_REFLEXIVE = frozenset({"himself", "herself"})
_WORD = re.compile(r"[^\W\d_]+")


def of_no_person(text: str, words: Sequence[tuple[int, int, bool]]) -> list[bool]:
    """Of every gendered word of a text, whether it speaks of no person.

    Args:
        text: Any text.
        words: Start, end, and whether it is a pronoun.
    """
    spans = [match.span() for match in NOT_OF_PERSONS.finditer(text)]
    thing = [any(first <= start < last for first, last in spans) for start, _, _ in words]
    named = any(not pronoun and not of for (_, _, pronoun), of in zip(words, thing, strict=True))
    animal = not named and _animal_is_subject(text)
    return [
        of or (animal and pronoun and _of_animal(text, start, end))
        for (start, end, pronoun), of in zip(words, thing, strict=True)
    ]


def _animal_is_subject(text: str) -> bool:
    """Whether the first noun phrase is of an animal, and no word for a person is in the text."""
    return _SUBJECT.match(text) is not None and not any(
        word.lower() in PERSONS for word in _WORD.findall(text)
    )


def _of_animal(text: str, start: int, end: int) -> bool:
    """Whether a pronoun is the animal's: with a part of it, its young or its things, or reflexive."""
    return text[start:end].lower() in _REFLEXIVE or _OWN.match(text, end) is not None
