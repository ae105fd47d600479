"""Training examples from dataset rows: token ids, and which tokens are in the loss."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from llmops_tui.datasets.origins import parents_among
from llmops_tui.datasets.records import Row, answer_text
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.tokens import ModelText, TokenView
from llmops_tui.datasets.training_fields import ROW_FIELDS
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.training.asked_prompts import prompt_examples
from llmops_tui.training.example import IGNORED, Example, learned_in, length_of
from llmops_tui.training.held_out import HeldOut, Place, choose, look, measured_on
from llmops_tui.training.methods import METHODS
from llmops_tui.training.mixture import SourceShare, repeats, times
from llmops_tui.training.packing import pack
from llmops_tui.training.recipe import DataSource, Recipe, changed

SAME_ANSWERS = "the chosen answer is the rejected one: there is nothing to prefer"
EMPTY_ANSWER = "the answer is empty: the model would learn to say nothing"
_BATCH = 64
_SHOWN = 5


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
        lengths: tokens of each example that is trained on, or of each sequence where several are packed into one.
        packed: how many examples were packed; 0 where none were.
        trained: tokens learned from in an epoch, of all examples that are trained on.
        cut: rows with tokens behind the maximum length; ``cut_rows`` has the numbers of the first few.
        longest: tokens of the longest row, with what of it is cut.
        without_target: rows with nothing to learn from, which are left out; ``skipped`` counts those of them whose problem
            says why, by problem.
        unmeasured: rows that are held out and have nothing to be measured on, by dataset and number.
        problems: how many rows have each problem, with the numbers of the first few.
        drawn: which rows are held out, and what of them is to be told; none where nothing is measured.
        sources: what each dataset comes to, in the order of the recipe.
    """

    rows: dict[str, int] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    packed: int = 0
    trained: int = 0
    cut: int = 0
    cut_rows: list[str] = field(default_factory=list)
    longest: int = 0
    without_target: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    unmeasured: set[Place] = field(default_factory=set)
    problems: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    shown: list[TokenView] = field(default_factory=list)
    drawn: HeldOut | None = None
    sources: list[SourceShare] = field(default_factory=list)

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
    versions = sources(recipe, store)
    total = sum(version.rows for version, _ in versions) or 1
    done = 0
    held = _draw(recipe, store, [version for version, _ in versions], report, limit)
    asked: dict[Place, Generated] = {}
    sizes = [min(version.rows, limit or version.rows) for version, _ in versions]
    often = repeats(sizes, [source.weight for _, source in versions], recipe.mixture_temperature)
    for index, (version, source) in enumerate(versions):
        chance = random.Random(f"{recipe.seed}:{version.sha256}")  # noqa: S311
        share = SourceShare(version.ref, source.weight)
        report.sources.append(share)
        for read in version.read(batch=_BATCH, limit=limit):
            rows = [(number, with_options(row, recipe, source)) for number, row in read]
            for (number, row), made in zip(rows, maker.make(version.kind, [row for _, row in rows]), strict=True):
                examples = made.counted(f"{version.ref} row {number}", report)
                if (index, number) in held:
                    share.hold_out()
                    held_out += examples
                    if not examples:
                        report.unmeasured.add((index, number))
                    _add_generated(asked, held, (index, number), recipe, maker, version.kind, row)
                    continue
                count = times(often[index], chance)
                share.take(examples, count)
                for _ in range(count):
                    train += examples
            done += len(rows)
            progress(done / total)
        report.rows[version.ref] = sizes[index]
    if recipe.evaluation.dataset:
        held_out = _measured(recipe, store.get(recipe.evaluation.dataset), maker, asked, report)
    if not train:
        raise InputRefusedError(
            "no_targets",
            "no prompt can be answered: batch.max_length is that of a prompt and an answer of reinforcement.max_tokens"
            if recipe.facts.examples == "prompts"
            else "no tokens in the loss: no row has an answer within the maximum length",
            "Show the tokens of a record (datasets screen, w), or raise batch.max_length.",
        )
    report.trained = sum(map(learned_in, train))
    if recipe.batch.packing:
        report.packed = len(train)
        train = pack(train, recipe.batch.max_length)
    report.lengths = [length_of(example) for example in train]
    return Examples(train, held_out, [asked[place] for place in sorted(asked)], report)


def some_held_out(recipe: Recipe, store: DatasetStore, text: ModelText, count: int) -> list[Example]:
    """Examples that a run did not learn from, as it drew them; where those are few, some of its data beside them."""
    versions = sources(recipe, store)
    if recipe.facts.examples == "prompts":
        # The model is asked the same, and an answer that the data has stands for one to compare on.
        recipe = changed(recipe, {"method": "sft", "reinforcement": {}})
    report, maker = Report(), _Maker(recipe, text)
    held = _draw(recipe, store, [version for version, _ in versions], report, None)
    found: list[Example] = []
    if recipe.evaluation.dataset:
        found = _measured(recipe, store.get(recipe.evaluation.dataset), maker, {}, report)[:count]
    places = list(held)[:count]
    more: list[Example] = []
    for index, (version, source) in enumerate(versions):
        own = [number for place, number in places if place == index]
        others = range(min(version.rows, count)) if len(found) + len(places) < count else ()
        for numbers, kept in ((own, found), ([number for number in others if number not in own], more)):
            rows = [with_options(row, recipe, source) for row in version.rows_at(numbers)]
            kept += [example for made in maker.make(version.kind, rows) for example in made.examples]
    return [*found, *more][:count]


def _draw(
    recipe: Recipe, store: DatasetStore, versions: list[DatasetVersion], report: Report, limit: int | None
) -> dict[Place, int]:
    """The rows of the data that are held out, each with its turn in which it was drawn."""
    evaluation = recipe.evaluation
    if evaluation.dataset:
        measured = store.get(evaluation.dataset)
        report.drawn = measured_on(look([measured]), look(versions, limit), evaluation.max_rows, recipe.seed)
        report.drawn.parents = len(parents_among([*versions, measured]))
        return {}
    if evaluation.share <= 0:
        return {}
    report.drawn = choose(look(versions, limit), evaluation.share, evaluation.max_rows, recipe.seed)
    return {place: turn for turn, place in enumerate(report.drawn.rows)}


def _measured(
    recipe: Recipe, version: DatasetVersion, maker: _Maker, asked: dict[Place, Generated], report: Report
) -> list[Example]:
    """The examples of an evaluation dataset of its own, of the rows that were drawn from all of it."""
    assert report.drawn is not None
    wanted = {place: turn for turn, place in enumerate(report.drawn.rows)}
    found: list[Example] = []
    for read in version.read(batch=_BATCH):
        rows = [(number, with_options(row, recipe, None)) for number, row in read if (0, number) in wanted]
        for (number, row), made in zip(rows, maker.make(version.kind, [row for _, row in rows]), strict=True):
            found += made.examples
            if not made.examples:
                report.unmeasured.add((0, number))
            _add_generated(asked, wanted, (0, number), recipe, maker, version.kind, row)
    return found


def _add_generated(
    found: dict[Place, Generated],
    held: dict[Place, int],
    place: Place,
    recipe: Recipe,
    maker: _Maker,
    kind: str,
    row: Row,
) -> None:
    """Ask what a held-out row asks, where it is one of the first that were drawn."""
    if held[place] < recipe.evaluation.samples:
        asked = maker.question(kind, row)
        if asked is not None:
            found[place] = asked


@dataclass
class _Made:
    """What one row gave: its examples, and what is to be told of it."""

    examples: list[Example]
    views: list[TokenView]
    problems: tuple[str, ...] = ()

    def counted(self, where: str, report: Report) -> list[Example]:
        states = [[token.state for token in view.tokens] for view in self.views]
        # Once a row, also where both answers of a pair are cut, or have the same problem.
        if any("cut" in one for one in states):
            report.cut += 1
            report.cut_rows += [where] if len(report.cut_rows) < _SHOWN else []
        for problem in dict.fromkeys((*self.problems, *(p for view in self.views for p in view.problems))):
            report.note(problem, where)
        for one in states:
            report.longest = max(report.longest, len(one))
        if not self.examples:
            report.without_target += 1
            report.skipped.update(self.problems[:1])
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
            return [
                self._preference(chosen, rejected, [answer_text(kind, row), _rejected_text(row)])
                for row, (chosen, rejected) in zip(rows, pairs, strict=True)
            ]
        if self._recipe.facts.examples == "prompts":
            longest = self._recipe.batch.max_length - self._recipe.reinforcement.max_tokens
            return [_Made(*made) for made in prompt_examples(self._text, kind, rows, longest)]
        if self._recipe.facts.examples == "thumbs":
            return [self._thumb(row, self._view(row)) for row in rows]
        texts = [self._text.row_text(kind, row) for row in rows]
        tokens = self._text.tokenizer.many([made.text for made in texts])
        answers = self._recipe.facts.examples == "answers"
        limit = self._recipe.batch.max_length if answers else 0
        if not (self._recipe.assistant_only and answers):
            texts = [made.everything() for made in texts]
        return [
            self._plain(self._text.mark(made, pieces, limit), _empty(kind, row) if answers else ())
            for row, made, pieces in zip(rows, texts, tokens, strict=True)
        ]

    def _view(self, row: Row) -> TokenView:
        return self._text.view("prompt-completion", row, self._recipe.batch.max_length)

    def _plain(self, view: TokenView, problems: tuple[str, ...]) -> _Made:
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
        return _Made(examples, [view], problems)

    def _preference(self, chosen: TokenView, rejected: TokenView, answers: list[str]) -> _Made:
        prompt, better = _split(chosen)
        other, worse = _split(rejected)
        examples: list[Example] = []
        problems = (EMPTY_ANSWER,) if any(not answer.strip() for answer in answers) else ()
        if better == worse and prompt == other and better:
            problems = (SAME_ANSWERS,)
        elif better and worse and prompt == other and len(prompt) < self._recipe.batch.max_length:
            examples.append({"prompt_ids": prompt, "chosen_ids": better, "rejected_ids": worse})
        return _Made(examples, [chosen, rejected], problems)

    def _thumb(self, row: Row, view: TokenView) -> _Made:
        prompt, answer = _split(view)
        examples: list[Example] = []
        if answer:
            examples.append({"prompt_ids": prompt, "completion_ids": answer, "label": bool(row.get("label"))})
        return _Made(examples, [view], _empty("kto", row))

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


def _empty(kind: str, row: Row) -> tuple[str, ...]:
    """The problem of a row whose answer is given and says nothing; a turn that is none is another problem."""
    said = row.get("completion")
    return (EMPTY_ANSWER,) if kind != "messages" and isinstance(said, str) and not said.strip() else ()


def _rejected_text(row: Row) -> str:
    return answer_text("preference", {"chosen": row.get("rejected")})


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
