"""Integrity check of the databases: every row is read, every hash recomputed, every reference followed."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from llmops_tui.datasets.content_hash import content_hash
from llmops_tui.datasets.parts import source_sql
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import APART
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.inference.answer_settings import kept_settings
from llmops_tui.maintenance.findings import Report
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.monitoring.judge_table import JudgeTable
from llmops_tui.prompts.store import content_hash as prompt_hash
from llmops_tui.system_errors import explain_system_error
from llmops_tui.workspace.audit import anchor, problems
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_file, sha256_text
from llmops_tui.workspace.json_columns import KINDS, SHAPES, kept
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.sandbox import open_sandbox

if TYPE_CHECKING:
    import duckdb

# So many rows at once: requests can be large.
_ROWS = 500
_BACKUP = "Restore it from a backup: llmops restore."


def event_log(workspace: Workspace, report: Report) -> None:
    """Every event against the hash that it carries."""
    rows = EventLog(workspace).connection().execute("SELECT key, body, sha256 FROM events")
    for key, body, digest in rows:
        report.count("events")
        if sha256_text(body) != digest:
            report.error(f"journal.db: event {key}", "its body differs from what was written", _BACKUP)


def audit(workspace: Workspace, report: Report) -> None:
    """Every entry of the audit against its hash, and against the one before."""
    connection = EventLog(workspace).connection()
    for problem in problems(connection, {}):
        report.error("journal.db: audit", problem, "llmops audit verify --against BACKUP tells since when.")
    if (newest := anchor(connection)) is not None:
        report.count("entries of the audit", newest["seq"])


def access_keys(workspace: Workspace, report: Report) -> None:
    """Every access key, read whole."""
    if found := KeyStore(EventLog(workspace)).all():
        report.count("access keys", len(found))


def judges(workspace: Workspace, report: Report) -> None:
    """Every judge of answers in use, read whole."""
    read = JudgeTable(EventLog(workspace)).read()
    for name, error in read.damaged.items():
        report.error(f"journal.db: judge {name}", error.message, _BACKUP)
    if read.found:
        report.count("judges", len(read.found))


def catalog(workspace: Workspace, report: Report) -> None:
    """Every row of every table, read whole: DuckDB holds each block against its checksum as it is read."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        import duckdb

        names = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() ORDER BY table_name"
        ).fetchall()
        for (name,) in names:
            try:
                count, _ = connection.execute(f'SELECT count(*), bit_xor(hash(t)) FROM "{name}" t').fetchall()[0]
            except duckdb.Error as error:
                report.error(f"workspace.duckdb: table {name}", str(error).splitlines()[0][:300], _BACKUP)
            else:
                report.count("rows of the catalog", int(count))

    Catalog(workspace).read(work)


def datasets(workspace: Workspace, report: Report) -> None:
    """The rows of every version against the hash of its content."""
    import duckdb

    store = DatasetStore(Catalog(workspace))
    seen: set[str] = set()
    for version in (v for log in store.logs().values() for v in log):
        if version.sha256 in seen:
            continue
        seen.add(version.sha256)
        place = f"datasets/{version.sha256[:12]}… ({version.ref})"
        try:
            version.files  # noqa: B018  asking for them tells whether they are there
        except LlmopsError as error:
            report.error(place, error.message, _BACKUP)
            continue
        connection = open_sandbox(version.files, memory="1GB")
        try:
            digest = content_hash(connection, source_sql(version.files), version.columns, version.scheme)
        except duckdb.Error as error:
            report.error(place, f"cannot be read: {str(error).splitlines()[0][:200]}", _BACKUP)
            continue
        except LlmopsError as error:
            report.failed(place, error)
            continue
        finally:
            connection.close()
        report.count("dataset versions")
        if digest != version.sha256:
            report.error(place, f"its rows differ from those that were saved: SHA-256 {digest[:12]}…", _BACKUP)


def models(workspace: Workspace, report: Report) -> None:
    """Every model file: its header, its size, and its hash."""
    registry = ModelRegistry(Catalog(workspace))
    for model in registry.all():
        if model.kind == "remote":
            continue
        if not model.path.exists():
            report.error(
                f"model {model.name}",
                f"{model.path} is missing",
                f"Restore the file, or: llmops model remove {model.name}",
            )
            continue
        try:
            registry.verify(model.name)
        except (LlmopsError, OSError) as error:
            report.failed(f"model {model.name}", explain_system_error(error) or LlmopsError("unreadable", str(error)))
        report.count("models")


def evaluations(workspace: Workspace, report: Report) -> None:
    """The results of every finished run against the hash in the catalog."""
    # Rows that are damaged are told with all columns of JSON.
    for run in EvaluationStore(workspace).readable()[0]:
        if run.summary is None or not run.results_sha256:
            continue
        place = f"evaluation {run.name}"
        try:
            if sha256_file(run.results) != run.results_sha256:
                report.error(place, f"{run.results.name} differs from what the run wrote", _BACKUP)
        except FileNotFoundError:
            report.error(place, f"{run.results.name} is missing", _BACKUP)
        except OSError as error:
            report.error(place, f"{run.results.name} cannot be read: {error.strerror}", _BACKUP)
        report.count("evaluation runs")


def references(workspace: Workspace, report: Report) -> None:
    """Prompts against their hashes; labels, tags, parents and runs against what they point to."""
    catalog = Catalog(workspace)
    _kept_json(catalog, report)
    prompts = "SELECT prompt, number, system, template, settings, sha256 FROM prompt_versions"
    for name, number, system, template, settings, digest in catalog.read(lambda db: db.execute(prompts).fetchall()):
        report.count("prompt versions")
        try:
            if prompt_hash(system, template, settings or "") != digest:
                report.error(f"prompt {name}@{number}", "its text differs from what was saved", _BACKUP)
            if settings:
                kept_settings(settings, f"{name}@{number}")
        except ValueError:
            continue  # told with all columns of JSON
        except InputRefusedError as error:
            report.error(f"prompt {name}@{number}", error.message, _BACKUP)

    def work(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, list[Any]]]:
        return [(place, text, connection.execute(sql).fetchall()) for place, text, sql in _REFERENCES]

    for place, text, rows in catalog.read(work):
        for row in rows:
            report.error(place.format(*row), text.format(*row), _BACKUP)
    report.count("kinds of references", len(_REFERENCES))
    _hashed_bodies(catalog, report)


def _kept_json(catalog: Catalog, report: Report) -> None:
    """Every column of JSON against the shape in which its readers need it, row by row."""

    def work(db: duckdb.DuckDBPyConnection) -> None:
        for table, (key, columns) in SHAPES.items():
            kind = KINDS[table][0] if table in KINDS else "''"
            rows = db.execute(f"SELECT concat_ws('@', {', '.join(key)}), {kind}, {', '.join(columns)} FROM {table}")
            while some := rows.fetchmany(_ROWS):
                for row, which, *texts in some:
                    for column, text in zip(columns, texts, strict=True):
                        _hold(report, table, column, row, text, which)

    catalog.read(work)


def _hold(report: Report, table: str, column: str, row: str, text: str | None, kind: str) -> None:
    report.count("columns of JSON")
    try:
        kept(table, column, row, text, kind=kind)
    except LlmopsError as error:
        report.error(f"workspace.duckdb: table {table}, row {row}", error.message, _BACKUP)


def _hashed_bodies(catalog: Catalog, report: Report) -> None:
    """Recipes and suites, which carry the hash of their body."""
    # Which fields the hash leaves out: they decide nothing.
    for table, apart in (("training_recipes", {"name"}), ("evaluation_suites", APART)):
        rows = catalog.read(partial(_rows, f"SELECT name, number, sha256, body FROM {table}"))
        for name, number, digest, body in rows:
            report.count("recipes and suites")
            try:
                fields = kept(table, "body", f"{name}@{number}", body)
            except LlmopsError:
                continue  # told with all columns of JSON
            hashed = {key: value for key, value in fields.items() if key not in apart}
            if sha256_text(json.dumps(hashed, sort_keys=True)) != digest:
                report.error(f"{table}: {name}@{number}", "its body differs from what was saved", _BACKUP)


def _rows(sql: str, connection: duckdb.DuckDBPyConnection) -> list[Any]:
    return connection.execute(sql).fetchall()


# Where, what is wrong, and the rows of which it is true.
_TRACE_FIGURES = " UNION ALL ".join(
    f"SELECT id, '{name}', {name}::VARCHAR FROM requests WHERE NOT ({name} >= 0 AND {name} < {most})"
    for name, most in [
        # The end of the year 9999, the last that a calendar here has; what takes longer than a century took no time.
        ("started_at", "253402300800"), *((one, "3.2e12") for one in ("ttft_ms", "total_ms")), ("tokens_per_s", "1e12"),
        *((one, "2147483648") for one in ("prompt_tokens", "completion_tokens", "reused_tokens", "reasoning_tokens")),
    ]
)  # fmt: skip
_REFERENCES = (
    ("trace {0}", "its {1} is {2}, which cannot be", _TRACE_FIGURES),
    (
        "label {0}@{1}", "points to version {2} that does not exist",
        ("SELECT l.prompt, l.label, l.number FROM prompt_labels l ANTI JOIN prompt_versions v "
        "ON v.prompt = l.prompt AND v.number = l.number"),
    ),
    (
        "tag {0}@{1}", "points to version {2} that does not exist",
        ("SELECT t.dataset, t.tag, t.number FROM dataset_tags t ANTI JOIN dataset_versions v "
        "ON v.dataset = t.dataset AND v.number = t.number"),
    ),
    (
        "dataset {0}@{1}", "its parent @{2} does not exist",
        ("SELECT c.dataset, c.number, c.parent FROM dataset_versions c ANTI JOIN dataset_versions p "
        "ON p.dataset = c.dataset AND p.number = c.parent WHERE c.parent IS NOT NULL"),
    ),
    (
        "prompt {0}@{1}", "its parent @{2} does not exist",
        ("SELECT c.prompt, c.number, c.parent FROM prompt_versions c ANTI JOIN prompt_versions p "
        "ON p.prompt = c.prompt AND p.number = c.parent WHERE c.parent IS NOT NULL"),
    ),
    (
        "candidate {0}@{1}", "its version does not exist",
        ("SELECT c.prompt, c.number FROM prompt_candidates c ANTI JOIN prompt_versions v "
        "ON v.prompt = c.prompt AND v.number = c.number"),
    ),
    (
        "evaluation {0}", "its suite {1}@{2} does not exist",
        ("SELECT r.name, r.suite, r.suite_number FROM evaluation_runs r ANTI JOIN evaluation_suites s "
        "ON s.name = r.suite AND s.number = r.suite_number"),
    ),
    (
        "alias {0}", "stands for the model {1} that does not exist",
        ("SELECT a.alias, a.model FROM model_aliases a ANTI JOIN models m "
        "ON m.name = split_part(a.model, '+', 1)"),
    ),
)  # fmt: skip
