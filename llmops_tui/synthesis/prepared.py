"""A plan with all that it names: the seeds' rows, the shape of new rows, the prompt, the model, and the tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from llmops_tui.counts import counted
from llmops_tui.datasets.origins import parent_of
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.rewording import Rewording, rewording_of
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.asking.asker import Asker
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import options_from
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.prompts.store import PromptStore, PromptVersion
from llmops_tui.settings import load_settings
from llmops_tui.synthesis.filters import Sieve, text_of
from llmops_tui.synthesis.languages import known_language, language_of
from llmops_tui.synthesis.plan import SynthesisPlan
from llmops_tui.synthesis.prompts import Conversations, prompt_of
from llmops_tui.synthesis.shape import RowShape, shape_of
from llmops_tui.synthesis.tasks import Seed, Task, read_rows_of, seeds_of, tasks_of
from llmops_tui.synthesis.writer import Writer

if TYPE_CHECKING:
    from llmops_tui.workspace.catalog import Catalog

_LANGUAGE_TEXTS = 200
T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """All that a synthesis works with.

    Attributes:
        plan: with the versions that its references stand for, so that the same is found again.
        source: the texts of all seed rows, which new rows must differ from.
        told: what is to be known before it is started, such as columns that new rows do not have.
        language: that of the seeds, of a back-translation.
        judge: the model that grades the rows, where the plan names one.
    """

    plan: SynthesisPlan
    model: Model
    prompt: PromptVersion
    shape: RowShape
    tasks: list[Task]
    source: list[str]
    told: list[str]
    seeds: DatasetVersion | None = None
    rewording: Rewording | None = None
    language: str = "en"
    judge: Model | None = None

    @property
    def sieve(self) -> Sieve:
        """What sorts the answers."""
        return Sieve(self.plan, self.shape, self.rewording, self.source, self.language)

    @property
    def calls_a_row(self) -> int:
        """Requests to the model for one row, the judge's apart."""
        return 2 if self.plan.way == "back-translation" else 1


def prepare(catalog: Catalog, plan: SynthesisPlan) -> Prepared:
    """Find all that a plan names.

    Raises:
        InputRefusedError: something of it cannot be written, and why.
        NotFoundError: it names something that is not there.
    """
    registry = ModelRegistry(catalog)
    judge = registry.writing(plan.filters.judge) if plan.filters.judge else None
    return replace(_prepared(catalog, plan, registry.writing(plan.model)), judge=judge)


def _prepared(catalog: Catalog, plan: SynthesisPlan, model: Model) -> Prepared:
    prompt = prompt_of(plan, PromptStore(catalog))
    plan = plan.model_copy(update={"prompt": prompt.ref})
    if not plan.seeds:
        shape = shape_of(plan, None, ())
        return Prepared(plan, model, prompt, shape, tasks_of(plan, ()), [], _told_of_shape(shape, None))
    version = DatasetStore(catalog).get(plan.seeds)
    plan = plan.model_copy(update={"seeds": version.ref})
    rows = read_rows_of(version)
    if plan.way == "rows":
        shape = shape_of(plan, version, [row for _, row in rows])
        seeds = seeds_of(version, rows, shape)
        told = _told_of_shape(shape, version) + _unusable(version, len(rows), len(seeds), ", ".join(shape.write))
        source = [text_of(seed.answer, shape) for seed in seeds]
        return Prepared(plan, model, prompt, shape, tasks_of(plan, seeds), source, told, version)
    return _prepared_rewording(plan, model, prompt, version, rows)


def _prepared_rewording(
    plan: SynthesisPlan, model: Model, prompt: PromptVersion, version: DatasetVersion, rows: list[tuple[int, Row]]
) -> Prepared:
    if len(plan.write) > 1:
        raise InputRefusedError("bad_plan", f"write: {plan.way} says one column in other words", "Name one.")
    rewording = rewording_of(version, plan.write[0] if plan.write else "")
    shape = RowShape(version.kind, {}, (rewording.column,))
    seeds = _worded_seeds(version, rows, rewording)
    told = _unusable(version, len(rows), len(seeds), rewording.column)
    if rewording.carried:
        told.append(
            f"carried along as they are: {', '.join(rewording.carried)}; right where the words are not what they are about"
        )
    source = [rewording.text_of(seed.row) or "" for seed in seeds]
    language = "en"
    if plan.way == "back-translation":
        language = _language(version, source, plan.language)
        told.append(f"the language of {version.ref} is taken to be {language}")
    return Prepared(plan, model, prompt, shape, tasks_of(plan, seeds), source, told, version, rewording, language)


def _worded_seeds(version: DatasetVersion, rows: list[tuple[int, Row]], rewording: Rewording) -> list[Seed]:
    found = []
    for number, row in rows:
        if (text := rewording.text_of(row)) is not None:
            found.append(Seed(number, row, {rewording.column: text}, parent_of(version, number, row)))
    return found


def _told_of_shape(shape: RowShape, version: DatasetVersion | None) -> list[str]:
    told = [f"written: {', '.join(shape.write)}; rows of kind {shape.kind}"]
    if shape.keep:
        told.append(
            f"taken from the seed row: {', '.join(shape.keep)}: the model is asked for a row that fits, which nobody has checked"
        )
    if shape.left_out and version is not None:
        told.append(f"columns of {version.ref} that new rows do not have: {', '.join(shape.left_out)}")
    return told


def _unusable(version: DatasetVersion, rows: int, seeds: int, fields: str) -> list[str]:
    if not seeds:
        raise InputRefusedError(
            "no_seeds",
            f"no row of {version.ref} has {fields} as one text each",
            "Choose other columns, or give a schema.",
        )
    missing = rows - seeds
    return (
        [f"{counted(missing, 'row')} of {version.ref} cannot be seeds: without {fields} as one text"] if missing else []
    )


def _language(version: DatasetVersion, source: list[str], between: str) -> str:
    if not known_language(between):
        raise InputRefusedError("bad_language", f"texts in {between!r} cannot be recognised", "Such as fr, de or es.")
    found = language_of("\n".join(source[:_LANGUAGE_TEXTS]))
    if not found:
        raise InputRefusedError(
            "bad_language", f"the language of {version.ref} cannot be told: its texts are too short"
        )
    if found == between:
        raise InputRefusedError("bad_language", f"{version.ref} is in {between} already", "Choose another language.")
    return found


@asynccontextmanager
async def opened(catalog: Catalog, prepared: Prepared, within: str) -> AsyncIterator[tuple[Writer, Asker]]:
    """What asks, ready; ``within`` is for what the answers of a remote model without a fingerprint are kept.

    Raises:
        LlmopsError: ``model_gone``.
    """
    workspace = catalog.workspace
    supervisor, options = ServerSupervisor(workspace), options_from(load_settings()[0])
    renderer, cache = TemplateRenderer(), AnswerCache(workspace)
    asker = Asker(
        ModelRegistry(catalog),
        cache,
        lambda model: open_endpoint(supervisor, model, options),
        options=options,
        renderer=renderer,
        within=within,
        work={"kind": "synthesis", "name": within},
    )
    conversations = Conversations(prepared.plan, prepared.prompt, prepared.shape, renderer)
    try:
        yield Writer(prepared.plan, asker, conversations, prepared.shape, prepared.rewording, prepared.language), asker
    except LlmopsError as error:
        raise _as_synthesis(error) from error
    finally:
        try:
            await asker.close()
        finally:
            cache.close()
            renderer.close()


async def each(work: Callable[[T], Awaitable[None]], items: Iterable[T]) -> None:
    """Do something with each of many, a few at a time; the first failure ends all."""
    waiting = iter(items)
    # A worker a slot and as many that wait: more would only be more objects.

    async def worker() -> None:
        for item in waiting:
            await work(item)

    tasks = [asyncio.create_task(worker()) for _ in range(2 * options_from(load_settings()[0]).parallel)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _as_synthesis(error: LlmopsError) -> LlmopsError:
    """An error of asking, with what to do about it here."""
    if error.code != "model_gone":
        return error
    return LlmopsError(error.code, error.message, "What was answered is kept; llmops job resume continues.")
