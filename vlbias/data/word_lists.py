"""The audited word tables: gender pairs, what is left out and why, published lists, synonyms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ALIASES",
    "FEMININE_ONLY",
    "LAST_PLACEBOS",
    "PAIRS",
    "PLACEBOS",
    "PUBLISHED",
    "TITLE",
    "UNPAIRED",
    "Pair",
]


@dataclass(frozen=True, slots=True)
class Pair:
    """A masculine word, its feminine counterpart and the neutral word for either, one word each.

    Args:
        masculine: Lower case.
        feminine: Lower case.
        neutral: Lower case; several pairs may share it.
        age: Whether the words speak of an adult, of a child, or of either.
        labels: Whether a caption with one of them is evidence of perceived gender. False where
            the words mostly name things (cowboy hat, queen size bed, princess costume).
    """

    masculine: str
    feminine: str
    neutral: str
    age: Literal["adult", "child", "any"] = "adult"
    labels: bool = True


# Pronouns whose form depends on the sentence ("her", "his") are resolved in lexicon.py.
_PRONOUNS = (
    Pair("he", "she", "they", "any"),
    Pair("him", "her", "them", "any"),
    Pair("his", "hers", "theirs", "any"),
    Pair("himself", "herself", "themselves", "any"),
)

# masculine, feminine, neutral, and the three plurals
_PEOPLE = (
    ("man", "woman", "person", "men", "women", "people"),
    ("guy", "gal", "person", "guys", "gals", "people"),
    ("gentleman", "lady", "person", "gentlemen", "ladies", "people"),
    ("dude", "dudette", "person", "dudes", "dudettes", "people"),
    ("husband", "wife", "spouse", "husbands", "wives", "spouses"),
    ("groom", "bride", "newlywed", "grooms", "brides", "newlyweds"),
    ("groomsman", "bridesmaid", "attendant", "groomsmen", "bridesmaids", "attendants"),
    ("father", "mother", "parent", "fathers", "mothers", "parents"),
    ("dad", "mom", "parent", "dads", "moms", "parents"),
    ("daddy", "mommy", "parent", "daddies", "mommies", "parents"),
    ("grandfather", "grandmother", "grandparent", "grandfathers", "grandmothers", "grandparents"),
    ("grandpa", "grandma", "grandparent", "grandpas", "grandmas", "grandparents"),
    ("uncle", "aunt", "relative", "uncles", "aunts", "relatives"),
    ("actor", "actress", "performer", "actors", "actresses", "performers"),
    ("waiter", "waitress", "server", "waiters", "waitresses", "servers"),
    ("policeman", "policewoman", "officer", "policemen", "policewomen", "officers"),
    ("fireman", "firewoman", "firefighter", "firemen", "firewomen", "firefighters"),
    ("serviceman", "servicewoman", "soldier", "servicemen", "servicewomen", "soldiers"),
    ("horseman", "horsewoman", "rider", "horsemen", "horsewomen", "riders"),
    ("sportsman", "sportswoman", "athlete", "sportsmen", "sportswomen", "athletes"),
    ("fisherman", "fisherwoman", "fisher", "fishermen", "fisherwomen", "fishers"),
    ("batsman", "batswoman", "batter", "batsmen", "batswomen", "batters"),
    ("cameraman", "camerawoman", "videographer", "cameramen", "camerawomen", "videographers"),
    ("craftsman", "craftswoman", "artisan", "craftsmen", "craftswomen", "artisans"),
    ("workman", "workwoman", "worker", "workmen", "workwomen", "workers"),
    (
        "businessman", "businesswoman", "businessperson",
        "businessmen", "businesswomen", "businesspeople",
    ),
    ("salesman", "saleswoman", "salesperson", "salesmen", "saleswomen", "salespeople"),
    ("chairman", "chairwoman", "chairperson", "chairmen", "chairwomen", "chairpeople"),
    ("mailman", "mailwoman", "courier", "mailmen", "mailwomen", "couriers"),
    ("postman", "postwoman", "courier", "postmen", "postwomen", "couriers"),
    ("doorman", "doorwoman", "porter", "doormen", "doorwomen", "porters"),
    ("gunman", "gunwoman", "shooter", "gunmen", "gunwomen", "shooters"),
    ("stepfather", "stepmother", "stepparent", "stepfathers", "stepmothers", "stepparents"),
    ("stepdad", "stepmom", "stepparent", "stepdads", "stepmoms", "stepparents"),
    ("godfather", "godmother", "godparent", "godfathers", "godmothers", "godparents"),
    ("househusband", "housewife", "homemaker", "househusbands", "housewives", "homemakers"),
    ("widower", "widow", "survivor", "widowers", "widows", "survivors"),
    ("landlord", "landlady", "owner", "landlords", "landladies", "owners"),
    ("headmaster", "headmistress", "principal", "headmasters", "headmistresses", "principals"),
    ("masseur", "masseuse", "massager", "masseurs", "masseuses", "massagers"),
    ("monk", "nun", "cleric", "monks", "nuns", "clerics"),
    ("duke", "duchess", "noble", "dukes", "duchesses", "nobles"),
    ("mister", "missus", "person", "misters", "missuses", "people"),
    ("sir", "madam", "person", "sirs", "madams", "people"),
)  # fmt: skip
_KIN = (
    ("boyfriend", "girlfriend", "partner", "boyfriends", "girlfriends", "partners"),
    ("brother", "sister", "sibling", "brothers", "sisters", "siblings"),
    ("nephew", "niece", "relative", "nephews", "nieces", "relatives"),
    ("male", "female", "person", "males", "females", "people"),
    ("stepbrother", "stepsister", "stepsibling", "stepbrothers", "stepsisters", "stepsiblings"),
    ("fiance", "fiancee", "partner", "fiances", "fiancees", "partners"),
)
_CHILDREN = (
    ("boy", "girl", "child", "boys", "girls", "children"),
    ("lad", "lass", "child", "lads", "lasses", "children"),
    ("son", "daughter", "child", "sons", "daughters", "children"),
    ("grandson", "granddaughter", "grandchild", "grandsons", "granddaughters", "grandchildren"),
    ("schoolboy", "schoolgirl", "schoolchild", "schoolboys", "schoolgirls", "schoolchildren"),
    ("stepson", "stepdaughter", "stepchild", "stepsons", "stepdaughters", "stepchildren"),
    ("godson", "goddaughter", "godchild", "godsons", "goddaughters", "godchildren"),
    ("ballboy", "ballgirl", "ballkid", "ballboys", "ballgirls", "ballkids"),
    ("batboy", "batgirl", "batkid", "batboys", "batgirls", "batkids"),
    ("choirboy", "choirgirl", "chorister", "choirboys", "choirgirls", "choristers"),
    ("paperboy", "papergirl", "courier", "paperboys", "papergirls", "couriers"),
)
_MOSTLY_THINGS = (
    ("cowboy", "cowgirl", "cowhand", "cowboys", "cowgirls", "cowhands"),
    ("king", "queen", "monarch", "kings", "queens", "monarchs"),
    ("emperor", "empress", "monarch", "emperors", "empresses", "monarchs"),
    ("prince", "princess", "royal", "princes", "princesses", "royals"),
)

_Row = tuple[str, str, str, str, str, str]


def _pairs(
    rows: tuple[_Row, ...], age: Literal["adult", "child", "any"], labels: bool = True
) -> tuple[Pair, ...]:
    singular = [Pair(row[0], row[1], row[2], age, labels) for row in rows]
    plural = [Pair(row[3], row[4], row[5], age, labels) for row in rows]
    return (*singular, *plural)


PAIRS: tuple[Pair, ...] = (
    *_PRONOUNS,
    *_pairs(_PEOPLE, "adult"),
    *_pairs(_KIN, "any"),
    *_pairs(_CHILDREN, "child"),
    *_pairs(_MOSTLY_THINGS, "any", labels=False),
)
"""Every pair there is; a masculine word stands in exactly one, and so does a feminine word."""

FEMININE_ONLY: tuple[Pair, ...] = _pairs(
    (
        ("host", "hostess", "host", "hosts", "hostesses", "hosts"),
        ("steward", "stewardess", "attendant", "stewards", "stewardesses", "attendants"),
        ("dancer", "ballerina", "dancer", "dancers", "ballerinas", "dancers"),
        ("heir", "heiress", "heir", "heirs", "heiresses", "heirs"),
        ("tailor", "seamstress", "tailor", "tailors", "seamstresses", "tailors"),
        ("singer", "songstress", "singer", "singers", "songstresses", "singers"),
        ("author", "authoress", "author", "authors", "authoresses", "authors"),
        ("poet", "poetess", "poet", "poets", "poetesses", "poets"),
        ("sculptor", "sculptress", "sculptor", "sculptors", "sculptresses", "sculptors"),
        ("hunter", "huntress", "hunter", "hunters", "huntresses", "hunters"),
        ("murderer", "murderess", "murderer", "murderers", "murderesses", "murderers"),
        ("governor", "governess", "tutor", "governors", "governesses", "tutors"),
        ("priest", "priestess", "priest", "priests", "priestesses", "priests"),
        ("count", "countess", "noble", "counts", "countesses", "nobles"),
        ("hero", "heroine", "hero", "heroes", "heroines", "heroes"),
        ("servant", "maid", "servant", "servants", "maids", "servants"),
        ("bartender", "barmaid", "bartender", "bartenders", "barmaids", "bartenders"),
    ),
    "adult",
)
"""Feminine words whose counterpart is said of anyone: "host" is no evidence and stays."""

TITLE = Pair("mr", "ms", "mx")
"""The titles before a name; where they are none ("5 ms.", "to miss") they tell nothing."""

ALIASES: Mapping[str, str] = {
    "fiancé": "fiance", "fiancée": "fiancee", "fiancés": "fiances",
    "fiancées": "fiancees", "mum": "mom", "mums": "moms", "mama": "mommy", "mamas": "mommies",
    "momma": "mommy", "papa": "daddy", "papas": "daddies", "gent": "gentleman",
    "gents": "gentlemen", "bloke": "guy", "blokes": "guys", "chap": "guy", "fella": "guy",
    "fellas": "guys", "fellows": "guys", "bro": "brother", "bros": "brothers",
    "sis": "sister", "hubby": "husband",
    "granddad": "grandpa", "grandad": "grandpa", "granddads": "grandpas", "grandads": "grandpas",
    "granny": "grandma", "grannies": "grandmas", "auntie": "aunt", "aunties": "aunts",
    "laddie": "lad", "stepmum": "stepmom", "saleslady": "saleswoman",
    "salesladies": "saleswomen", "salesgirl": "saleswoman", "salesgirls": "saleswomen",
    "womens": "women", "mens": "men",
}  # fmt: skip
"""Other words for one of a pair; swap gives the counterpart of the pair."""

UNPAIRED: Mapping[str, str] = {
    "pregnant": "no masculine counterpart",
    "obama": "a name",
    "mans": "verb, or misspelling of a possessive",
}
"""Words of published lists that are left alone: never evidence of gender, never replaced."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PUBLISHED: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "zhao2017": (_words("man"), _words("woman")),
    # Women Also Snowboard, analysis lists, as in its data_analysis_base.py
    "hendricks2018": (
        _words(
            "boy brother dad husband man groom male guy men males boys guys dads dude policeman "
            "policemen father son fireman actor gentleman boyfriend mans his obama actors"
        ),
        _words(
            "girl sister mom wife woman bride female lady women girls ladies females moms actress "
            "nun girlfriend her she"
        ),
    ),
    # LIC, used there to mask words, not to label
    "hirota2022": (
        _words(
            "man men male father gentleman gentlemen boy boys uncle husband actor prince waiter "
            "son he his him himself brother brothers guy guys emperor emperors dude dudes cowboy"
        ),
        _words(
            "woman women female lady ladies mother girl girls aunt wife actress princess waitress "
            "daughter she her hers herself sister sisters queen queens pregnant"
        ),
    ),
    "wang2021": (_words("man boy gentleman male men"), _words("woman girl lady female women")),
    "sfid2024": (_words("man guy son boy men"), _words("woman lady women")),
}
"""Word lists of earlier work, verbatim with their asymmetries: (masculine, feminine)."""

# One word for one word; both sides begin alike (vowel or consonant), so no article changes.
# None is a gender word, a word for people, or part of a COCO or PASCAL class name.
PLACEBOS: Mapping[str, str] = {
    "photo": "picture", "photos": "pictures", "photograph": "picture", "picture": "photo",
    "pictures": "photos", "large": "big", "big": "large", "small": "little", "little": "small",
    "street": "road", "road": "street", "several": "many", "many": "several",
    "sitting": "seated", "walking": "strolling", "looking": "gazing", "looks": "gazes",
    "holding": "gripping", "holds": "grips", "near": "by", "beside": "by",
    "beach": "shore", "hill": "slope", "slope": "hill", "building": "structure",
    "buildings": "structures", "shirt": "top", "jacket": "coat", "pants": "trousers",
    "room": "chamber", "forest": "woods", "rocks": "stones", "ground": "floor",
    "middle": "center", "preparing": "readying", "prepares": "readies", "talking": "chatting",
    "smiling": "grinning", "jumping": "leaping", "jumps": "leaps",
    "throwing": "tossing", "wearing": "sporting", "watching": "viewing", "pretty": "lovely",
    "group": "bunch", "bunch": "group", "while": "whilst", "through": "thru",
    "young": "youthful", "game": "match", "swinging": "swaying", "hitting": "striking",
    "beautiful": "gorgeous", "colorful": "bright", "tall": "high", "filled": "packed",
    "covered": "coated", "next": "close", "two": "2", "three": "3", "four": "4",
    "on": "upon", "a": "one", "an": "one",
}  # fmt: skip
"""Frequent caption words that say nothing of gender, with a near-synonym of one word."""

LAST_PLACEBOS: tuple[str, ...] = ("on", "a", "an")
"""Replaced only where nothing else is left, in this order: they are in nearly every caption."""
