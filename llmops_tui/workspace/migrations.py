"""The numbered schema of the catalog: each migration runs once, after a backup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Migration:
    """One step of the schema: its statements run in one transaction, in order."""

    version: int
    summary: str
    statements: Sequence[str]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        "prompts, runs, models, lineage",
        (
            "CREATE TABLE prompts (name VARCHAR PRIMARY KEY, created_at DOUBLE NOT NULL)",
            """CREATE TABLE prompt_versions (
                id VARCHAR PRIMARY KEY, prompt VARCHAR NOT NULL, number INTEGER NOT NULL, sha256 VARCHAR NOT NULL,
                parent INTEGER, system VARCHAR NOT NULL, template VARCHAR NOT NULL, note VARCHAR NOT NULL,
                created_at DOUBLE NOT NULL, UNIQUE (prompt, number), UNIQUE (prompt, sha256))""",
            """CREATE TABLE prompt_labels (
                prompt VARCHAR NOT NULL, label VARCHAR NOT NULL, number INTEGER NOT NULL, moved_at DOUBLE NOT NULL,
                PRIMARY KEY (prompt, label))""",
            """CREATE TABLE prompt_label_moves (
                prompt VARCHAR NOT NULL, label VARCHAR NOT NULL, before INTEGER, after INTEGER,
                moved_at DOUBLE NOT NULL)""",
            """CREATE TABLE requests (
                id VARCHAR PRIMARY KEY, started_at DOUBLE NOT NULL, model VARCHAR NOT NULL, model_sha256 VARCHAR,
                prompt VARCHAR, prompt_version INTEGER, variables JSON, messages JSON, parameters JSON,
                output VARCHAR NOT NULL, finish_reason VARCHAR NOT NULL, error VARCHAR,
                prompt_tokens INTEGER, completion_tokens INTEGER, reused_tokens INTEGER,
                ttft_ms DOUBLE, total_ms DOUBLE, tokens_per_s DOUBLE, engine VARCHAR)""",
            """CREATE TABLE models (
                name VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, path VARCHAR NOT NULL, sha256 VARCHAR NOT NULL,
                size_bytes BIGINT NOT NULL, header JSON NOT NULL, added_at DOUBLE NOT NULL, verified_at DOUBLE)""",
            """CREATE TABLE lineage (
                output VARCHAR NOT NULL, kind VARCHAR NOT NULL, recipe VARCHAR NOT NULL, input VARCHAR NOT NULL,
                made_at DOUBLE NOT NULL, PRIMARY KEY (output, recipe, input))""",
            "CREATE TABLE folded (journal VARCHAR PRIMARY KEY, last_seq BIGINT NOT NULL)",
        ),
    ),
    Migration(
        2,
        "datasets, their versions, tags, views, mappings and annotations",
        (
            "CREATE TABLE datasets (name VARCHAR PRIMARY KEY, created_at DOUBLE NOT NULL)",
            """CREATE TABLE dataset_versions (
                id VARCHAR PRIMARY KEY, dataset VARCHAR NOT NULL, number INTEGER NOT NULL, sha256 VARCHAR NOT NULL,
                parent INTEGER, kind VARCHAR NOT NULL, rows BIGINT NOT NULL, rejected BIGINT NOT NULL,
                columns JSON NOT NULL, recipe JSON NOT NULL, recipe_sha256 VARCHAR NOT NULL, note VARCHAR NOT NULL,
                size_bytes BIGINT NOT NULL, created_at DOUBLE NOT NULL, UNIQUE (dataset, number))""",
            """CREATE TABLE dataset_tags (
                dataset VARCHAR NOT NULL, tag VARCHAR NOT NULL, number INTEGER NOT NULL, moved_at DOUBLE NOT NULL,
                PRIMARY KEY (dataset, tag))""",
            """CREATE TABLE dataset_views (
                dataset VARCHAR NOT NULL, name VARCHAR NOT NULL, view JSON NOT NULL, saved_at DOUBLE NOT NULL,
                PRIMARY KEY (dataset, name))""",
            """CREATE TABLE dataset_mappings (
                columns VARCHAR PRIMARY KEY, mapping JSON NOT NULL, used_at DOUBLE NOT NULL)""",
            """CREATE TABLE dataset_reports (
                sha256 VARCHAR NOT NULL, what VARCHAR NOT NULL, report JSON NOT NULL, made_at DOUBLE NOT NULL,
                PRIMARY KEY (sha256, what))""",
            """CREATE TABLE annotations (
                id VARCHAR PRIMARY KEY, sha256 VARCHAR NOT NULL, task VARCHAR NOT NULL, row BIGINT NOT NULL,
                annotator VARCHAR NOT NULL, pass INTEGER NOT NULL, value JSON NOT NULL, made_at DOUBLE NOT NULL)""",
        ),
    ),
    Migration(
        3,
        "training recipes, runs, what was measured of them, and proofs of models",
        (
            """CREATE TABLE training_recipes (
                name VARCHAR NOT NULL, number INTEGER NOT NULL, sha256 VARCHAR NOT NULL, body JSON NOT NULL,
                note VARCHAR NOT NULL, created_at DOUBLE NOT NULL, PRIMARY KEY (name, number))""",
            """CREATE TABLE training_runs (
                name VARCHAR PRIMARY KEY, recipe JSON NOT NULL, job VARCHAR NOT NULL, base_sha256 VARCHAR NOT NULL,
                data JSON NOT NULL, options JSON NOT NULL, result JSON, created_at DOUBLE NOT NULL,
                finished_at DOUBLE)""",
            """CREATE TABLE training_measurements (
                shape VARCHAR NOT NULL, device VARCHAR NOT NULL, estimated BIGINT NOT NULL, measured BIGINT NOT NULL,
                step_s DOUBLE NOT NULL, tokens_per_s DOUBLE NOT NULL,
                measured_at DOUBLE NOT NULL)""",
            """CREATE TABLE model_proofs (
                sha256 VARCHAR NOT NULL, proof JSON NOT NULL, made_at DOUBLE NOT NULL)""",
        ),
    ),
    Migration(
        4,
        "evaluation suites and runs",
        (
            """CREATE TABLE evaluation_suites (
                name VARCHAR NOT NULL, number INTEGER NOT NULL, sha256 VARCHAR NOT NULL, body JSON NOT NULL,
                note VARCHAR NOT NULL, created_at DOUBLE NOT NULL, PRIMARY KEY (name, number))""",
            """CREATE TABLE evaluation_runs (
                name VARCHAR PRIMARY KEY, suite VARCHAR NOT NULL, suite_number INTEGER NOT NULL, job VARCHAR NOT NULL,
                asked JSON NOT NULL, manifest JSON, summary JSON, results_sha256 VARCHAR, created_at DOUBLE NOT NULL,
                finished_at DOUBLE)""",
        ),
    ),
    Migration(
        5,
        "feedback on requests, and whether their content was kept",
        (
            """CREATE TABLE feedback (
                id VARCHAR PRIMARY KEY, request VARCHAR NOT NULL, score INTEGER, correction VARCHAR, comment VARCHAR,
                verdict VARCHAR, source VARCHAR NOT NULL, said_at DOUBLE NOT NULL)""",
            "ALTER TABLE requests ADD COLUMN content VARCHAR",
        ),
    ),
    Migration(
        6,
        "which workspace the book is of, and when it was made",
        ("CREATE TABLE workspace (id VARCHAR NOT NULL, made_at DOUBLE NOT NULL)",),
    ),
    Migration(
        7,
        "what clients of the endpoint said of their requests, and with which key",
        ("ALTER TABLE requests ADD COLUMN client JSON",),
    ),
    Migration(
        8,
        "other names of models",
        (
            """CREATE TABLE model_aliases (
                alias VARCHAR PRIMARY KEY, model VARCHAR NOT NULL, created_at DOUBLE NOT NULL)""",
        ),
    ),
    Migration(
        9,
        "what a model thought before its answer, apart from it",
        (
            "ALTER TABLE requests ADD COLUMN thinking VARCHAR",
            "ALTER TABLE requests ADD COLUMN reasoning_tokens INTEGER",
        ),
    ),
    Migration(
        10,
        "how the content of a version of a dataset was hashed; before, by rows",
        ("ALTER TABLE dataset_versions ADD COLUMN hash_scheme VARCHAR DEFAULT 'rows-1'",),
    ),
    Migration(
        11,
        "improvements of prompts: what each was asked, which rows it used and when it looked at the sealed ones; candidates",
        (
            """CREATE TABLE improvements (
                id VARCHAR PRIMARY KEY, prompt VARCHAR NOT NULL, number INTEGER NOT NULL, started_at DOUBLE NOT NULL,
                plan JSON NOT NULL, parts JSON, looked JSON, result JSON)""",
            """CREATE TABLE prompt_candidates (
                prompt VARCHAR NOT NULL, number INTEGER NOT NULL, improvement VARCHAR NOT NULL, made_at DOUBLE NOT NULL,
                PRIMARY KEY (prompt, number))""",
        ),
    ),
    Migration(
        12,
        "what makes an answer beside the texts of a prompt's version: model, sampling, variables, schema, tools, examples",
        ("ALTER TABLE prompt_versions ADD COLUMN settings JSON",),
    ),
)

LATEST = MIGRATIONS[-1].version
