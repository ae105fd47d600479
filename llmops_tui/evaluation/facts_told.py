"""What is said of an answer's sentences and of abstentions beside the figures of a run: the same wherever figures are shown."""

from __future__ import annotations

from llmops_tui.counts import counted
from llmops_tui.evaluation.fact_records import AbstentionFacts, CellFacts, SentenceFacts
from llmops_tui.evaluation.metrics.base import Answer, Score
from llmops_tui.evaluation.records import Figure

_CELLS = (
    ("abstained_unanswerable", "abstained where it should"),
    ("answered_unanswerable", "answered where it should not"),
    ("abstained_answerable", "abstained where an answer was there"),
    ("answered_answerable", "answered where an answer was there"),
)


def facts_told(figure: Figure) -> list[str]:
    """Lines about the sentences and abstentions of a figure; none where it has no such facts."""
    facts = figure.get("facts") or {}
    lines = [sentences_told(facts["sentences"])] if "sentences" in facts else []
    return lines + (abstention_told(facts["abstention"]) if "abstention" in facts else [])


def sentences_told(found: SentenceFacts) -> str:
    """How many sentences are supported."""
    share = f"{found['mean']:.3g}{_interval(found['low'], found['high'])}"
    count = f"{found['supported']:,} of {counted(found['sentences'], 'sentence')} that claim something"
    return f"{count} are supported in all: {share}, in {counted(found['answers'], 'answer')}"


def abstention_told(found: AbstentionFacts) -> list[str]:
    """The four rates, and the mean of the right ones."""
    lines = [f"{words}: {_cell(found[name])}" for name, words in _CELLS]  # type: ignore[literal-required]  # they are its fields
    if (balanced := found["balanced"]) is not None:
        interval = _interval(balanced["low"], balanced["high"])
        lines.append(f"balanced accuracy, the mean of both right rates: {balanced['mean']:.3g}{interval}")
    return lines


def _cell(cell: CellFacts) -> str:
    if cell["share"] is None:
        return "there is no such case"
    return f"{cell['count']:g} of {cell['of']:,}, {cell['share']:.3g}{_interval(cell['low'], cell['high'])}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"


def sentence_lines(score: Score) -> list[str]:
    """Each sentence that a score is of, with how many of its claims have no support, or how probably it has."""
    detail = score.detail
    if "judged" in detail:
        both = zip(detail["judged"], detail["chances"], strict=False)
        return [f"supported with {chance:.2f}: {text}" for text, chance in both]
    return [
        f"{'claims nothing' if not claims else f'{claims - bad} of {claims} supported'}: {text}"
        for text, claims, bad in detail.get("sentences") or ()
    ]


def passage_lines(answer: Answer) -> list[str]:
    """The passages that an answer was given, each by its place."""
    if answer.searches and not answer.passages:
        return ["nothing was found"]
    return [
        f"[{number}] {one['document'] or 'a document'} {one['start']}:{one['end']} of {one['index']}"
        + (f" (left out: {one['left_out']!r} tries to command the model)" if "left_out" in one else "")
        for number, one in enumerate(answer.passages, 1)
    ]
