"""The report on personal data: what is where, since when, redacted or not, what it was used for, and what becomes of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypedDict, cast

from llmops_tui import __version__
from llmops_tui.datasets.meaning.index import indexes_of
from llmops_tui.datasets.privacy.report import find_in_version
from llmops_tui.datasets.reports import PersonalData
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.inference.filed.files import FileStore
from llmops_tui.maintenance.erasure_ledger import Ledger
from llmops_tui.maintenance.erasure_records import ErasureRecord
from llmops_tui.maintenance.series import made_at, series_of_settings
from llmops_tui.privacy.detection import find_personal, not_searched
from llmops_tui.privacy.measured import MEASURED, TEXTS
from llmops_tui.privacy.replacement import readable
from llmops_tui.retention_rules import read_rules
from llmops_tui.settings import Settings
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace

if TYPE_CHECKING:
    import duckdb

# So many traces are searched, the newest.
MOST_TRACES = 2000
_WHAT = "personal-data"
Tell = Callable[[float, str], None]


class PlaceRecord(TypedDict):
    """A place that may have personal data.

    ``things`` are what it has, ``searched`` how many were searched, ``having`` how many of those have personal data, and
    ``kinds`` how often each kind was found. ``since`` is the oldest. ``state`` says whether it was redacted, ``used_for`` what
    was made of it, ``retention`` the rule that it goes by, empty where it stays until somebody removes it.
    """

    place: str
    things: int
    searched: int
    having: int
    kinds: dict[str, int]
    since: float | None
    state: str
    used_for: list[str]
    retention: str


class DetectorRecord(TypedDict):
    """How well a kind is found, as measured."""

    kind: str
    spans: int
    precision: float | None
    recall: float | None


class PrivacyReport(TypedDict):
    """All of it."""

    made_at: float
    version: str
    workspace: str
    places: list[PlaceRecord]
    detectors: list[DetectorRecord]
    measured_on: str
    not_searched: list[str]
    rules: list[str]
    erasures: list[ErasureRecord]
    backups: list[str]


def make_report(
    workspace: Workspace, settings: Settings, *, all_versions: bool = False, tell: Tell = lambda _share, _what: None
) -> PrivacyReport:
    """Search the workspace for personal data, and say what becomes of it.

    Of each dataset the newest version is searched, or all; what was found of some content is kept beside it, so that it is
    searched once by each release.
    """
    catalog = Catalog(workspace)
    if not workspace.read_only:
        event_log = EventLog(workspace)
        ingest(catalog, event_log)
        event_log.close()
    rules = {rule.kind: rule.told for rule in reversed(read_rules(settings.retention))}
    if settings.trace_days and "traces" not in rules:
        rules["traces"] = f"traces without feedback: {settings.trace_days} d (trace_days)"
    places = list(_datasets(workspace, rules.get("datasets", ""), all_versions=all_versions, tell=tell))
    tell(0.9, "searching traces and prompts")
    places += catalog.read(lambda db: [_traces(db, rules.get("traces", "")), *_others(db)])
    places += _client_files(workspace, rules.get("files", ""))
    tell(1.0, "done")
    return {
        "made_at": time.time(),
        "version": __version__,
        "workspace": str(workspace.root),
        "places": [place for place in places if place["things"]],
        "detectors": [
            {"kind": kind, "spans": m.spans, "precision": m.precision, "recall": m.recall}
            for kind, m in MEASURED.items()
        ],
        "measured_on": TEXTS,
        "not_searched": [*not_searched(), "results of evaluations, job logs, weights of models: not searched"],
        "rules": [rule.told for rule in read_rules(settings.retention)],
        "erasures": Ledger(workspace).all(),
        "backups": list(_backups(workspace)),
    }


def _datasets(workspace: Workspace, rule: str, *, all_versions: bool, tell: Tell) -> Iterator[PlaceRecord]:
    store = DatasetStore(Catalog(workspace))
    chosen = [version for log in store.logs().values() for version in (log if all_versions else log[:1])]
    for number, version in enumerate(chosen):
        tell(0.9 * number / len(chosen), f"searching {version.ref}")
        found = _found_in(store, version)
        vectors = [f"embeddings by {index.spec.model}" for index in indexes_of(version)]
        yield {
            "place": f"dataset {version.ref}",
            "things": version.rows,
            "searched": version.rows,
            "having": found["rows_with_any"],
            "kinds": found["spans"],
            "since": version.created_at,
            "state": _redaction(store, version),
            "used_for": [*_used_for(workspace, version.sha256), *vectors],
            "retention": rule,
        }


def _found_in(store: DatasetStore, version: DatasetVersion) -> PersonalData:
    """What is personal in a version: kept beside its content, by the release whose recognisers found it."""
    what = f"{_WHAT}-{__version__}"
    known = store.report(version.sha256, what)
    if known is not None:
        return cast("PersonalData", known)
    found = find_in_version(version)
    # Examples are half hidden, and still are somebody's.
    found["examples"] = {}
    if not store.workspace.read_only:
        store.keep_report(version.sha256, what, found)
    return found


def _redaction(store: DatasetStore, version: DatasetVersion) -> str:
    """Whether the version, or one it was made of, was redacted or pseudonymised; the recipes say so."""
    by_hash = {v.sha256: v for log in store.logs().values() for v in log}
    seen: set[str] = set()
    front = [version]
    while front:
        one = front.pop()
        if one.sha256 in seen:
            continue
        seen.add(one.sha256)
        if one.recipe.operation == "reveal":
            return "pseudonyms were reversed"
        if one.recipe.operation in {"redact", "pseudonymise"}:
            return "redacted" if one.recipe.operation == "redact" else "pseudonymised"
        front += [by_hash[digest] for _, digest in one.recipe.inputs if digest in by_hash]
    return "not redacted"


def _used_for(workspace: Workspace, digest: str) -> list[str]:
    """The runs and models that some content was used for."""

    def work(db: duckdb.DuckDBPyConnection) -> list[str]:
        rows = db.execute(
            "SELECT 'training run ' || name FROM training_runs WHERE contains(data::VARCHAR, ?) UNION "
            "SELECT 'model ' || m.name FROM lineage l JOIN models m ON m.sha256 = l.output WHERE l.input = ? UNION "
            "SELECT 'evaluation ' || r.name FROM lineage l JOIN evaluation_runs r ON r.results_sha256 = l.output "
            "WHERE l.input = ? ORDER BY 1",
            [digest, digest, digest],
        ).fetchall()
        return [str(row[0]) for row in rows]

    return Catalog(workspace).read(work)


def _searched(texts: Iterable[str]) -> tuple[int, int, Counter[str]]:
    searched = having = 0
    kinds: Counter[str] = Counter()
    for text in texts:
        spans = find_personal(readable(text))
        searched += 1
        having += bool(spans)
        kinds.update(span.kind for span in spans)
    return searched, having, kinds


def _traces(db: duckdb.DuckDBPyConnection, rule: str) -> PlaceRecord:
    total, since = db.execute("SELECT count(*), min(started_at) FROM requests").fetchall()[0]
    states = db.execute(
        "SELECT coalesce(nullif(content, ''), 'kept whole'), count(*) FROM requests GROUP BY 1 ORDER BY 1"
    ).fetchall()
    rows = db.execute(
        "SELECT concat_ws(chr(10), messages::VARCHAR, output, thinking) FROM requests ORDER BY started_at DESC LIMIT ?",
        [MOST_TRACES],
    ).fetchall()
    searched, having, kinds = _searched(str(row[0]) for row in rows)
    used = db.execute(
        "SELECT DISTINCT 'dataset ' || dataset || '@' || number FROM dataset_versions WHERE sha256 IN "
        "(SELECT l.output FROM lineage l JOIN requests r ON r.id = l.input) ORDER BY 1"
    ).fetchall()
    return {
        "place": "traces",
        "things": int(total),
        "searched": searched,
        "having": having,
        "kinds": dict(kinds),
        "since": since,
        "state": ", ".join(f"{count:,} {word}" for word, count in states),
        "used_for": [str(row[0]) for row in used],
        "retention": rule,
    }


_OTHERS = (
    ("feedback", "SELECT concat_ws(chr(10), correction, comment), said_at FROM feedback"),
    ("prompts", "SELECT concat_ws(chr(10), system, template, settings), created_at FROM prompt_versions"),
    ("evaluation suites", "SELECT body::VARCHAR, created_at FROM evaluation_suites"),
    ("labels", "SELECT concat_ws(chr(10), annotator, value::VARCHAR), made_at FROM annotations"),
)


def _others(db: duckdb.DuckDBPyConnection) -> Iterator[PlaceRecord]:
    for place, sql in _OTHERS:
        rows = db.execute(sql).fetchall()
        searched, having, kinds = _searched(str(text) for text, _ in rows)
        yield {
            "place": place,
            "things": len(rows),
            "searched": searched,
            "having": having,
            "kinds": dict(kinds),
            "since": min((float(at) for _, at in rows), default=None),
            "state": "as written",
            "used_for": [],
            "retention": "with their traces" if place == "feedback" else "",
        }


def _client_files(workspace: Workspace, rule: str) -> list[PlaceRecord]:
    records = FileStore(workspace).records()
    return [
        {
            "place": "files of clients (/v1/files)",
            "things": len(records),
            "searched": 0,
            "having": 0,
            "kinds": {},
            "since": min((float(one["created_at"]) for one in records), default=None),
            "state": "as sent",
            "used_for": [],
            "retention": rule or "the time that each was sent with",
        }
    ]


def _backups(workspace: Workspace) -> Iterator[str]:
    for folder, files, trouble in series_of_settings(workspace):
        if trouble or not files:
            yield f"{folder}: {trouble or 'no backups yet'}"
        else:
            yield f"{folder}: {len(files)}, the oldest of {_day(made_at(files[-1]))}"


def _day(moment: float | None) -> str:
    return "" if moment is None else time.strftime("%Y-%m-%d", time.gmtime(moment))


def as_markdown(report: PrivacyReport) -> str:
    """The report as Markdown; it has no content, but names of datasets, runs and models."""
    lines = [
        "# Personal data in this workspace",
        "",
        f"Made {_day(report['made_at'])} (UTC) by llmops {report['version']} for `{report['workspace']}`.",
        "",
        "| where | has | searched | with personal data | kinds found | since | state | used for | retention |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for place in report["places"]:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(place["kinds"].items(), key=lambda k: -k[1]))
        cells = (
            place["place"], f"{place['things']:,}", f"{place['searched']:,}", f"{place['having']:,}", kinds or "–",
            _day(place["since"]), place["state"], ", ".join(place["used_for"]) or "–",
            place["retention"] or "until it is removed",
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    lines += ["", "Not searched:", "", *(f"- {_cell(text)}" for text in report["not_searched"])]
    lines += ["", "## How well it is found", "", f"Measured on {report['measured_on']}.", ""]
    lines += ["| kind | spans | precision | recall |", "|---|---|---|---|"]
    for one in report["detectors"]:
        shares = (f"{share:.3f}" if share is not None else "–" for share in (one["precision"], one["recall"]))
        lines.append(f"| {one['kind']} | {one['spans']} | {' | '.join(shares)} |")
    lines += ["", "## Retention", ""]
    lines += [f"- `{rule}`" for rule in report["rules"]] or ["No rules are set (setting `retention`)."]
    lines += ["", "## Erasures", ""]
    lines += [line for erasure in report["erasures"] for line in _erasure(erasure)] or ["None."]
    lines += ["", "## Backups", ""]
    lines += [f"- {_cell(text)}" for text in report["backups"]] or ["None that the settings know."]
    return "\n".join(lines) + "\n"


def _erasure(erasure: ErasureRecord) -> list[str]:
    receipt = erasure["receipt"]
    if receipt is None:
        return [f"- {erasure['id']}: interrupted; `llmops privacy resume` completes it"]
    went = sum(receipt["counts"].values())
    left = receipt["searched"]["left"]
    told = f"still found in {len(left)} places" if left else "found nowhere after"
    trained = f"; trained on it: {', '.join(receipt['trained'])}" if receipt["trained"] else ""
    again = f"; done again {len(erasure['again'])} times" if erasure["again"] else ""
    day, short = _day(receipt["finished_at"]), receipt["sha256"][:16]
    return [f"- {erasure['id']}, {day}: {went:,} things, {told}{trained}; receipt `{short}…`{again}"]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
