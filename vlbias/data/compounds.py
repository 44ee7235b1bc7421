"""Compounds in -man and -woman: a rule, the words it does not hold for, and fixed phrases."""

from __future__ import annotations

import re

from vlbias.data.word_lists import Pair

__all__ = ["EXCEPTIONS", "PHRASES", "STEMS", "compound"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


EXCEPTIONS = _words(
    # no compounds of "man": peoples, animals, plain words
    "human superhuman subhuman inhuman nonhuman posthuman german roman norman ottoman talisman "
    "shaman brahman caiman cayman doberman mussulman turkoman turcoman hetman ataman dragoman "
    "toman desman leman dolman soman oman pullman "
    "specimen regimen abdomen acumen stamen semen cyclamen bitumen albumen omen amen yemen ramen "
    "lumen hymen dolmen foramen cerumen rumen gravamen nomen cognomen catechumen "
    # figures and things
    "snowman snowmen superman supermen superwoman superwomen batman batwoman catwoman "
    "wonderwoman spiderman spidermen aquaman ironman ironmen iceman sandman strawman stickman "
    "stickmen gingerbreadman gingerbreadmen bogeyman boogeyman pacman walkman merman mermen "
    "antman megaman hangman "
    # said of anyone
    "freshman freshmen layman laymen everyman baseman basemen "
    # frequent words of other languages
    "blumen kamen namen damen rahmen nehmen kommen zusammen nahmen firmen stimmen examen resumen "
    "volumen dictamen certamen"
)
"""Words in -man, -men, -woman, -women that tell no gender."""

STEMS = _words(
    "ad air alder anchor assembly axe barge bell best boat bonds bush cab cattle cave church "
    "clergy coach congress corps council country crew dairy delivery door drafts dust ferry "
    "french front garbage guards gun handy hench herds hit house hunts ice irish journey jury "
    "laundry lines lumber mail marks middle milk minute news noble oars ombuds outdoors patrol "
    "plains police post press railway repair rifle scots sea signal sound space spokes state "
    "states steers stock strong stunt swords team towns trades trash tribes utility watch "
    "weather welsh yachts yes bar camera chair fire fisher fore business sales sports service"
)
"""First parts that make a compound though it is capitalised; others are taken for names."""

# Neither evidence of gender nor replaced: names of places and things, and the verb "to man".
PHRASES = re.compile(
    r"\b(?:isle of man|no[- ]man['’]?s[- ]land|guy[- ](?:wires?|ropes?|lines?)|"
    r"ginger ?bread (?:man|men)|stick (?:man|men)|granny smith|to man (?:the|a|an|his|her|their)|"
    r"(?:spider|pac|iron|bat|ant|super|snow)[- ]man|wonder[- ]woman|cat[- ]woman|super[- ]mario bros|"
    r"mother(?: nature|['’]s day| board| goose| lode|ship)|father['’]?s day|mothers day|"
    r"mom jeans|dad (?:hat|cap|jokes?)|lady ?(?:bugs?|birds?|fingers?)|lady['’]s[- ]slippers?|"
    r"sister (?:ships?|city|cities)|daddy[- ]long[- ]?legs|papa john['’]?s?|mama mia|"
    r"(?:fe)?male (?:lions?|ducks?|deer|elephants?|giraffes?|zebras?|bears?|birds?|peacocks?|"
    r"dogs?|cats?|horses?|cows?|sheep|goats?|moose|elk|monkeys?|gorillas?|tigers?|animals?)"
    r"(?! (?:rid|walk|own|handl|train|watch|rac|keep|groom|herd|farm|hunt|lov|jockey)\w*)|"
    r"(?:fe)?male (?:connectors?|plugs?|adapters?|sockets?|ends?)|old man river)\b",
    re.IGNORECASE,
)

_RULE = re.compile(r"([a-z]+?)(wom[ae]n|m[ae]n)")


def compound(word: str, written: str) -> tuple[str, Pair] | None:
    """The gender and the pair of a compound such as "spokeswoman", made by rule.

    The neutral word ends in -person or -people. A capitalised compound in -man is taken for a
    name ("Newman") unless its first part is in `STEMS`.

    Args:
        word: In lower case, without invisible characters.
        written: As it stands in the text.
    """
    match = _RULE.fullmatch(word)
    if match is None or word in EXCEPTIONS:
        return None
    stem, ending = match.groups()
    feminine = ending.startswith("wo")
    if len(stem) < (2 if feminine else 3) and stem not in STEMS:
        return None
    if not feminine and written[:1].isupper() and stem not in STEMS:
        return None
    vowel, neutral = (ending[-2], "person" if ending[-2] == "a" else "people")
    pair = Pair(f"{stem}m{vowel}n", f"{stem}wom{vowel}n", stem + neutral)
    return ("feminine" if feminine else "masculine"), pair
