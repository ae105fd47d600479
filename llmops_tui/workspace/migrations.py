"""The numbered schema of the book: each migration brings it one version further, once, after a backup."""

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
)

LATEST = MIGRATIONS[-1].version
