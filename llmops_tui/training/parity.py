"""Whether the model that will be served sees what was trained: the same conversations, token by token."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmops_tui.counts import agree, counted
from llmops_tui.datasets.records import CONTENT_COLUMNS, Row, conversation
from llmops_tui.datasets.tokens import ModelText
from llmops_tui.models.registry import Model
from llmops_tui.training.examples import answered, sources, with_options
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.records import Difference

if TYPE_CHECKING:
    from llmops_tui.datasets.store import DatasetStore

_COMPARED = 50


@dataclass(frozen=True)
class Parity:
    """Whether the trainer and the serving engine see the same tokens.

    Attributes:
        compared: conversations that were compared.
        different: how many of them are not the same.
        first: the first difference: both texts around it, and both tokens.
        prompts: how many prompts, as they are served, do not stand before the answer in training; ``first_prompt`` is
            the first of them.
    """

    serving: str
    compared: int
    different: int
    first: Difference | None
    prompts: int = 0
    first_prompt: Difference | None = None


def compare_with_serving(
    training: ModelText, serving: Model, template: str | None, rows: list[tuple[str, Any]]
) -> Parity:
    """Compare the tokens of rows, as (kind, row), in training with those of a model that serves them.

    ``template`` is the one that the result will carry; without it the model is taken with its own.
    """
    found = Parity(serving.name, min(len(rows), _COMPARED), 0, None)
    with ModelText(serving, template) as engine:
        for kind, row in rows[:_COMPARED]:
            ours = training.tokenizer.tokens(training.row_text(kind, row).text)
            theirs = engine.tokenizer.tokens(engine.row_text(kind, row).text)
            if [token for token, _ in ours] != [token for token, _ in theirs]:
                first = found.first or _first_difference(ours, theirs)
                found = replace(found, different=found.different + 1, first=first)
                continue
            asked = engine.question(kind, row) if _ends_in_answer(kind, row) else None
            prompt = engine.tokenizer.tokens(asked[0]) if asked is not None else []
            if [token for token, _ in prompt] != [token for token, _ in ours[: len(prompt)]]:
                first = found.first_prompt or _first_difference(ours, prompt)
                found = replace(found, prompts=found.prompts + 1, first_prompt=first)
    return found


def _ends_in_answer(kind: str, row: Row) -> bool:
    """Whether a conversation's last turn is the answer to what is before; a template may write earlier ones otherwise."""
    return kind in CONTENT_COLUMNS and [m.get("role") for m in conversation(kind, row)][-1:] == ["assistant"]


def _first_difference(ours: list[tuple[int, bytes]], theirs: list[tuple[int, bytes]]) -> Difference:
    pairs = zip(ours, theirs, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a[0] != b[0]), min(len(ours), len(theirs)))
    begin = max(0, at - 5)
    return {
        "token": at,
        "training": b"".join(piece for _, piece in ours[begin : at + 5]).decode("utf-8", "replace"),
        "serving": b"".join(piece for _, piece in theirs[begin : at + 5]).decode("utf-8", "replace"),
        "training_ids": [token for token, _ in ours[at : at + 5]],
        "serving_ids": [token for token, _ in theirs[at : at + 5]],
    }


def check_parity(parity: Parity | None) -> list[Finding]:
    """What is to be said about training and serving."""
    if parity is None:
        return [
            Finding(
                "info",
                "no_serving",
                "no GGUF model of this base is registered: serving is not compared",
                "The export creates one.",
            )
        ]
    found = []
    if parity.different:
        found.append(
            Finding(
                "error",
                "parity",
                f"{parity.different} of {counted(parity.compared, 'conversation')} "
                f"{agree(parity.different, 'has', 'have')} different tokens in {parity.serving} than in training",
                "Serving would differ from training: use the same template and tokenizer in both.",
            )
        )
    if (first := parity.first_prompt) is not None:
        found.append(
            Finding(
                "warn",
                "prompt",
                f"{parity.prompts} of {counted(parity.compared, 'prompt')}, as {parity.serving} is asked, "
                f"{agree(parity.prompts, 'does', 'do')} not stand before the answer in training: it is asked with "
                f"{first['serving'][-60:]!r} and taught {first['training'][-60:]!r}",
                "Give the data its thinking, or switch it off: chat_template_kwargs, such as {enable_thinking: false}.",
            )
        )
    return found


def some_rows(recipe: Recipe, datasets: DatasetStore) -> list[tuple[str, Any]]:
    """Rows of each dataset, from its beginning, its middle and its end."""
    found: list[tuple[str, Any]] = []
    for version, source in sources(recipe, datasets):
        step = max(1, version.rows // 50)
        kind = "prompt-completion" if version.kind == "preference" else version.kind
        rows = version.rows_at(list(range(0, version.rows, step))[:50])
        chosen = [answered(row, "chosen") if version.kind == "preference" else row for row in rows]
        found += [(kind, with_options(row, recipe, source)) for row in chosen]
    return found
