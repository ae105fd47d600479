"""Training examples from dataset rows: token ids, and which tokens are in the loss."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict

from llmops_tui.datasets.records import Row
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.tokens import ModelText, TokenView
from llmops_tui.datasets.training_fields import ROW_FIELDS
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.training.methods import METHODS
from llmops_tui.training.recipe import DataSource, Recipe

IGNORED = -100
_BATCH = 64
_SHOWN = 5


class Example(TypedDict, total=False):
    """A row as a trainer takes it: token ids by the names that TRL gives them.

    A text, or a conversation, has ``input_ids`` and ``labels``; a pair a prompt and two answers; a thumb a prompt, an answer
    and whether it is a good one (``label``), and for its trainer also an answer to another prompt. Texts are empty, and there
    for a trainer that asks for them.
    """

    input_ids: list[int]
    labels: list[int]
    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    completion_ids: list[int]
    label: bool
    KL_completion_ids: list[int]
    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Generated:
    """Something to generate an answer to while training, the answer that the data has, and the tokens that end one."""

    prompt: str
    expected: str
    ids: list[int]
    ends: list[int]


@dataclass
class Report:
    """What became of the rows.

    Attributes:
        rows: all rows that were read, by dataset version.
        lengths: tokens of each example that is trained on.
        trained: tokens learned from, of all examples.
        cut: rows with tokens behind the maximum length; ``cut_rows`` has the numbers of the first few.
        longest: tokens of the longest row, with what of it is cut.
        without_target: rows with nothing to learn from, which are left out.
        problems: how many rows have each problem, with the numbers of the first few.
    """

    rows: dict[str, int] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    trained: int = 0
    cut: int = 0
    cut_rows: list[str] = field(default_factory=list)
    longest: int = 0
    without_target: int = 0
    problems: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    shown: list[TokenView] = field(default_factory=list)

    def note(self, problem: str, where: str) -> None:
        """Count a problem of a row."""
        count, rows = self.problems.get(problem, (0, []))
        self.problems[problem] = (count + 1, [*rows, where] if len(rows) < _SHOWN else rows)


@dataclass
class Examples:
    """What a run trains and measures on."""

    train: list[Example]
    held_out: list[Example]
    generated: list[Generated]
    report: Report


def sources(recipe: Recipe, store: DatasetStore) -> list[tuple[DatasetVersion, DataSource]]:
    """The dataset versions of a recipe with what it says of each.

    Raises:
        InputRefusedError: a dataset is of a kind that the method cannot learn from.
    """
    found = []
    for source in recipe.data:
        version = store.get(source.dataset)
        if version.kind not in recipe.facts.kinds:
            fitting = next((m for m, facts in METHODS.items() if version.kind in facts.kinds), None)
            raise InputRefusedError(
                "wrong_kind",
                f"{version.ref} has rows of kind {version.kind}, but {recipe.method} learns from "
                f"{' or '.join(recipe.facts.kinds)}",
                f"Choose method: {fitting}."
                if fitting
                else "Import it with a mapping of its columns to a prompt and an answer.",
            )
        found.append((version, source))
    return found


def build(
    recipe: Recipe,
    store: DatasetStore,
    text: ModelText,
    progress: Callable[[float], None] = lambda _share: None,
    limit: int | None = None,
) -> Examples:
    """Tokenize the data of a recipe; with ``limit`` only so many rows of each dataset.

    Raises:
        InputRefusedError: ``no_targets`` where nothing could be learned, and what :func:`sources` raises.
    """
    report, maker = Report(), _Maker(recipe, text)
    train: list[Example] = []
    held_out: list[Example] = []
    generated: list[Generated] = []
    versions = sources(recipe, store)
    total = sum(version.rows for version, _ in versions) or 1
    done = 0
    own_evaluation = not recipe.evaluation.dataset and recipe.evaluation.share > 0
    for version, source in versions:
        chance = random.Random(f"{recipe.seed}:{version.sha256}")  # noqa: S311
        for read in version.read(batch=_BATCH, limit=limit):
            rows = [(number, with_options(row, recipe, source)) for number, row in read]
            for (number, row), made in zip(rows, maker.make(version.kind, [row for _, row in rows]), strict=True):
                examples = made.counted(f"{version.ref} row {number}", report)
                if own_evaluation and len(held_out) < recipe.evaluation.max_rows and _held_out(made.text, recipe):
                    held_out += examples
                    _add_generated(generated, recipe, maker, version.kind, row)
                    continue
                for _ in range(int(source.weight) + (chance.random() < source.weight % 1)):
                    train += examples
            done += len(rows)
            progress(done / total)
        report.rows[version.ref] = min(version.rows, limit or version.rows)
    if recipe.evaluation.dataset:
        version = store.get(recipe.evaluation.dataset)
        for read in version.read(batch=_BATCH, limit=recipe.evaluation.max_rows):
            rows = [(number, with_options(row, recipe, None)) for number, row in read]
            for (_, row), made in zip(rows, maker.make(version.kind, [row for _, row in rows]), strict=True):
                held_out += made.examples
                _add_generated(generated, recipe, maker, version.kind, row)
    if not train:
        raise InputRefusedError(
            "no_targets",
            "no tokens in the loss: no row has an answer within the maximum length",
            "Show the tokens of a record (datasets screen, w), or raise batch.max_length.",
        )
    report.lengths = [_length(example) for example in train]
    return Examples(train, held_out, generated, report)


def _length(example: Example) -> int:
    if "input_ids" in example:
        return len(example["input_ids"])
    answers = (example.get("chosen_ids"), example.get("rejected_ids"), example.get("completion_ids"))
    return len(example["prompt_ids"]) + max(len(answer) for answer in answers if answer is not None)


def _held_out(text: str, recipe: Recipe) -> bool:
    """By the text itself, so that the same row twice is never on both sides."""
    digest = hashlib.sha256(f"{recipe.seed}\n{text}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < recipe.evaluation.share


def _add_generated(found: list[Generated], recipe: Recipe, maker: _Maker, kind: str, row: Row) -> None:
    if len(found) < recipe.evaluation.samples:
        asked = maker.question(kind, row)
        if asked is not None:
            found.append(asked)


@dataclass
class _Made:
    """What one row gave: its text, examples, and what is to be told of it."""

    text: str
    examples: list[Example]
    views: list[TokenView]

    def counted(self, where: str, report: Report) -> list[Example]:
        for view in self.views:
            states = [token.state for token in view.tokens]
            if "cut" in states:
                report.cut += 1
                report.cut_rows += [where] if len(report.cut_rows) < _SHOWN else []
            report.longest = max(report.longest, len(states))
            for problem in view.problems:
                report.note(problem, where)
            report.trained += states.count("trained")
        if not self.examples:
            report.without_target += 1
        elif len(report.shown) < _SHOWN:
            report.shown.append(self.views[0])
        return self.examples


class _Maker:
    """Makes the examples of one method."""

    def __init__(self, recipe: Recipe, text: ModelText) -> None:
        self._recipe = recipe
        self._text = text

    def make(self, kind: str, rows: list[Row]) -> list[_Made]:
        """What each row gives; tokenized together."""
        if self._recipe.facts.examples == "pairs":
            pairs = [(self._view(answered(row, "chosen")), self._view(answered(row, "rejected"))) for row in rows]
            return [self._preference(chosen, rejected) for chosen, rejected in pairs]
        if self._recipe.facts.examples == "thumbs":
            return [self._thumb(row, self._view(row)) for row in rows]
        texts = [self._text.row_text(kind, row) for row in rows]
        tokens = self._text.tokenizer.many([made.text for made in texts])
        answers = self._recipe.facts.examples == "answers"
        limit = self._recipe.batch.max_length if answers else 0
        if not (self._recipe.assistant_only and answers):
            texts = [made.everything() for made in texts]
        return [self._plain(self._text.mark(made, pieces, limit)) for made, pieces in zip(texts, tokens, strict=True)]

    def _view(self, row: Row) -> TokenView:
        return self._text.view("prompt-completion", row, self._recipe.batch.max_length)

    def _plain(self, view: TokenView) -> _Made:
        limit = self._recipe.batch.max_length
        tokens = view.tokens
        examples: list[Example] = []
        # A long text is learned from whole, in pieces; of a conversation what is behind the limit is cut.
        for start in range(0, len(tokens), limit):
            part = tokens[start : start + limit]
            labels = [token.id if token.state == "trained" else IGNORED for token in part]
            # The first token is never predicted.
            if any(label != IGNORED for label in labels[1:]):
                examples.append({"input_ids": [token.id for token in part], "labels": labels})
            if self._recipe.facts.examples == "answers":
                break
        return _Made(view.rendered, examples, [view])

    def _preference(self, chosen: TokenView, rejected: TokenView) -> _Made:
        prompt, better = _split(chosen)
        other, worse = _split(rejected)
        examples: list[Example] = []
        if better and worse and prompt == other and len(prompt) < self._recipe.batch.max_length:
            examples.append({"prompt_ids": prompt, "chosen_ids": better, "rejected_ids": worse})
        return _Made(chosen.rendered, examples, [chosen, rejected])

    def _thumb(self, row: Row, view: TokenView) -> _Made:
        prompt, answer = _split(view)
        examples: list[Example] = []
        if answer:
            examples.append({"prompt_ids": prompt, "completion_ids": answer, "label": bool(row.get("label"))})
        return _Made(view.rendered, examples, [view])

    def question(self, kind: str, row: Row) -> Generated | None:
        """What a row asks, up to where the model answers, and its answer; none of a text."""
        if kind == "preference":
            kind, row = "prompt-completion", answered(row, "chosen")
        asked = self._text.question(kind, row)
        if asked is None:
            return None
        rendered, expected = asked
        ids = [token for token, _ in self._text.tokenizer.tokens(rendered)]
        return Generated(rendered, expected, ids, sorted(self._text.end_ids))


def answered(row: Row, which: str) -> Row:
    """A row's prompt with one of its answers; pairs of whole conversations have their prompt in what both begin with."""
    prompt, answer = row.get("prompt"), row.get(which)
    if prompt is None and isinstance(row.get("chosen"), list) and isinstance(row.get("rejected"), list):
        chosen, rejected = row["chosen"], row["rejected"]
        shared = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), 0)
        prompt, answer = chosen[:shared], row[which][shared:]
    beside = {name: row[name] for name in ROW_FIELDS if name in row}
    return {"prompt": prompt, "completion": answer} | beside


def with_options(row: Row, recipe: Recipe, source: DataSource | None) -> Row:
    """A row with what the recipe says of all rows, and of those of its dataset; what the row says itself counts more."""
    options = source.chat_template_kwargs if source is not None else {}
    own = row.get("chat_template_kwargs")
    if options and (own is None or isinstance(own, dict)):
        row = row | {"chat_template_kwargs": options | (own or {})}
    return row | {"mask_history": True} if recipe.mask_history and row.get("mask_history") is None else row


def _split(view: TokenView) -> tuple[list[int], list[int]]:
    """The ids before the answer, and those of the answer within the limit."""
    kept = [token for token in view.tokens if token.state != "cut"]
    start = next((i for i, token in enumerate(kept) if token.state == "trained"), len(kept))
    return [token.id for token in kept[:start]], [token.id for token in kept[start:]]
