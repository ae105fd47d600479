"""Names of models as clients write them: which one is meant, and what is told where none or several are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.router.names import resolve
from llmops_tui.models.records import ModelHeader
from llmops_tui.models.registry import Model


def model(name: str, kind: str = "gguf", *, file: str = "", source: str = "", type_: str = "Q4_K_M") -> Model:
    header: ModelHeader = {"quantization": type_, "architecture": "llama", "source": source}
    return Model(name, kind, Path(f"/models/{file or name}.gguf"), name, 1, header, 0.0, None)


MODELS = [
    model("qwen3-8b"),
    model("Llama-3.2-3B-Instruct-Q4_K_M"),
    model("smol", file="SmolLM2-135M-Instruct-Q4_1", source="hf:bartowski/SmolLM2-135M-Instruct-GGUF", type_="Q4_1"),
    model("gemma-q8", file="gemma-3-4b-it-Q8_0", source="hf:ggml-org/gemma-3-4b-it-GGUF", type_="Q8_0"),
    model("gemma-q4", file="gemma-3-4b-it-Q4_K_M", source="hf:ggml-org/gemma-3-4b-it-GGUF"),
    model("tone", "adapter"),
    model("far", "remote"),
]
ALIASES = {"gpt-4o": "qwen3-8b", "polite": "qwen3-8b+tone", "gone": "no-such-model"}


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("qwen3-8b", "qwen3-8b"),
        ("QWEN3-8B", "qwen3-8b"),
        ("qwen3-8b:latest", "qwen3-8b"),
        ("qwen3:8b", "qwen3-8b"),
        ("Qwen/Qwen3-8B", "qwen3-8b"),
        ("Qwen/Qwen3-8B-GGUF", "qwen3-8b"),
        ("Qwen/Qwen3-8B-GGUF:Q4_K_M", "qwen3-8b"),
        ("hf.co/unsloth/Qwen3-8B-GGUF:UD-Q4_K_M", "qwen3-8b"),
        ("qwen3:8b-q4_K_M", "qwen3-8b"),
        ("llama3.2:3b", "Llama-3.2-3B-Instruct-Q4_K_M"),
        ("meta-llama/Llama-3.2-3B-Instruct", "Llama-3.2-3B-Instruct-Q4_K_M"),
        ("smollm2:135m", "smol"),
        ("SmolLM2-135M-Instruct-Q4_1.gguf", "smol"),
        ("bartowski/SmolLM2-135M-Instruct-GGUF", "smol"),
        ("ggml-org/gemma-3-4b-it-GGUF:Q8_0", "gemma-q8"),
        ("gemma3:4b-it-q4_K_M", "gemma-q4"),
        ("gpt-4o", "qwen3-8b"),
        ("GPT-4o:latest", "qwen3-8b"),
        ("polite", "qwen3-8b+tone"),
        ("qwen3-8b+tone", "qwen3-8b+tone"),
        ("qwen3:8b+Tone", "qwen3-8b+tone"),
        ("gpt-4o+tone", "qwen3-8b+tone"),
    ],
)
def test_a_name_means_one_model(asked: str, meant: str) -> None:
    found = resolve(asked, MODELS, ALIASES)
    assert (found.name, found.model.name) == (meant, meant.partition("+")[0])


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        # Another size, type or family is another model, however alike the names are.
        ("qwen3:80b", "model_not_found", "qwen3-8b"),
        ("qwen:38b", "model_not_found", "qwen3-8b"),
        ("qwen3", "model_not_found", "qwen3-8b"),
        ("Qwen/Qwen3-8B-GGUF:Q8_0", "model_not_found", "qwen3-8b"),
        ("qwen3:8b-instruct", "model_not_found", "qwen3-8b"),
        ("gemma3:4b", "model_ambiguous", "'gemma-q4' or 'gemma-q8'"),
        ("ggml-org/gemma-3-4b-it-GGUF", "model_ambiguous", "'gemma-q4' or 'gemma-q8'"),
        ("qwen3-8b+loud", "adapter_not_found", "tone"),
        ("polite+tone", "adapter_not_found", "has an adapter already"),
        ("gone", "model_not_found", "not registered any more"),
        ("far", "model_not_served", "remote"),
        ("tone", "model_not_served", "adapter"),
        ("", "model_not_found", "qwen3-8b"),
    ],
)
def test_a_name_that_is_none_names_the_near_ones(asked: str, code: str, told: str) -> None:
    with pytest.raises(LlmopsError) as raised:
        resolve(asked, MODELS, ALIASES)
    assert raised.value.code == code
    assert told in raised.value.told


def test_a_tuned_model_does_not_go_by_its_base() -> None:
    mine = model("support-qwen", file="merged")
    with pytest.raises(LlmopsError, match="no model 'qwen3:8b'"):
        resolve("qwen3:8b", [mine])


@given(st.text(max_size=80))
def test_any_text_is_a_registered_model_or_refused(asked: str) -> None:
    try:
        what = resolve(asked, MODELS, ALIASES).model.kind
    except LlmopsError as error:
        what = error.code
    assert what in {"gguf", "model_not_found", "model_ambiguous", "model_not_served", "adapter_not_found"}


@given(st.lists(st.sampled_from(MODELS), unique_by=lambda m: m.name))
def test_every_registered_model_is_found_by_its_own_name(models: list[Model]) -> None:
    for one in models:
        if one.kind == "gguf":
            assert resolve(one.name, models, ALIASES).model is one
