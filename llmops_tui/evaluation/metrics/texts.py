"""Text metrics: exact match, contains, regular expression, edit distance, ROUGE."""

from __future__ import annotations

import functools
import re
import string
from collections import Counter
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score, right_or_wrong
from llmops_tui.words import WORDS

_SHOWN = 80
_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)


def short(text: str) -> str:
    """A text in one line, for a reason."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def squad_normal(text: str) -> str:
    """Lower case, without punctuation and articles, blanks joined.

    Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", 2016, its evaluation script.
    """
    bare = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(_ARTICLES.sub(" ", bare).split())


class Exact(Metric):
    """The answer is what is expected, character for character; blanks around it do not count unless asked to.

    Of a list any text is right.
    """

    type: Literal["exact"] = "exact"
    strip: bool = True
    case: Annotated[bool, Field(description="Whether capital letters count.")] = True
    plain: ClassVar[bool] = True
    revision: ClassVar[int] = 2
    binary: ClassVar[bool] = True
    needs_expected: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where they are the same."""
        found, *expected = (self._bare(text) for text in (answer.text, *case.expected_texts))
        return right_or_wrong(found in expected, f"{short(found)} is not {short(' or '.join(expected))}")

    def _bare(self, text: str) -> str:
        text = text.strip() if self.strip else text
        return text if self.case else text.lower()


class Normalised(Metric):
    """The answer is what is expected after SQuAD's normalisation; a list of expected texts takes the best."""

    type: Literal["normalised"] = "normalised"
    plain: ClassVar[bool] = True
    revision: ClassVar[int] = 2
    binary: ClassVar[bool] = True
    needs_expected: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where they are the same."""
        wanted = [squad_normal(t) for t in case.expected_texts]
        return right_or_wrong(
            squad_normal(answer.text) in wanted, f"{short(answer.text)} is not {short(case.expected_texts[0])}"
        )


class Contains(Metric):
    """The answer contains texts: those given here, or the expected one."""

    type: Literal["contains"] = "contains"
    value: Annotated[tuple[str, ...], Field(description="Texts; none takes the expected one.")] = ()
    mode: Literal["all", "any", "none"] = "all"
    case: bool = False
    at_start: bool = False
    plain: ClassVar[bool] = True
    revision: ClassVar[int] = 2
    binary: ClassVar[bool] = True

    @field_validator("value", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it does."""
        if not self.value and case.expected is None:
            return Score(None, "neither the metric nor the case says which text")
        text = answer.text if self.case else answer.text.lower()
        wanted = list(self.value) or case.expected_texts
        there = [w for w in wanted if self._in(w if self.case else w.lower(), text)]
        if self.mode == "none":
            return right_or_wrong(not there, f"contains {short(', '.join(there))}")
        missing = [w for w in wanted if w not in there]
        # Several expected texts are other ways to say the same.
        enough = self.mode == "any" or not self.value
        right = bool(there) if enough else not missing
        return right_or_wrong(right, f"does not contain {short(', '.join(missing))}")

    def _in(self, part: str, text: str) -> bool:
        return text.lstrip().startswith(part) if self.at_start else part in text


def compiles(pattern: str) -> str:
    """A regular expression, which is read when a suite is, and not first when an answer comes.

    Raises:
        ValueError: it is none.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


class Matches(Metric):
    """The answer matches a regular expression somewhere, or, with ``negate``, nowhere."""

    type: Literal["regex"] = "regex"
    pattern: Annotated[str, Field(max_length=2000), AfterValidator(compiles)]
    negate: bool = False
    binary: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it does."""
        del case
        match = re.search(self.pattern, answer.text[:100_000])
        if self.negate:
            return right_or_wrong(match is None, f"matches {short(match.group()) if match else ''}")
        return right_or_wrong(match is not None, f"does not match {short(self.pattern)}")


# A hyphen behind a letter, a digit or a bracket is none of the number's: a range, a difference, a name such as GPT-4.
_NUMBER = re.compile(r"(?:(?<![\w)\]])[-−])?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+−]?\d+(?!\w))?")


def number_in(text: str, which: Literal["last", "first", "marked"]) -> float | None:
    """A number in a text: the last, the first, or the one behind ``####``; thousands are separated by commas."""
    if which == "marked":
        _, mark, text = text.rpartition("####")
        if not mark:
            return None
        which = "first"
    found = _NUMBER.findall(text)
    if not found:
        return None
    bare = found[-1 if which == "last" else 0].replace(",", "").replace("$", "").replace("−", "-")
    return float(bare)


class Numeric(Metric):
    """The answer's number is the expected one, within a tolerance.

    An expected text with ``####`` is read as GSM8K's are: the number behind the mark. Cobbe et al., "Training Verifiers to
    Solve Math Word Problems", 2021. Of the answer the last number is taken, or with ``extract: marked`` the one behind it.
    """

    type: Literal["numeric"] = "numeric"
    tolerance: Annotated[float, Field(ge=0)] = 1e-9
    relative: Annotated[float, Field(ge=0)] = 0.0
    extract: Literal["last", "first", "marked"] = "last"
    little: ClassVar[int] = 20_000
    revision: ClassVar[int] = 2
    binary: ClassVar[bool] = True
    needs_expected: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it is."""
        wanted = []
        for expected in case.expected_texts:
            number = number_in(expected, "marked" if "####" in expected else "last")
            if number is None:
                return Score(None, f"the expected answer has no number: {short(expected)}")
            wanted.append(number)
        found = number_in(answer.text, self.extract)
        if found is None:
            return Score(0.0, "the answer has no number")
        right = any(abs(found - one) <= max(self.tolerance, self.relative * abs(one)) for one in wanted)
        return right_or_wrong(right, f"{found:g} is not {' or '.join(f'{one:g}' for one in wanted)}")


class TokenF1(Metric):
    """Words that answer and expectation share, as the harmonic mean of precision and recall; the best of several.

    SQuAD's F1 (Rajpurkar et al. 2016), after its normalisation.
    """

    type: Literal["token-f1"] = "token-f1"
    plain: ClassVar[bool] = True
    share: ClassVar[bool] = True
    revision: ClassVar[int] = 2
    needs_expected: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """From 0 to 1."""
        return Score(max(_f1(squad_normal(answer.text).split(), squad_normal(t).split()) for t in case.expected_texts))


def _f1(found: list[str], expected: list[str]) -> float:
    if not found or not expected:
        return float(found == expected)
    same = (Counter(found) & Counter(expected)).total()
    return 2 * same / (len(found) + len(expected)) if same else 0.0


class EditDistance(Metric):
    """How alike answer and expectation are: 1 less the Levenshtein distance over the longer length (Levenshtein 1966).

    Of several expected texts the most alike counts.
    """

    type: Literal["edit-similarity"] = "edit-similarity"
    little: ClassVar[int] = 10_000
    share: ClassVar[bool] = True
    revision: ClassVar[int] = 2
    needs_expected: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """From 0 to 1."""
        from rapidfuzz.distance import Levenshtein

        found = answer.text.strip()
        distances = [(Levenshtein.distance(found, text), len(text)) for text in map(str.strip, case.expected_texts)]
        value, distance = max((1 - d / max(len(found), size, 1), d) for d, size in distances)
        return Score(value, detail={"distance": distance})


class Rouge(Metric):
    """ROUGE-1, -2 or -L: shared words, pairs of words, or the longest common subsequence, as F-measure.

    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004; computed by rouge-score. Its own words are made of
    ASCII letters and digits; where an expected text has letters of other scripts than Latin, words are made of any letters,
    and each Chinese, Japanese or Thai character is one. Of several expected texts the best counts.
    """

    type: Literal["rouge"] = "rouge"
    variant: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"
    stemmer: bool = False
    # The longest common subsequence is found word against word.
    little: ClassVar[int] = 2_000
    share: ClassVar[bool] = True
    revision: ClassVar[int] = 2
    needs_expected: ClassVar[bool] = True

    @property
    def called(self) -> str:
        """Its name in results."""
        return self.name or self.variant

    def score(self, case: Case, answer: Answer) -> Score:
        """From 0 to 1."""
        best = max(
            (
                _rouge(self.variant, self.stemmer, any_script=_beyond_latin(text)).score(text, answer.text)[
                    self.variant
                ]
                for text in case.expected_texts
            ),
            key=lambda found: found.fmeasure,
        )
        return Score(best.fmeasure, detail={"precision": best.precision, "recall": best.recall})


_LATIN_END = 0x24F


def _beyond_latin(text: str) -> bool:
    return any(ord(c) > _LATIN_END and c.isalpha() for c in text)


class _AnyScript:
    """A tokenizer for rouge-score: words of any letters, characters where a language puts no blanks between words."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text, in lower case."""
        return WORDS.findall(text.lower())


@functools.cache
def _rouge(variant: str, stemmer: bool, *, any_script: bool) -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer([variant], use_stemmer=stemmer, tokenizer=_AnyScript() if any_script else None)


class Length(Metric):
    """How long the answer is, in words or characters."""

    type: Literal["length"] = "length"
    of: Literal["words", "characters"] = "words"
    plain: ClassVar[bool] = True
    better: ClassVar[int] = 0

    def score(self, case: Case, answer: Answer) -> Score:
        """A count."""
        del case
        return Score(float(len(answer.text.split()) if self.of == "words" else len(answer.text)))
