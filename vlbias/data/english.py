"""Whether a caption is English, the only language that the word tables know."""

from __future__ import annotations

import functools
import re
import unicodedata

from vlbias.data.word_lists import ALIASES, FEMININE_ONLY, PAIRS

__all__ = ["ENGLISH", "FOREIGN", "INVISIBLE", "is_english", "plain"]

INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"
"""Soft hyphen, zero-width and direction marks, for a character class: they are no part of a word."""

_HIDDEN = re.compile(f"[{INVISIBLE}]")
_TOKEN = re.compile(r"[^\W\d_]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Short words that are frequent in captions, and no words of the languages below.
ENGLISH = _words(
    "the and of with at by to from into onto over under up down out off near next behind beside "
    "between through across along around about above below inside outside while which who whose "
    "that this these those there is are was were be being been has have had having does doing not "
    "an it its they them their theirs you your our we us my as or if but than too very some any "
    "each every both other another one two three four five six several many few "
    "his she hers himself herself black white red blue green yellow brown gray grey pink purple "
    "orange big small little large long short young old tall happy beautiful front back top side "
    "middle street road wave waves water beach snow field grass ball tennis baseball soccer "
    "skateboard surfboard snowboard bike bicycle horse dog cat table chair food plate hand hands "
    "head hat shirt jacket dress riding holding standing sitting walking playing wearing looking "
    "smiling cutting talking eating running jumping posing swinging skiing surfing using taking "
    "making watching flying rides holds stands sits walks plays wears looks smiles cuts talks eats "
    "runs jumps poses swings takes makes group photo picture someone something for in on a"
)
"""Known words of English; the more of them, the surer."""

# Frequent short words of other languages that are no words of English captions.
FOREIGN = (
    _words(
        # German, Dutch, Afrikaans
        "der das ein eine einen einem einer und ist im mit auf dem den zu von vom zum zur auch sich "
        "nicht sind er sie es ihr ihre ihren sein seine seinen ihm ihn wir ich hat beim vor aus über "
        "neben hinter unter steht sitzt reitet fährt hält spielt trägt geht blumen zusammen frau "
        "sieht kann dort hier wird haben kamen namen damen "
        "het een en van met op te dat zijn niet naar voor aan bij haar zijn hij zij hun ook wordt "
        "staat zit loopt rijdt speelt houdt vrouw jongen meisje huis straat maar kleine grote n wat "
        # French
        "le la les un une des du de et est dans sur avec sous qui que pour par au aux ses sa ce cette "
        "il elle ils elles deux trois devant derrière homme femme garçon fille cheval tient joue porte "
        "mange à chez leur leurs en vélo rue pas fils "
        # Spanish, Portuguese, Catalan, Galician
        "el los las una unos unas del y con por para su sus se al lo está están hombre mujer niño niña "
        "sobre junto mientras muy tiene monta lleva dos tres calle caballo perro pelota uno este esta "
        "o os um uma uns umas da dos das do na nas nos com seu sua ao homem mulher menino menina "
        "está ele ela são é cavalo rua em amb els dues noi noia jove "
        # Italian, Romanian
        "il gli uno di che è sono nel nella sul sulla col della dei delle degli suo sua mentre donna "
        "uomo ragazzo ragazza bambino bambina cavallo strada non più molto per alla si sta "
        "și pe cu care este lui ei sunt la un o din femeie bărbat fată băiat "
        # Swedish, Danish, Norwegian
        "och att det som för med på av ett är har hans hennes sitt sin han hon en i til og er ikke "
        "men den de du jeg hun hest kvinde kvinne mand mann pige jente gutt dreng kvinna pojke flicka "
        "står sitter rider håller spelar holder spiller sidder ved hund gata vej "
        # Finnish, Estonian, Hungarian
        "ja on ei hän ovat joka kanssa nainen mies poika tyttö istuu seisoo hevonen he ratsastaa "
        "ning naine mees oma seisab istub az egy és van nem hogy férfi nő fiú lány lovon ül áll "
        # Polish, Czech, Slovak, Croatian, Slovenian
        "w z na się jest i oraz przy przez po dla kobieta mężczyzna chłopak dziewczyna koniu psem "
        "siedzi stoi gra trzyma je se s v ve ze který žena muž dívka chlapec sedí stojí hraje "
        "jedna jeden sa su za od do koji koja žena muškarac sjedi stoji u in pri mama "
        # Turkish, Indonesian, Malay, Vietnamese, Tagalog, Swahili
        "bir ve bu için ile da de çok daha gün kadın adam erkek kız yanında üzerinde var son at "
        "yang di dan dengan sedang seorang itu ini untuk wanita pria anak duduk berdiri memegang "
        "một người đang và trên với của trong phụ nữ đàn ông ang ng sa mga isang babae lalaki "
        "mtu mwanamke mwanamume kwa katika ya wa "
        # Latin, Welsh, Irish
        "et est cum sunt eius quae hic yn y yr mae ar gan ac dyn menyw agus tá ag leis"
    )
    - ENGLISH
    - _words("he her him men man son dad in on at den do as de no so me hat van pin an o n i s v")
)
"""Known words of other languages."""

# Known words that other languages write alike: they outweigh none of their words.
_SHARED = _words("a to on in an for by as is up over his one small short has no are two")
_TELLING = ENGLISH - _SHARED
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”')

_LOANS = _words(
    "café cafe décor entrée fiancé fiancée fiancés fiancées jalapeño naïve piñata sauté crème brûlée "
    "purée toupée protégé résumé señor señora señorita frisée tiará über vis-à-vis déjà vu"
)


_NOT_TOLD_BY = frozenset({*ALIASES, "mr", "ms", "mrs", "miss", "mx"}).union(
    *((pair.masculine, pair.feminine, pair.neutral) for pair in (*PAIRS, *FEMININE_ONLY))
)


def plain(word: str) -> str:
    """The word in lower case, composed, without invisible characters."""
    return unicodedata.normalize("NFKC", _HIDDEN.sub("", word)).lower()


def _foreign(word: str) -> bool:
    return word in FOREIGN or (not word.isascii() and word not in _LOANS)


@functools.lru_cache(maxsize=65536)
def is_english(text: str) -> bool:
    """Whether a text is English, told by its share of known short words.

    It is not where words of other languages, or with their letters, outnumber the known English
    ones, or where four or more words hold no known one. Gender words count for neither: "son" and
    "man" are what other languages are mistaken by. What is quoted is not read, and a text of few
    words is taken for English. No detector of languages is used: they need a model, and err on
    texts of five words.
    """
    words = [plain(match) for match in _TOKEN.findall(_HIDDEN.sub("", _QUOTED.sub(" ", text)))]
    words = [word for word in words if len(word) > 1 or word in "aw" or not word.isascii()]
    other = [word for word in words if word not in _NOT_TOLD_BY]
    foreign = sum(_foreign(word) for word in other)
    known = sum(word in ENGLISH for word in other)
    if known == 0 and foreign == 0:
        return len(other) < 4 or any(word.endswith("ing") for word in other)
    if foreign < 2:
        return known >= foreign  # one may be a name or a slip
    return sum(word in _TELLING for word in other) >= foreign
