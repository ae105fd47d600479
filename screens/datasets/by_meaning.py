"""What is done by the meaning of rows: embed them, then search, map, duplicates, outliers and coverage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from screens.shell.job_progress import follow_job
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.datasets.meaning.index import MeaningIndex
    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.models.registry import Model
    from screens.shell.shell import Shell
    from screens.widgets.panel import Panel

_CHOICES = (
    Choice("search", "Search by meaning", "in the filter: ??text; ??+text ranks by words, too"),
    Choice("like", "Rows like this one", "a, or in the filter: ??#ROW"),
    Choice("map", "Map of topics", "clusters with words that name them; choose some to see their rows"),
    Choice("duplicates", "Semantic duplicates", "the same in other words; in the filter: ??~COSINE"),
    Choice("outliers", "Outliers", "rows that are like no other; in the filter: ??!"),
    Choice("coverage", "Coverage", "rows that a training set covers least; in the filter: ??-NAME"),
    Choice("embed", "Embed", "by another model, or another text of the rows"),
)
_OF_HINT = "question (what a row asks), whole, answer, or columns with commas"


def rows_by_meaning(
    shell: Shell, loop: asyncio.AbstractEventLoop, version: DatasetVersion, asked: str
) -> Sequence[int]:
    """The rows that a filter asks for by meaning; what there is to say of them is said. Not for the thread that draws."""
    from llmops_tui.datasets.meaning.rows_filter import rows_for

    found = rows_for(shell.services.datasets, version, asked)
    if found.told:
        loop.call_soon_threadsafe(lambda: shell.say(found.told, seconds=15))
    return found.rows


async def choose_by_meaning(shell: Shell, progress: Panel, version: DatasetVersion, row: int | None) -> str | None:
    """Ask what is wanted, embed the version first where it is not; the filter of the rows that show it, or none.

    Raises:
        LlmopsError: a job failed, or there is no model.
    """
    from llmops_tui.datasets.meaning.index import find_index

    index = await asyncio.to_thread(find_index, version)
    if index is None:
        index = await _embed(shell, progress, version)
        if index is None:
            return None
    head = f"{version.ref} by {index.spec.model}: {index.text.told}"
    chosen = await shell.ask(ChoiceDialog(head, list(_CHOICES)))
    if chosen == "embed":
        await _embed(shell, progress, version)
        return None
    if chosen == "map":
        return await _map(shell, progress, index)
    return await _filter(shell, version, chosen, row)


async def _filter(shell: Shell, version: DatasetVersion, chosen: str | None, row: int | None) -> str | None:
    if chosen == "search":
        text = await shell.ask(LineDialog("Search by meaning", "what the rows should be about, in your own words"))
        return f"?? {text}" if text else None
    if chosen == "like":
        return f"??#{row}" if row is not None else None
    if chosen == "duplicates":
        least = await shell.ask(LineDialog("Semantic duplicates", "the least cosine of a pair, from 0.5 to 1", "0.95"))
        return f"??~{least.strip()}" if least else None
    if chosen == "coverage":
        name = await shell.ask(
            LineDialog("Coverage", f"the training set that is to cover {version.ref}; it has to be embedded too")
        )
        return f"??-{name.strip()}" if name else None
    return "??!" if chosen == "outliers" else None


async def _embed(shell: Shell, progress: Panel, version: DatasetVersion) -> MeaningIndex | None:
    """Choose a model and a text of the rows, and embed as a job; none where that was left."""
    from llmops_tui.datasets.meaning.embedding_job import ENTRY, KIND
    from llmops_tui.datasets.meaning.index import MeaningIndex
    from llmops_tui.embeddings.embedder import embedder_spec

    services = shell.services
    name = await _choose_model(shell, progress)
    if not name:
        return None
    of = await shell.ask(LineDialog(f"Embed {version.ref} by {name}", _OF_HINT, "question"))
    if not of:
        return None
    spec = await asyncio.to_thread(embedder_spec, services.models, name)
    index = MeaningIndex(version, spec, of.strip())
    if index.ready:
        await asyncio.to_thread(index.mean_again)
    else:
        job = await asyncio.to_thread(
            lambda: services.jobs.start(
                kind=KIND,
                title=f"embed {version.ref}",
                entry=ENTRY,
                arguments={"ref": version.ref, "embedder": spec.as_dict(), "of": index.text.of},
            )
        )
        await follow_job(services, progress, job)
    about = index.about
    missing = f", {about['without_text']:,} without text" if about["without_text"] else ""
    cut = f", {about['cut']:,} cut" if about["cut"] else ""
    shell.say(f"{version.ref} is embedded: {about['computed']:,} texts new, {about['reused']:,} known{missing}{cut}.")
    return index


async def _choose_model(shell: Shell, progress: Panel) -> str | None:
    """One of the registered models, those that were made to embed first; where none was, a small one is offered."""
    from llmops_tui.embeddings.embedder import DEFAULT_MODEL
    from screens.models.get_model import get_named

    made, others = await asyncio.to_thread(_offered, shell)
    choices = [Choice(m.name, m.name, "made to embed", "model") for m in made]
    if not any(m.name == DEFAULT_MODEL for m in made):
        choices.append(Choice("", f"Get {DEFAULT_MODEL}", "small, made to embed English, Apache-2.0"))
    choices += [
        Choice(m.name, m.name, "a server of others" if m.kind == "remote" else "made to generate", "model")
        for m in others
    ]
    chosen = made[0].name if len(made) == 1 and not others else await shell.ask(ChoiceDialog("Embed by", choices))
    if chosen != "":
        return chosen
    begun = await get_named(shell, DEFAULT_MODEL)
    if begun is not None:
        await follow_job(shell.services, progress, begun.job)
    there = await asyncio.to_thread(shell.services.models.all)
    return DEFAULT_MODEL if any(m.name == DEFAULT_MODEL for m in there) else None


def _offered(shell: Shell) -> tuple[list[Model], list[Model]]:
    """The models that were made to embed, and others that can; those that rank texts cannot."""
    from llmops_tui.embeddings.embedder import made_to_embed
    from llmops_tui.models.ranking import is_ranker

    known = shell.services.models.all()
    made = [m for m in known if made_to_embed(m)]
    return made, [m for m in known if m not in made and m.kind in {"gguf", "remote"} and not is_ranker(m)]


async def _map(shell: Shell, progress: Panel, index: MeaningIndex) -> str | None:
    """Show the map, made first where it is not there; the filter of the clusters that were chosen."""
    from llmops_tui.datasets.meaning.topics import ENTRY, KIND, MOST_CLUSTERS, TopicMap
    from screens.datasets.map_screen import AGAIN, MapScreen

    services, version = shell.services, index.version
    topic_map = TopicMap(index)
    clusters = 0
    while True:
        if not topic_map.ready or clusters:
            job = await asyncio.to_thread(
                lambda count=clusters: services.jobs.start(  # type: ignore[misc]  # the number of this turn
                    kind=KIND,
                    title=f"map {version.ref}",
                    entry=ENTRY,
                    arguments={"ref": version.ref, "model": index.spec.model, "clusters": count},
                )
            )
            await follow_job(services, progress, job)
            topic_map = TopicMap(index)
        chosen = await shell.ask(MapScreen(topic_map))
        if chosen != AGAIN:
            return f"??@{chosen}" if chosen else None
        there = str(len(topic_map.record["topics"]))
        text = await shell.ask(LineDialog("Number of clusters", f"from 1 to {MOST_CLUSTERS}", there))
        clusters = int(text) if text and text.strip().isdecimal() else 0
        if text and not 1 <= clusters <= MOST_CLUSTERS:
            shell.say(f"{text!r} is no number from 1 to {MOST_CLUSTERS}; the map stays.", severity="warning")
            clusters = 0
