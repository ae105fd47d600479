"""The main story of fine-tuning, as a new user lives it: from the sample data to a model that answers right."""

from __future__ import annotations

import time

import pytest

from tests.training.conftest import Llmops, exact_share


@pytest.mark.slow
def test_qlora_teaches_the_sample_to_triage_and_the_served_model_has_learned_it(llmops: Llmops) -> None:
    workspace = llmops.workspace
    before = exact_share(workspace, "support-base")
    assert before < 0.2
    began = time.monotonic()
    llmops.run("train", "start", "triage-qlora", "--make-room")
    done = llmops.wait("triage-qlora-1", "done")
    took = time.monotonic() - began
    assert done["recipe"]["quantization"]["type"] == "nf4"
    assert done["result"]["serving"] == "support-base"
    # The limit of the story, on two cores with nothing else running.
    assert took < 240, f"{took:.0f} s"
    with_adapter = exact_share(workspace, "support-base+triage-qlora-1")
    assert with_adapter > 0.9
    made = llmops.run("train", "export", "triage-qlora-1", "--gguf", "--quantize", "Q8_0")
    assert made["models"] == ["triage-qlora-1-F16", "triage-qlora-1-Q8_0"]
    assert [step["good"] for step in made["proof"]] == [True, True, True], made["proof"]
    merged = exact_share(workspace, "triage-qlora-1-Q8_0")
    assert abs(merged - with_adapter) <= 0.01
    lineage = llmops.run("sql", "SELECT kind, count(*) AS n FROM lineage GROUP BY kind ORDER BY kind")
    assert {"merge", "quantize", "train"} <= {
        row["kind"] if isinstance(row, dict) else row[0] for row in lineage["rows"]
    }
