"""What an answer is held against: the text that its case gives, or the passages that were retrieved for it."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Answer, Case

NO_CONTEXT = "the case has no context, and nothing was retrieved for it"
_MARKS = {"yes": True, "true": True, "no": False, "false": False}


def passage_texts(answer: Answer) -> tuple[str, ...] | None:
    """The passages that an answer was given, each with its heading, once; none where nothing was searched for."""
    if not answer.searches:
        return None
    texts = ("\n".join(filter(None, (one["heading"], one["text"]))) for one in answer.passages)
    return tuple(dict.fromkeys(text for text in texts if text))


def context_of(case: Case, answer: Answer) -> Sequence[str] | None:
    """What an answer has to keep to: the context of its case, else its passages; none where there is neither."""
    return (case.context,) if case.context else passage_texts(answer)


def retrieved_for(case: Case, answer: Answer) -> Sequence[str] | None:
    """What was found for a question: the passages of its answer, else the context of its case; none where there is neither."""
    found = passage_texts(answer)
    return found if found is not None else (case.context,) if case.context else None


def asked_of(case: Case) -> str:
    """The words of the question, which nobody has to prove, without the context that may stand in it."""
    said = " ".join([*map(str, case.variables.values()), *(str(m.get("content")) for m in case.messages)])
    return said.replace(case.context, " ") if case.context else said


def answerable(case: Case, name: str) -> bool | None:
    """Whether there is an answer to a case, by the slice or variable of this name; none where it has none.

    Raises:
        InputRefusedError: ``bad_mark``: it says neither yes nor no.
    """
    # Of a variable, false is a value.
    found = case.slices.get(name, case.variables.get(name))
    if found is None or found == "":
        return None
    mark = _MARKS.get(str(found).strip().lower())
    if mark is None:
        told = f"{name} is {str(found)[:60]!r}, which is neither yes nor no"
        raise InputRefusedError("bad_mark", told, "Mark cases by yes and no, or true and false.")
    return mark
