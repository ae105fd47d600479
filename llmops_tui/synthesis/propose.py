"""Has a model propose a tree of topics: the first level of a subject, then what belongs to each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.synthesis.plan import SynthesisPlan
from llmops_tui.synthesis.prepared import Prepared, each, opened, prepare
from llmops_tui.synthesis.records import TopicsRecord
from llmops_tui.synthesis.topics import Topic, leaves_of
from llmops_tui.synthesis.writer import Writer
from llmops_tui.workspace.catalog import Catalog

PROPOSAL_ENTRY: JobEntry[TopicsRecord] = JobEntry("llmops_tui.synthesis.propose:run_proposal")
_LONGEST_NAME = 80
_ASK = "Topic: {above}\n\nName {count} different parts of it, each in one to five words."


def run_proposal(context: JobContext, model: str, subject: str, first: int, second: int, seed: int = 1) -> TopicsRecord:
    """The job: a tree of at most ``first`` topics with at most ``second`` below each; a model may name fewer that differ.

    Raises:
        InputRefusedError: ``no_topics``: it named none.
        LlmopsError: the model is gone.
    """
    catalog = Catalog(context.workspace)
    plan = SynthesisPlan(model=model, rows=1, topics=(Topic(subject),), seed=seed)
    context.report(0.0, f"asking {model}")
    prepared = prepare(catalog, plan)
    topics = asyncio.run(_propose(context, catalog, prepared, subject, (first, second)))
    if not topics:
        raise InputRefusedError(
            "no_topics", f"{model} named no topics of {subject!r}", "Use another model, or write the file yourself."
        )
    return {"subject": subject, "leaves": len(leaves_of(topics)), "topics": [topic.as_dict() for topic in topics]}


async def _propose(
    context: JobContext, catalog: Catalog, prepared: Prepared, subject: str, counts: tuple[int, int]
) -> tuple[Topic, ...]:
    first, second = counts
    async with opened(catalog, prepared, "topics") as (writer, asker):
        names = await _names(writer, subject, first, prepared.plan.seed)
        below: dict[int, list[str]] = {}

        async def look_below(number: int) -> None:
            context.check()
            below[number] = await _names(writer, f"{subject}: {names[number]}", second, prepared.plan.seed + 1 + number)
            context.report((1 + len(below)) / (1 + len(names)), f"{len(below)} of {counted(len(names), 'topic')}")

        if second:
            await each(look_below, range(len(names)))
        asker.cache.flush()
    return tuple(Topic(name, topics=tuple(map(Topic, below.get(n, ())))) for n, name in enumerate(names))


async def _names(writer: Writer, above: str, count: int, seed: int) -> list[str]:
    """Different names of the parts of a topic."""
    asked = _ASK.format(above=above, count=count)
    answer = await writer.ask([{"role": "user", "content": asked}], seed, _form(count))
    try:
        value = parse_json(answer.text)
    except ValueError:
        return []
    given = value.get("topics") if isinstance(value, dict) else None
    names: dict[str, str] = {}
    for name in given if isinstance(given, list) else []:
        clean = " ".join(str(name).split())
        if clean and clean.lower() != above.lower():
            names.setdefault(clean.lower(), clean)
    return list(names.values())[:count]


def _form(count: int) -> Mapping[str, object]:
    schema = {
        "type": "object",
        "properties": {
            "topics": {
                "type": "array",
                "minItems": 1,
                "maxItems": count,
                "items": {"type": "string", "minLength": 2, "maxLength": _LONGEST_NAME},
            }
        },
        "required": ["topics"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "topics", "schema": schema}}
