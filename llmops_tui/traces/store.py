"""Requests as traces: search by model, prompt, state, time and text, and the details of one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from llmops_tui.errors import InputRefusedError
from llmops_tui.traces.client_words import client_words
from llmops_tui.traces.orders import MADE_FOR, NEWEST, OWN, QUESTION, TIMES, TraceOrder, TraceTimes
from llmops_tui.traces.records import LineRecord, Said, TraceRecord
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ids import resolve_prefix
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.json_columns import kept

if TYPE_CHECKING:
    import duckdb

STATES = ("failed", "cancelled", "up", "down", "corrected", "commented", "queue", "own")
# What a filter may say beside words: ``model:name prompt:triage@3 is:down slow:2000 since:24h``.
_TERM = re.compile(r"^(model|prompt|is|slow|since|experiment|chain|work|trace|service|recording):(\S+)$")
_UNITS = {"m": 60, "h": 3600, "d": 86_400}

_COLUMNS = 20
_SUMMARY = (
    "r.id, r.started_at, r.model, r.prompt, r.prompt_version, r.finish_reason, r.error, r.prompt_tokens, "
    "r.completion_tokens, r.ttft_ms, r.total_ms, r.tokens_per_s, left(r.output, 400), f.score, f.correction, f.comment, "
    f"f.verdict, r.content, left({QUESTION}, 400), {MADE_FOR}"
)
# What was said last counts; a verdict counts until something new is said.
TRACES = """requests r LEFT JOIN (
    SELECT request, arg_max(score, said_at) FILTER (score IS NOT NULL) AS score,
           arg_max(correction, said_at) FILTER (correction IS NOT NULL) AS correction,
           arg_max(comment, said_at) FILTER (comment IS NOT NULL) AS comment,
           arg_max(coalesce(verdict, ''), said_at) AS verdict
    FROM feedback GROUP BY request) f ON f.request = r.id"""
_STATE_SQL = {
    "failed": "r.finish_reason = 'error'",
    "cancelled": "r.finish_reason = 'cancelled'",
    "up": "f.score = 1",
    "down": "f.score = -1",
    "corrected": "f.correction IS NOT NULL",
    "commented": "f.comment IS NOT NULL",
    "own": OWN,
    "queue": "(f.score = -1 OR f.correction IS NOT NULL OR f.comment IS NOT NULL) AND f.verdict = ''",
}


@dataclass(frozen=True)
class TraceFilter:
    """Which traces are meant. ``slow``: those that took at least so many ms; ``since``: a moment in seconds.

    ``experiment``: those of an experiment, by its id; with ``@a`` or ``@b`` those of one of its models. ``chain``: the steps of
    a chain, by its name, with a version or without, or of one run of it, by the run's id. ``work``: what was asked for a run
    of an evaluation, a file or the like, by its name or kind. ``trace`` and ``service``: the steps of a trace of another
    application, by the beginning of its id, and all of that application. ``recording``: what a server was asked while it
    recorded under this name.
    """

    text: str = ""
    model: str = ""
    prompt: str = ""
    version: int | None = None
    state: str = ""
    slow: float | None = None
    since: float | None = None
    experiment: str = ""
    chain: str = ""
    work: str = ""
    trace: str = ""
    service: str = ""
    recording: str = ""

    @classmethod
    def parse(cls, said: str, now: float) -> TraceFilter:
        """A filter as it is typed: terms such as ``is:down`` and ``since:24h``, and words that must occur; ``~`` a regex.

        Raises:
            InputRefusedError: ``bad_filter``.
        """
        words, fields = [], dict[str, Any]()
        for part in said.split():
            match = _TERM.match(part)
            if match is None:
                words.append(part)
                continue
            name, value = match.groups()
            if name in {"model", "chain", "work", "trace", "service", "recording"}:
                fields[name] = value.removeprefix("chain/")
            elif name == "experiment":
                if value.partition("@")[2] not in {"", "a", "b"}:
                    raise InputRefusedError(
                        "bad_filter", f"{part}: an experiment has a and b", "Write experiment:ID@b."
                    )
                fields["experiment"] = value
            elif name == "prompt":
                prompt, _, version = value.partition("@")
                fields["prompt"] = prompt
                fields["version"] = _number(version, part) if version else None
            elif name == "is":
                if value not in STATES:
                    raise InputRefusedError("bad_filter", f"{part}: unknown state", f"Use one of {', '.join(STATES)}.")
                fields["state"] = value
            elif name == "slow":
                fields["slow"] = float(_number(value, part))
            else:
                fields["since"] = now - _number(value[:-1], part) * _UNITS.get(value[-1:], 1)
        return cls(text=" ".join(words), **fields)

    def sql(self) -> tuple[str, list[Any]]:
        """The condition, and its values."""
        parts: list[tuple[str, list[Any]]] = []
        if self.text.startswith("~"):
            pattern = self.text[1:]
            texts = ("r.output", "r.thinking", "r.messages::VARCHAR")
            parts.append((f"({' OR '.join(f'regexp_matches({one}, ?)' for one in texts)})", [pattern] * 3))
        elif self.text:
            like = "%" + re.sub(r"([\\%_])", r"\\\1", self.text) + "%"
            # The catalog's JSON has all but ASCII escaped.
            escaped = like if like.isascii() else json.dumps(like)[1:-1].replace("\\u", "\\\\u")
            places = ("r.output", "r.messages::VARCHAR", "r.id", "r.error", "r.thinking")
            condition = " OR ".join(f"{place} ILIKE ? ESCAPE '\\'" for place in places)
            parts.append((f"({condition})", [like, escaped, like, like, like]))
        if self.model:
            parts.append(("(r.model = ? OR starts_with(r.model, ? || '+'))", [self.model] * 2))
        if self.prompt:
            parts.append(("r.prompt = ?", [self.prompt]))
        if self.version is not None:
            parts.append(("r.prompt_version = ?", [self.version]))
        if self.state:
            parts.append((_STATE_SQL[self.state], []))
        if self.slow is not None:
            parts.append(("r.total_ms >= ?", [self.slow]))
        parts += [*self._of_experiment(), *self._of_others()]
        if self.since is not None:
            parts.append(("r.started_at >= ?", [self.since]))
        return " AND ".join(sql for sql, _ in parts) or "true", [value for _, values in parts for value in values]

    def _of_experiment(self) -> list[tuple[str, list[Any]]]:
        key, _, arm = self.experiment.partition("@")
        told = (("id", key), ("arm", arm))
        return [(f"json_extract_string(r.client, '$.experiment.{name}') = ?", [value]) for name, value in told if value]

    def _of_others(self) -> list[tuple[str, list[Any]]]:
        own = "json_extract_string(r.client, '$.otlp.{}')".format
        whole, run = (f"json_extract_string(r.client, '$.chain.{name}')" for name in ("chain", "run"))
        kind, name, of = (f"json_extract_string(r.client, '$.work.{part}')" for part in ("kind", "name", "prompt"))
        chain = f"({run} = ? OR {whole} = 'chain/' || ? OR starts_with({whole}, 'chain/' || ? || '@'))"
        parts: list[tuple[str, list[Any]]] = [
            (chain, [self.chain] * 3),
            (f"(? IN ({kind}, {name}, {of}, split_part({of}, '@', 1)))", [self.work]),
        ]
        parts += [(f"starts_with({own('trace')}, ?)", [self.trace.lower()])]
        parts.append((f"{own('service')} = ?", [self.service]))
        parts.append(("json_extract_string(r.client, '$.recording') = ?", [self.recording]))
        return [part for part in parts if part[1][0]]


@dataclass(frozen=True)
class TraceLine:
    """One request in short; ``output`` and ``question``, what the user said last, are their beginnings.

    ``content`` says whether content was kept. ``made_for`` is the version of a prompt that a run of an evaluation, a judge or
    the like was asked with, or else that work itself; of a step of a chain without a prompt it is the chain.
    """

    id: str
    started_at: float
    model: str
    prompt: str | None
    version: int | None
    finish_reason: str
    error: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    ttft_ms: float | None
    total_ms: float | None
    tokens_per_s: float | None
    output: str
    score: int | None
    correction: str | None
    comment: str | None
    verdict: str | None
    content: str | None
    question: str | None = None
    made_for: str | None = None

    @property
    def asked_with(self) -> str:
        """The version of a prompt that the request was made of, else the work it was made for; empty where neither is known."""
        return f"{self.prompt}@{self.version}" if self.prompt else self.made_for or ""

    def as_dict(self) -> LineRecord:
        """For JSON."""
        return {
            "trace": self.id,
            "started_at": self.started_at,
            "model": self.model,
            "prompt": self.prompt,
            "version": self.version,
            "made_for": self.made_for,
            "finish_reason": self.finish_reason,
            "error": self.error,
            "usage": {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens},
            "timing": {"ttft_ms": self.ttft_ms, "total_ms": self.total_ms, "tokens_per_s": self.tokens_per_s},
            "question": self.question,
            "text": self.output,
            "content": self.content or "keep",
            "feedback": {
                "score": {1: "up", -1: "down"}.get(self.score or 0),
                "correction": self.correction,
                "comment": self.comment,
                "verdict": self.verdict or None,
            },
        }


@dataclass(frozen=True)
class Trace:
    """One request with all of its content, and everything that was said of it, oldest first."""

    line: TraceLine
    messages: list[dict[str, Any]]
    variables: dict[str, Any]
    parameters: dict[str, Any]
    output: str
    reused_tokens: int | None
    engine: str | None
    model_sha256: str | None
    # What a client of the endpoint said, and which key it had: {"key", "metadata"}; none for a run of this workspace.
    client: dict[str, Any] | None = None
    said: list[Said] = field(default_factory=list)
    # What was thought before the answer, and how many of its tokens that were.
    thinking: str = ""
    reasoning_tokens: int | None = None

    @property
    def client_words(self) -> str:
        """Who sent it from outside, and what was said with it, in one line; of a run of this workspace, what it is part of."""
        return "" if self.client is None else client_words(self.client)

    def as_dict(self) -> TraceRecord:
        """For JSON."""
        return {
            **self.line.as_dict(),
            "text": self.output,
            "thinking": self.thinking,
            "messages": self.messages,
            "variables": self.variables,
            "parameters": self.parameters,
            "reused_tokens": self.reused_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "engine": self.engine,
            "model_sha256": self.model_sha256,
            "client": self.client,
            "said": self.said,
        }


class TraceStore:
    """The traces of a workspace, newest first; those still in the event log are ingested into the catalog before a look."""

    def __init__(self, catalog: Catalog, event_log: EventLog) -> None:
        self.catalog = catalog
        self.event_log = event_log

    def page(
        self, wanted: TraceFilter, limit: int, before: int = 0, order: TraceOrder = NEWEST
    ) -> tuple[list[TraceLine], int]:
        """A page of the traces that are wanted, after the first ``before`` of them; and how many there are in all.

        The newest come first, or those that ``order`` puts there.

        Raises:
            InputRefusedError: ``bad_filter``: the regular expression is wrong.
        """
        ingest(self.catalog, self.event_log)
        condition, values = wanted.sql()
        meant = (
            f"SELECT r.id FROM {TRACES} WHERE {condition} ORDER BY {order.sql} LIMIT {int(limit)} OFFSET {int(before)}"
        )
        (total,), rows = self._ask(
            [
                f"SELECT count(*) FROM {TRACES} WHERE {condition}",
                # Asked at once, what is shown of messages would be made of all traces that could be on the page.
                f"SELECT {_SUMMARY} FROM {TRACES} WHERE r.id IN ({meant}) ORDER BY {order.sql}",
            ],
            values,
        )
        return [TraceLine(*row) for row in rows], int(total[0])

    def times(self, wanted: TraceFilter) -> TraceTimes:
        """How long the traces that are wanted took.

        Raises:
            InputRefusedError: ``bad_filter``: the regular expression is wrong.
        """
        condition, values = wanted.sql()
        (counts,) = self._ask([TIMES.format(traces=TRACES, condition=condition)], values)
        return TraceTimes.of(counts)

    def _ask(self, queries: list[str], values: list[Any]) -> list[list[Any]]:
        """The rows of queries with the same values, of one state of the catalog."""

        def work(connection: duckdb.DuckDBPyConnection) -> list[list[Any]]:
            import duckdb

            try:
                return [connection.execute(query, values).fetchall() for query in queries]
            except duckdb.InvalidInputException as error:
                raise InputRefusedError(
                    "bad_filter", str(error).splitlines()[0], "Fix the regular expression."
                ) from error

        return self.catalog.read(work)

    def get(self, given: str) -> Trace:
        """One trace by its id or the beginning of it.

        Raises:
            NotFoundError: there is none.
        """
        ingest(self.catalog, self.event_log)

        def work(connection: duckdb.DuckDBPyConnection) -> tuple[Any, list[Any]]:
            bare = given.partition("_")[2] or given
            ids = connection.execute(
                "SELECT id FROM requests WHERE id = ? OR starts_with(id, ?) OR starts_with(id, 'run_' || ?) LIMIT 50",
                [given, given, bare],
            ).fetchall()
            found = resolve_prefix("trace", given, (row[0] for row in ids))
            row = connection.execute(
                f"SELECT {_SUMMARY}, messages, variables, parameters, output, reused_tokens, engine, model_sha256, "
                "client, thinking, reasoning_tokens "
                f"FROM {TRACES} WHERE r.id = ?",
                [found],
            ).fetchall()
            said = connection.execute(
                "SELECT said_at, source, score, correction, comment, verdict FROM feedback WHERE request = ? "
                "ORDER BY said_at, id",
                [found],
            ).fetchall()
            return row[0], said

        row, said = self.catalog.read(work)
        line, rest, (thinking, reasoning) = TraceLine(*row[:_COLUMNS]), row[_COLUMNS:-2], row[-2:]
        output, reused, engine, digest, _ = rest[3:]
        columns = ("messages", "variables", "parameters", "client")
        messages, variables, parameters, client = (
            kept("requests", name, line.id, value) for name, value in zip(columns, (*rest[:3], rest[-1]), strict=True)
        )
        names = ("said_at", "source", "score", "correction", "comment", "verdict")
        return Trace(
            line,
            messages or [],
            variables or {},
            parameters or {},
            output,
            reused,
            engine,
            digest,
            client,
            [cast("Said", dict(zip(names, entry, strict=True))) for entry in said],
            thinking or "",
            reasoning,
        )

    def models(self) -> list[str]:
        """The models that traces name."""
        rows = self.catalog.read(
            lambda connection: connection.execute("SELECT DISTINCT model FROM requests").fetchall()
        )
        return sorted(str(row[0]) for row in rows)

    def queue_length(self) -> int:
        """How many traces wait for somebody's verdict."""
        sql = f"SELECT count(*) FROM {TRACES} WHERE {_STATE_SQL['queue']}"
        return int(self.catalog.read(lambda connection: connection.execute(sql).fetchall())[0][0])

    def before(self, moment: float) -> list[str]:
        """The ids of the traces that started before a moment and of which nobody said anything, the oldest first."""
        ingest(self.catalog, self.event_log)
        sql = "SELECT id FROM requests WHERE started_at < ? AND id NOT IN (SELECT request FROM feedback) ORDER BY started_at"
        return [
            str(row[0]) for row in self.catalog.read(lambda connection: connection.execute(sql, [moment]).fetchall())
        ]


def _number(text: str, term: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputRefusedError(
            "bad_filter", f"{term}: a number is expected", "For example since:24h or slow:2000."
        ) from None
