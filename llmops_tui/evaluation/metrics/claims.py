"""The claims of an answer, held against a text: words, numbers and names, who did what, and what is denied."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llmops_tui.datasets.checks.refusals import refusal
from llmops_tui.datasets.checks.sentences import sentences
from llmops_tui.evaluation.metrics.silence import abstains, tells_nothing
from llmops_tui.words import UNSPACED

_TOKEN = re.compile(rf"\d+(?:[.,:]\d+)*|[{UNSPACED}]+|[^\W{UNSPACED}]+(?:[’'][^\W{UNSPACED}]+)?")
_UNSPACED = re.compile(f"[{UNSPACED}]")
_FIGURES = "[零〇一二两三四五六七八九十百千万億亿]"
_NUMERAL = re.compile(rf"({_FIGURES}{{2,}}|{_FIGURES}(?=[天日月年元円个個時时分人回次週周]))")
_CLAUSES = re.compile(
    r"[;:]\s+|\s[–—-]\s|"
    r",?\s+(?:and|while|but|whereas|because|und|während|aber|et|mais|y|e|pero|mientras|weil|parce que|porque)\s+|"
    r",\s+(?:which|who|der|die|das|qui|que)\s+"
)
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|cannot|without|nicht|kein\w*|nie|pas|jamais|aucun\w*|sin|nunca|nada|rejected|refused)\b|n[’']t\b|[不没沒未]|ない|ません|ไม่",
    re.IGNORECASE,
)
_PASSIVE = re.compile(
    r"\b(?:is|was|were|are|been|be|got|wurde|wird|worden|fut|est|été|fue|es|sido)\b.{0,40}\b(?:by|von|par|por)\b|"
    r"\bfrom\b|\bagainst\b|\bthan\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\b(?:it|its|he|she|they|them|their|his|her|him|this|these|that|both|there|er|sie|es|ihr\w*|il|elle|ils|elles|le|la|ses?|el|su|de)\b",
    re.IGNORECASE,
)
_COMMON = frozenset(
    """
    a about after again all alone already also an and any anything are aren't as at away back be because been before
    being both but by can can't cannot could did didn't do does doesn't don't down due during each either else even
    every except few for from get gets had has have he her here him his how however i if in into is isn't it it's its
    just less like made make makes many may me might more most much must my need needs no nor not nothing now of off
    on once one ones only or other our out over own part per rather same shall she should since so some still such
    than that that's the their them then there there's these they this those though through to too took two under
    until up upon us use used very via was wasn't way we were what when where whether which while who whose why will
    with within without won't would yet you your afterwards avoid take takes taken turn turns turned open possible
    thing things people person someone goods aber alle als am auch auf aus bei bis da dann das dass dem den der des
    die dies doch du ein eine einem einen einer es er für geht hat ich ihr im ist ja kein keine mit nach nicht noch
    nur oder sein seine sich sie sind um und uns vom von vor war wenn wer wie wird wurde zu zum zur à au aux avec ce
    cette ces dans de elle elles en est et été fut il ils je la le les leur lui mais ne nous ou par pas pour qu que
    qui sa se ses son sont sur un une y al con como del el ella esta este ha las lleva lo los más o para pero por sin
    su una
    """.split()  # noqa: SIM905  a list of them would take a line a word
)
_NUMBERS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "hundred": 100, "zwei": 2, "drei": 3, "vier": 4,
    "fünf": 5, "sechs": 6, "sieben": 7, "acht": 8, "neun": 9, "zehn": 10, "deux": 2, "trois": 3, "quatre": 4, "cinq": 5,
    "dos": 2, "tres": 3, "cuatro": 4, "cinco": 5, "seis": 6,
}  # fmt: skip
# Words of telling and of help, by which alone nothing is known of what a sentence denies.
_TELLING = """
    say said says tell told mention mentioned state stated specify specified indicate indicated describe described explain
    explained list listed name named address addressed discuss discussed know known clear answer answered information find
    found sorry help assist request question sagt gesagt steht erwähnt genannt angegeben weiß mentionné précisé dit indica
    menciona dice
    """.split()  # noqa: SIM905  a list of them would take a line a word
# Of a claim's words that carry meaning, so many may be the answer's own; names and numbers may not.
STRAY = 0.34


@dataclass(frozen=True)
class Clause:
    """A part of a sentence: its words that carry meaning by their stems, in order, and whether it denies."""

    text: str
    stems: tuple[str, ...]
    names: tuple[str, ...]
    denies: bool
    passive: bool
    inherited: frozenset[str] = frozenset()
    own_subject: bool = False
    begins: bool = False


@dataclass(frozen=True)
class SentenceSupport:
    """A sentence: how many claims it makes, why each that has no support has none, and whether it says that nothing is told."""

    text: str
    claims: int
    unsupported: tuple[str, ...]
    abstains: bool


@dataclass(frozen=True)
class Support:
    """What was found of an answer, sentence by sentence."""

    sentences: tuple[SentenceSupport, ...]

    @property
    def claims(self) -> int:
        """How many claims it makes."""
        return sum(one.claims for one in self.sentences)

    @property
    def unsupported(self) -> list[str]:
        """The claims without support, each with the reason."""
        return [told for one in self.sentences for told in one.unsupported]

    @property
    def share(self) -> float | None:
        """The share of its claims that have support; none where it claims nothing."""
        return 1 - len(self.unsupported) / self.claims if self.claims else None


def stem(word: str) -> str:
    """The word without the commonest endings; numbers with their separators alike, small ones as digits."""
    if word.lower() in _NUMBERS:
        return str(_NUMBERS[word.lower()])
    if word[0].isdigit():
        return word.replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+", word) else word.replace(",", ".")
    low = re.sub(r"[’']s$|^[lds][’']", "", word.lower())
    for ending in (
        "ations",
        "ation",
        "ingly",
        "ings",
        "ing",
        "edly",
        "ied",
        "ies",
        "ed",
        "es",
        "en",
        "er",
        "e",
        "s",
        "t",
    ):
        if low.endswith(ending) and len(low) - len(ending) >= 3:
            low = low[: -len(ending)]
            break
    return low[:-1] if len(low) > 4 and low[-1] == low[-2] else low


def _tokens(text: str) -> list[str]:
    """The words of a text; where none stand apart, its numbers, and the characters by twos."""
    found: list[str] = []
    for word in _TOKEN.findall(text):
        for part in filter(None, _NUMERAL.split(word)) if _UNSPACED.match(word) else (word,):
            paired = len(part) > 2 and _UNSPACED.match(part) and not _NUMERAL.match(part)
            found += map("".join, itertools.pairwise(part)) if paired else (part,)
    return found


def _clause(text: str, *, first: bool) -> Clause:
    stems, names = [], []
    for place, word in enumerate(_tokens(text)):
        if word.lower() in _COMMON - _NUMBERS.keys() or re.sub(r"[’']s$", "", word.lower()) in _COMMON:
            continue
        made = stem(word)
        stems.append(made)
        if (
            made[0].isdigit()
            or re.fullmatch(f"{_FIGURES}+", made)
            or (word[0].isupper() and not (first and place == 0))
            or word.isupper()
        ):
            names.append(made)
    return Clause(
        text, tuple(stems), tuple(names), bool(_NEGATION.search(text)), bool(_PASSIVE.search(text)), begins=first
    )


def clauses(text: str) -> list[Clause]:
    """The clauses of a text, each with what its pronouns and its sentence's beginning may mean."""
    found: list[Clause] = []
    before: frozenset[str] = frozenset()
    for sentence in sentences(text):
        lead: frozenset[str] = frozenset()
        for place, part in enumerate(p for p in _CLAUSES.split(sentence) if p and p.strip()):
            made = _clause(part, first=place == 0)
            pronoun = _PRONOUN.search(part) is not None or place > 0
            alone = frozenset(_UNSPACED.findall(part))
            inherited = alone | (before if pronoun and (place == 0 or _PRONOUN.search(part)) else frozenset()) | lead
            first = _TOKEN.search(part)
            own = first is not None and first.group()[0].isupper() and first.group().lower() not in _COMMON
            found.append(Clause(made.text, made.stems, made.names, made.denies, made.passive, inherited, own))
            if place == 0:
                lead = frozenset(made.stems[:2])
        before = frozenset(s for s in found[-1].stems + tuple(lead) if not s[0].isdigit()) if found else before
    return found


@dataclass(frozen=True)
class _Text:
    """A text as claims are held against it: its clauses, the stems of their words, and those that stand with a capital."""

    clauses: tuple[Clause, ...]
    stems: frozenset[str]
    capitals: frozenset[str]


# Passages of an index are held against one answer after the other.
@functools.lru_cache(maxsize=1000)
def _read(text: str) -> _Text:
    known = tuple(clauses(text))
    stems = frozenset(s for clause in known for s in clause.stems) | frozenset(_UNSPACED.findall(text))
    return _Text(known, stems, frozenset(stem(w) for w in _tokens(text) if w[0].isupper()))


def is_silent(sentence: str, context: Sequence[str]) -> bool:
    """Whether a sentence says that the text does not tell, or refuses, and no passage speaks of what it denies."""
    return _is_silent(sentence, [clause for text in context for clause in _read(text).clauses])


def abstains_from(answer: str, context: Sequence[str]) -> str:
    """The words by which an answer abstains; empty where it answers, or denies what a passage speaks of."""
    words = abstains(answer)
    return "" if words and _speaks_of([c for text in context for c in _read(text).clauses], words) else words


def _is_silent(sentence: str, known: Sequence[Clause]) -> bool:
    return (tells_nothing(sentence) or bool(refusal(sentence))) and not _speaks_of(known, sentence)


def _speaks_of(known: Sequence[Clause], sentence: str) -> bool:
    """Whether one clause has all words of a sentence: then it says so or the opposite, and is a claim."""
    stems = _shortest(_clause(sentence, first=True).stems)
    return bool(stems - _telling()) and any(
        stems & (own := _shortest(clause.stems)) and stems <= own | _shortest(clause.inherited) for clause in known
    )


def _shortest(stems: Iterable[str]) -> set[str]:
    # "Cover" and "covers" are told apart by one ending less.
    return set(map(stem, stems))


@functools.cache
def _telling() -> frozenset[str]:
    return frozenset(_shortest(map(stem, _TELLING)))


def support(answer: str, context: str | Sequence[str], asked: str) -> Support:
    """Which claims of an answer the context supports; ``asked`` is the question, whose words nobody has to prove.

    Of several passages each is a text of its own: no pronoun means what another one speaks of.
    """
    texts = [_read(text) for text in ((context,) if isinstance(context, str) else context)]
    known = [clause for text in texts for clause in text.clauses]
    every = {s for text in texts for s in text.stems}
    capitals = {s for text in texts for s in text.capitals}
    question = {stem(w) for w in _tokens(asked) if not w[0].isdigit()}
    found = []
    for sentence in sentences(answer):
        silent = _is_silent(sentence, known)
        claims, unsupported = 0, []
        for place, part in enumerate(p for p in _CLAUSES.split(sentence) if p and p.strip()) if not silent else ():
            claim = _clause(part, first=place == 0)
            if claim.stems:
                claims += 1
                if reason := _unsupported(claim, known, every, question, capitals):
                    unsupported.append(f"{part.strip()}: {reason}")
        found.append(SentenceSupport(sentence, claims, tuple(unsupported), silent))
    return Support(tuple(found))


def _unsupported(
    claim: Clause, known: Sequence[Clause], every: set[str], question: set[str], capitals: set[str]
) -> str:
    """Why a claim is not supported, or nothing."""
    strange = [s for s in claim.stems if s not in every and s not in question]
    named = [s for s in claim.names if s not in every and s not in question]
    if named:
        return f"{', '.join(dict.fromkeys(named))} is not in the text"
    if len(strange) > STRAY * len(claim.stems) or (len(claim.stems) > 1 and claim.stems[0] in strange and claim.begins):
        return f"{', '.join(dict.fromkeys(strange))} is not in the text"
    wanted = [s for s in claim.stems if s in every]
    if not wanted:
        return ""
    best = max(known, key=lambda c: (_held(wanted, c), len(set(wanted) & set(c.stems))))
    missing = [s for s in wanted if s not in best.stems and s not in best.inherited]
    owned = {stem(m) for m in re.findall(r"(\w+)[’']s\b", claim.text)}
    apart = [
        s
        for s in missing
        if (s in claim.names or s in capitals or s[0].isdigit() or s == claim.stems[0]) and s not in owned
    ]
    if best.own_subject and claim.stems[0] in capitals and claim.stems[0] not in (*best.stems, *owned):
        apart.append(claim.stems[0])
    if apart:
        return f"the text does not say this of {', '.join(dict.fromkeys(apart))}"
    if len(missing) > STRAY * len(wanted) and len(wanted) > 1:
        return f"the text says {', '.join(dict.fromkeys(missing))} of something else"
    if claim.denies != best.denies and not missing:
        return "the text says the opposite"
    if pair := _turned(claim, best, capitals):
        return f"{pair[0]} and {pair[1]} are exchanged"
    return ""


def _held(wanted: Sequence[str], clause: Clause) -> float:
    return sum(1.0 if s in clause.stems else 0.9 if s in clause.inherited else 0.0 for s in wanted)


def _turned(claim: Clause, clause: Clause, capitals: set[str]) -> tuple[str, str] | None:
    """Two names, or two numbers, that stand the other way round than in the text."""
    kinds: list[Callable[[str], bool]] = [lambda s: s[0].isdigit()]
    if claim.passive == clause.passive:
        kinds.append(lambda s: s in capitals and not s[0].isdigit())
    for kind in kinds:
        ours = [s for s in claim.stems if kind(s) and s in clause.stems]
        for one, two in itertools.pairwise(ours):
            if one != two and clause.stems.index(one) > clause.stems.index(two):
                return one, two
    return None
