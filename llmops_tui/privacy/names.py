"""Names of people, recognised by lists and the words around them; no model is used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from llmops_tui.privacy.name_lists import (
    ambiguous_given_names,
    cyrillic_given_names,
    given_names,
    plain,
    surnames,
    words,
)

# A capitalised word of any script that has capitals, with the apostrophes and hyphens that names have.
_WORD = r"[^\W\d_a-z](?:[^\W\d_]|['’](?=[^\W\d_]))+(?:-[^\W\d_a-z][^\W\d_]+)?"
_PARTICLE = r"(?:van|von|de|der|den|da|di|del|la|le|al|el|bin|ibn|zu|dos|du|ten|ter)"
_FULL = rf"{_WORD}(?:[ ](?:[^\W\d_a-z]\.|{_PARTICLE}[ ](?:{_PARTICLE}[ ])?{_WORD}|{_WORD})){{0,3}}"
_PARTICLES = re.compile(_PARTICLE)
_TITLED = re.compile(
    rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Sir|Madam|Herr|Herrn|Frau|Señor|Señora|[Ll]a señora|[Ee]l señor|Sr|Sra|Mme|Mlle|Monsieur"
    rf"|Madame|Signor|Signora|[Ll]a signora|[Ii]l signor|Mevrouw|Meneer|Mevr|Dhr|De heer|г-н|г-жа|господин[ау]?|госпож[аеу])"
    rf"\.?[ ]({_FULL})"
)
_SAID = re.compile(
    rf"\b(?i:my name is|my name's|name is|name:|i am called|called me|ich heiße|mein name ist|je m'appelle|mon nom est|me llamo|"
    rf"mi chiamo|mijn naam is|меня зовут|мене звати|contact person[,:]?|account holder[:]|cardholder[:]|customer[:]|patient[:]?|"
    rf"employee[:]|applicant[:]|tenant[:]|witness[:]|from:|attn[.:]|c/o|empfänger(?:in)?[:]?|versicherte person[:]|kunde[:]|"
    rf"kundin[:]|titulaire[:]?|titular[:]|intestatario[:]|t\.n\.v\.|клиент(?:ка)?[:]?|пациент(?:ка)?[:]?|получатель[:])"
    rf"[ \n]+({_FULL})"
)
# What stands alone below a closing formula is whoever wrote it; what follows it in its line may be a team.
_SIGNED = re.compile(
    rf"(?i:signed[,:]?|sincerely[,:]?|regards[,:]?|best wishes[,:]?|yours truly[,:]?|yours[,:]|cheers[,:]?|grüße[n]?[,]?|"
    rf"gruß[,]?|cordialement[,]?|saludos?[,]?|saluti[,]?|groet(?:en)?[,]?|с уважением[,]?)(?:[ ]*\n[ ]*|[ ]+)({_FULL})"
)
_GREETED = re.compile(
    rf"\b(?:Dear|Hi|Hello|Hey|Hallo|Liebe|Lieber|Bonjour|Hola|Ciao|Beste|Thanks|Thank you)[ ,]+({_FULL})"
)
_ANY = re.compile(rf"(?<![^\W_])({_FULL})")
# As lists have it: Novak, Anna. What follows the comma may be part of the next such name.
_LISTED = re.compile(rf"(?<![^\W_])({_WORD}),[ ](?=({_FULL}))")
# Typed without capitals: who says a name so, says nothing else; elsewhere both words must be known.
_SMALL = r"[^\W\d_A-Z]{2,}(?:['’-][^\W\d_A-Z]{2,})?"
_SAID_SMALL = re.compile(
    rf"(?i:\b(?:my name is|mein name ist|ich heiße|je m'appelle|mon nom est|me llamo|mi chiamo|mijn naam is))[ ]"
    rf"({_SMALL}(?:[ ]{_SMALL}){{0,2}})"
)
_TOLD_SMALL = re.compile(
    rf"(?i:\b(?:this is|i am|i'm|ich bin|hier ist|soy|sono|ik ben|je suis|regards,?|cheers,?|thanks,?))[ \n]"
    rf"({_SMALL}[ ]{_SMALL}(?:[ ](?:{_SMALL}))?)"
)
_PAIR_SMALL = re.compile(rf"(?<![^\W_])(?=({_SMALL}[ ]{_SMALL})(?![^\W_]))")
_SMALL_MINIMUM = 3
# Words of which it is remembered whether they are names.
_REMEMBERED = 65_536
_NUMERAL = re.compile(r"[IVX]+\b")
# What stands before names of places and of saints.
_PLACES = re.compile(
    r"\b(?:San|Santa|Santo|Saint|Sainte|St\.?|Sankt|Sint|[Cc]amino de|[Vv]irgen de[l]?|[Ll]ake|[Mm]ount|[Pp]ort|[Ff]ort) $"
)

_CYRILLIC = r"[А-ЯЁІЇЄҐ][а-яёіїєґ']+(?:-[А-ЯЁІЇЄҐ][а-яёіїєґ]+)?"
_CYRILLIC_RUN = re.compile(rf"(?<![^\W_]){_CYRILLIC}(?:[ ]{_CYRILLIC}){{1,2}}(?![^\W_])")
_FAMILY = re.compile(
    r"(?:[оеё]в|[иы]н|[оеё]ва|[иы]на|ск(?:ий|ая|ого|ой|ому|им|ую)|цк(?:ий|ая|ого|ой|ому|им|ую)|енко|чук|юк|[оеё]в(?:а|у|ым|е|ой)"
    r"|[иы]н(?:а|у|ым|е|ой)|дзе|швили|ян|ко)$"
)
_PATRONYMIC = re.compile(r"(?:(?:ов|ев)ич(?:а|у|ем|е)?|(?:ов|ев|ич)н(?:а|ы|е|у|ой))$")


def find_names(text: str) -> Iterator[tuple[int, int]]:
    """Where people are named, as (start, end); titles stay outside.

    A name is what follows a title, an introduction or a sign-off; elsewhere a known given name or a known surname must be
    in it, together with another word that can be a part of a name.
    """
    for pattern in (_TITLED, _SAID, _SIGNED):
        for match in pattern.finditer(text):
            found = _trim(text, match.start(1), match.end(1))
            if found:
                yield found
    for match in _GREETED.finditer(text):
        yield from _greeted(text, match.start(1), match.end(1))
    for match in _ANY.finditer(text):
        yield from _known(text, match.start(1), match.end(1))
    for match in _LISTED.finditer(text):
        yield from _surname_first(text, match)
    yield from _small(text)
    for match in _CYRILLIC_RUN.finditer(text):
        yield from _cyrillic(match)
    if not text.isascii():
        from llmops_tui.privacy.east_asian_names import find_east_asian_names

        yield from find_east_asian_names(text)


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The span without words behind the name that are none; none where nothing is left."""
    kept = start
    for match in re.finditer(r"\S+", text[start:end]):
        word = match.group()
        # Letters beyond ASCII are taken for capitals by the patterns, which know no other.
        if word in words("no_surnames") or (word[0].islower() and not _PARTICLES.fullmatch(word)):
            break
        kept = start + match.end()
    return (start, kept) if kept > start else None


def _greeted(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Behind a greeting a given name may stand alone."""
    first = _parts(text[start:end])[0]
    if is_given(first.group()) and (found := _trim(text, start, end)):
        yield found


def _surname_first(text: str, match: re.Match[str]) -> Iterator[tuple[int, int]]:
    """A known surname before a known given name; in other words than names a comma stands between such two seldom."""
    surname, given = match.group(1), _parts(match.group(2))[0].group()
    known = is_surname(surname) and len(surname) > _SMALL_MINIMUM and is_given(given)
    if known and (found := _trim(text, match.start(2), match.end(2))):
        yield match.start(1), found[1]


def _parts(run: str) -> list[re.Match[str]]:
    return list(re.finditer(r"\S+", run))


def _known(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The part of a run of capitalised words that is a name."""
    parts = _parts(text[start:end])
    for at, part in enumerate(parts):
        word = part.group().rstrip("'’")
        following = parts[at + 1].group() if at + 1 < len(parts) else ""
        if word in words("no_surnames") or word[:1].islower():
            continue
        if _PLACES.search(text[max(0, start + part.start() - 14) : start + part.start()]):
            return
        together = following and following not in words("no_surnames") and not _NUMERAL.match(following)
        strong = _is_strong(word, alone=not together) and not _NUMERAL.match(following)
        certain = strong or (
            together
            and (
                is_given(word)
                or (plain(_first(word)) in ambiguous_given_names() and is_surname(following))
                or (
                    (at > 0 or not _begins_sentence(text, start))
                    and is_surname(following)
                    and len(following) > _SMALL_MINIMUM
                )
            )
        )
        if certain:
            found = _trim(text, start + part.start(), end)
            if found:
                yield found
            return


def _is_strong(word: str, *, alone: bool) -> bool:
    """Whether a word is a given name by itself. Alone all its parts have to be: Marie-Galante is an island."""
    parts = word.lower().split("-")
    known = words("given_names")
    return all(
        (part in known or plain(part) in known) and plain(part) not in words("name_words")
        for part in (parts if alone else parts[:1])
    )


def _begins_sentence(text: str, at: int) -> bool:
    """Whether the capital of a word may be that of a sentence."""
    before = text[:at].rstrip(" \"'([")
    return not before or before[-1] in ".!?:\n"


def _first(word: str) -> str:
    return word.partition("-")[0].lower()


@lru_cache(maxsize=_REMEMBERED)
def is_given(word: str) -> bool:
    """Whether a word is a given name, and hardly ever another word."""
    first = plain(_first(word.rstrip("'’")))
    return len(first) >= _SMALL_MINIMUM and first in given_names()


@lru_cache(maxsize=_REMEMBERED)
def is_surname(word: str) -> bool:
    """Whether a word is a surname, and hardly ever another word."""
    said = plain(word.rstrip("'’"))
    return said in surnames() or said.rpartition("-")[2] in surnames()


def _small(text: str) -> Iterator[tuple[int, int]]:
    """Names in lower case."""
    for match in _SAID_SMALL.finditer(text):
        kept = match.start(1)
        for part in _parts(match.group(1)):
            if part.group().lower() in words("no_names"):
                break
            kept = match.start(1) + part.end()
        if kept > match.start(1):
            yield match.start(1), kept
    for match in _TOLD_SMALL.finditer(text):
        parts = _parts(match.group(1))
        said = [part.group() for part in parts]
        if words("no_names").isdisjoint(said[:2]) and (is_given(said[0]) or is_surname(said[1])):
            last = parts[-1] if is_surname(said[-1]) else parts[1]
            yield match.start(1), match.start(1) + last.end()
    for match in _PAIR_SMALL.finditer(text):
        first, second = match.group(1).split(" ")
        known = is_given(first) and is_surname(second) and len(second) > _SMALL_MINIMUM
        if known and words("no_names").isdisjoint((first, second)):
            yield match.span(1)


def _cyrillic(match: re.Match[str]) -> Iterator[tuple[int, int]]:
    """The words of a run in which a given name stands beside a surname or a patronymic, whatever their case."""
    parts = _parts(match.group())
    given = [_is_cyrillic_given(part.group()) for part in parts]
    patronymic = [bool(_PATRONYMIC.search(part.group().lower())) for part in parts]
    family = [bool(_FAMILY.search(part.group().lower())) for part in parts]
    together = [
        at
        for at in range(len(parts) - 1)
        if patronymic[at + 1] or (given[at] and family[at + 1]) or (family[at] and given[at + 1])
    ]
    if together:
        last = together[-1] + 1
        # A surname may follow: Галина Петровна Жданова.
        last += last + 1 < len(parts) and family[last + 1]
        yield match.start() + parts[together[0]].start(), match.start() + parts[last].end()


def _is_cyrillic_given(word: str) -> bool:
    """Whether a word is a form of a given name: Анна, Анны, Анне, Анну, Анной; Дмитрий, Дмитрия."""
    word = word.lower()
    stems = {
        word,
        *(word[:-1] + end for end in ("", "а", "я", "й", "ь")),
        *(word[:-2] + end for end in ("", "а", "я", "й")),
    }
    return bool(stems & cyrillic_given_names())
