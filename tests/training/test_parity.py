"""Transformers with the trained adapter, and our GGUF files of both: the same tokens on 200 prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_tui.datasets.tokens import ModelText
from llmops_tui.training.export.adapter import read_adapter, write_adapter_gguf
from llmops_tui.training.export.conversion import convert
from llmops_tui.training.export.merge import merge_gguf
from llmops_tui.training.export.proof import LOSSLESS, Case, ask_gguf, compare
from llmops_tui.training.families import Family
from tests.training.conftest import Llmops

PROMPTS = 200


@pytest.mark.slow
def test_greedy_answers_of_transformers_and_of_our_gguf_agree_on_200_prompts(llmops: Llmops, tmp_path: Path) -> None:
    from llmops_tui.training.runs import RunStore
    from llmops_tui.training.worker.reference import ask

    llmops.run("train", "new", "parity", "--base", "support-base-hf", "--data", "triage", "--preset", "tiny")
    llmops.run("train", "start", "parity", "--set", "max_steps=120", "--set", "evaluation.share=0", "--make-room")
    llmops.wait("parity-1", "done")
    store = RunStore(llmops.workspace)
    base = store.registry.get("support-base-hf").path
    adapter = store.get("parity-1").folder / "adapter"
    family = Family("llama", json.loads((base / "config.json").read_text(encoding="utf-8")))
    convert(base, tmp_path / "base.gguf", "base", lambda *_: None)
    write_adapter_gguf(family, read_adapter(adapter), tmp_path / "adapter.gguf", "adapter")
    merge_gguf(
        family, read_adapter(adapter), tmp_path / "base.gguf", tmp_path / "merged.gguf", "merged", lambda *_: None, base
    )
    rows = [row for batch in store.datasets.get("triage-test").read(limit=PROMPTS) for _, row in batch]
    with ModelText(store.registry.get("support-base-hf")) as text:
        cases = []
        for row in rows:
            rendered = text.render(row["messages"][:-1], prompt=True)
            ids = [token for token, _ in text.tokenizer.tokens(rendered)]
            answer = [token for token, _ in text.tokenizer.tokens(row["messages"][-1]["content"] + "<|im_end|>")]
            cases.append(Case(rendered, ids, answer))
        ends = {text.tokenizer.tokens(text.tokenizer.eos)[0][0]}
    assert len(cases) == PROMPTS
    reference = ask(base, adapter, cases, ends)
    # What the adapter learned is not what the base says anyway.
    assert compare("base", reference, ask(base, None, cases, ends), cases, ends, LOSSLESS).greedy < 0.5
    for model, beside in (("base.gguf", tmp_path / "adapter.gguf"), ("merged.gguf", None)):
        found = compare(
            model, reference, ask_gguf(tmp_path / model, beside, cases, lambda _: None), cases, ends, LOSSLESS
        )
        assert found.same_tokens == 1
        assert found.greedy >= 0.98, found
        assert found.good, found
