"""Export verifications in the catalog, by the hash of the model."""

from __future__ import annotations

import json
import time

from llmops_tui.training.records import ProofStep
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.json_columns import kept


def keep_proof(catalog: Catalog, sha256: str, proof: list[ProofStep]) -> None:
    """Keep the table of a model."""
    catalog.write(
        lambda connection: connection.execute(
            "INSERT INTO model_proofs (sha256, proof, made_at) VALUES (?, ?, ?)",
            [sha256, json.dumps(proof), time.time()],
        )
    )


def read_proof(catalog: Catalog, sha256: str) -> list[ProofStep]:
    """The newest table of a model; empty where there is none."""
    rows = catalog.read(
        lambda connection: connection.execute(
            "SELECT proof FROM model_proofs WHERE sha256 = ? ORDER BY made_at DESC LIMIT 1", [sha256]
        ).fetchall()
    )
    return list(kept("model_proofs", "proof", sha256, rows[0][0])) if rows else []
