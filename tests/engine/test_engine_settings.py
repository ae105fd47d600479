"""Every setting of the engine arrives in llama.cpp's parameters, from the settings and from flags; none is dropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import ValidationError
from typer.testing import CliRunner

from llmops_tui.cli.engine_flags import Engine, engine_flags
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference import memory_reservation
from llmops_tui.inference.fallback import RUNGS, remember
from llmops_tui.inference.options import LoadOptions, options_from
from llmops_tui.inference.server.engine import make_engine
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.inference.worker_client import EngineProcess
from llmops_tui.models.engine_settings import EngineSettings, check_settings, from_json
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.settings import Settings
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.engine.cards import Cards
from tests.engine.engines import MODEL as SMALL_MODEL
from tests.engine.engines import Bench
from tests.engine.tiny_models import write_tiny

NAMES = {field.name for field in fields(EngineSettings)}
# Another value than the default for each, as the settings have it.
GIVEN: dict[str, Any] = {
    "context": 640, "threads": 3, "gpu_layers": 4, "parallel": 3, "precision": "fast", "speculate": True, "draft": "little",
    "cache_bytes": 12_345, "cache_type_k": "q8_0", "cache_type_v": "q4_0", "swa_full": True, "batch": 256,
    "flash_attention": "auto",
    "micro_batch": 128, "split_mode": "row", "main_gpu": 1, "tensor_split": "1,3", "cpu_moe": 2, "mmap": False,
    "mlock": True,
}  # fmt: skip


def arrived(options: dict[str, Any]) -> Any:
    """What the engine's process makes of its options."""
    from llmops_tui.inference.engine.parameters import EngineOptions

    return EngineOptions(**from_json(json.loads(json.dumps(options))))


@pytest.fixture
def through(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, model_file: Path) -> Callable[[LoadOptions], Any]:
    """From options, by the supervisor and the server, to the engine's, on a machine with two GPUs."""
    cards = Cards(2)
    monkeypatch.setattr(memory_reservation, "usable_gpus", cards.devices)
    monkeypatch.setattr(memory_reservation, "ledger", lambda: cards.ledger(workspace.root / "leases"))
    monkeypatch.setattr("llmops_tui.inference.supervisor.ledger", lambda: cards.ledger(workspace.root / "leases"))
    registry = ModelRegistry(Catalog(workspace))
    model = registry.add(model_file, "m")
    registry.add(SMALL_MODEL, "little")

    def go(options: LoadOptions) -> Any:
        kept: dict[str, Any] = {}

        def spawn(
            _self: Any, _name: str, record: dict[str, Any], _module: str, environment: dict[str, str], _lock: int
        ) -> Any:
            kept.update(started=json.loads(json.dumps(record["options"])), environment=environment)
            raise LlmopsError("enough", "nothing is started here")

        monkeypatch.setattr(ServerSupervisor, "_spawn", spawn)
        with pytest.raises(LlmopsError, match="nothing is started"):
            ServerSupervisor(workspace).ensure(model, options)
        engine = make_engine(ServerOptions(**from_json(kept["started"])))
        assert isinstance(engine, EngineProcess)
        return arrived(engine._options), kept["environment"]

    return go


def test_each_setting_arrives_in_the_native_parameters(through: Callable[[LoadOptions], Any]) -> None:
    import llama_cpp

    from llmops_tui.inference.engine.parameters import ModelParameters, context_parameters

    assert set(GIVEN) == NAMES
    engine, environment = through(options_from(Settings(**GIVEN)))
    model, context = ModelParameters(engine).native, context_parameters(engine, 640, 3)
    seen = {
        "context": context.n_ctx == 768 * 3,
        "threads": context.n_threads == context.n_threads_batch == 3,
        "gpu_layers": model.n_gpu_layers == 4,
        "parallel": context.n_seq_max == 3,
        "precision": context.flash_attn_type == llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO,
        "speculate": engine.speculate,
        "cache_bytes": engine.cache_bytes == 12_345,
        "cache_type_k": context.type_k == llama_cpp.GGML_TYPE_Q8_0,
        "cache_type_v": context.type_v == llama_cpp.GGML_TYPE_Q4_0,
        "swa_full": context.swa_full,
        "flash_attention": engine.flash,
        "batch": context.n_batch == 256,
        "micro_batch": context.n_ubatch == 128,
        "split_mode": model.split_mode == llama_cpp.LLAMA_SPLIT_MODE_ROW,
        # The main GPU is the first that the process sees, and its share is that of its own number.
        "main_gpu": environment["CUDA_VISIBLE_DEVICES"].startswith("GPU-1"),
        "tensor_split": [model.tensor_split[0], model.tensor_split[1]] == [3.0, 1.0],
        "cpu_moe": bool(model.tensor_buft_overrides),
        "mmap": model.load_mode == llama_cpp.LLAMA_LOAD_MODE_MLOCK,
        "mlock": model.load_mode == llama_cpp.LLAMA_LOAD_MODE_MLOCK,
    }
    seen["draft"] = engine.draft == str(SMALL_MODEL)
    assert set(seen) == NAMES
    assert [name for name, true in seen.items() if not true] == []
    exact, _ = through(options_from(Settings(precision="exact")))
    params = context_parameters(exact, 256, 1)
    assert (params.type_k, params.type_v) == (llama_cpp.GGML_TYPE_F32, llama_cpp.GGML_TYPE_F32)
    assert params.flash_attn_type == llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    assert not params.swa_full
    off, _ = through(options_from(Settings(flash_attention="off")))
    assert context_parameters(off, 256, 1).flash_attn_type == llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    with pytest.raises(InputRefusedError, match="cache_type_v q8_0"):
        check_settings(EngineSettings(flash_attention="off", cache_type_v="q8_0"))


def test_each_setting_has_a_flag() -> None:
    changed: list[LoadOptions] = []
    app = typer.Typer()

    @app.command()
    @engine_flags
    def command(*, engine: Engine) -> None:
        changed.append(engine(LoadOptions()))

    words: list[str] = []
    for name, value in GIVEN.items():
        flag = "--" + name.replace("_", "-")
        if name == "precision":
            words.append("--fast")
        elif isinstance(value, bool):
            words.append(flag if value else f"--no-{name}")
        else:
            words += [flag, str(value)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert {name: getattr(changed[0], name) for name in NAMES} == GIVEN | {"tensor_split": (1.0, 3.0)}
    assert CliRunner().invoke(app, ["--exact"]).exit_code == 0
    assert changed[1].exact
    assert CliRunner().invoke(app, []).exit_code == 0
    assert changed[2] == LoadOptions()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"cache_type_v": "q3"}, "q8_0"),
        ({"cache_type_k": "q8_0", "precision": "exact"}, "32-bit cache; cache_type_k q8_0 was requested"),
        ({"cache_type_v": "q8_0", "precision": "exact"}, "32-bit cache; cache_type_v q8_0 was requested"),
        (
            {"cache_type_k": "q8_0", "cache_type_v": "bf16", "precision": "exact"},
            "32-bit cache; cache_type_k q8_0 and cache_type_v bf16 were requested",
        ),
        ({"batch": 32}, "64 to"),
        ({"batch": 128, "micro_batch": 256}, "batch is 128"),
        ({"split_mode": "tensor"}, "auto, none, layer, row"),
        ({"tensor_split": (0.0, 0.0)}, "0 or more"),
        ({"tensor_split": (1.0, -1.0)}, "0 or more"),
        ({"tensor_split": (1.0,), "split_mode": "none"}, "does not split it"),
        ({"main_gpu": -2}, "-1"),
    ],
)
def test_values_that_cannot_be_are_refused_with_what_is_allowed(values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        check_settings(LoadOptions(**values))
    assert next(iter(values)) in caught.value.message
    assert told in caught.value.message + caught.value.hint


def test_the_settings_file_refuses_shares_that_are_no_numbers() -> None:
    with pytest.raises(ValidationError, match="3,1"):
        Settings(tensor_split="half")
    assert options_from(Settings(tensor_split="3, 1")).tensor_split == (3.0, 1.0)


def test_a_cache_in_blocks_answers_nearly_as_a_whole_one_and_needs_heads_that_fill_it(tmp_path: Path) -> None:
    questions = "<|im_start|>user\nWhen are you open?<|im_end|>\n<|im_start|>assistant\n"
    whole = Bench(parallel=1).ask(questions, logprobs=0)
    packed = Bench(parallel=1, cache_type_k="q8_0", cache_type_v="q8_0").ask(questions, logprobs=0)
    assert packed.tokens[0][2] == pytest.approx(whole.tokens[0][2], abs=0.1)
    from llmops_tui.models.gguf import read_header
    from llmops_tui.models.memory import estimate

    narrow = write_tiny(tmp_path / "m.gguf", "cohere2")
    with pytest.raises(InputRefusedError, match="16 wide"):
        estimate(read_header(narrow), EngineSettings(cache_type_k="q8_0"))


def test_figures_of_other_caches_are_not_taken_for_the_same() -> None:
    from llmops_tui.inference.asking.asker import engine_name

    told = [
        engine_name(LoadOptions(**given), SMALL_MODEL)
        for given in (
            {},
            {"precision": "exact"},
            {"cache_type_k": "q8_0"},
            {"cache_type_v": "q8_0"},
            {"flash_attention": "off"},
        )
    ]
    assert len(set(told)) == 5
    assert told[0].endswith(" fast")
    # Nor those of a machine on which llama.cpp has to leave something out.
    remember(RUNGS[1], "died")
    assert engine_name(LoadOptions(), SMALL_MODEL) not in told
    remember(RUNGS[2], "died")
    assert "flash attention" in engine_name(LoadOptions(), SMALL_MODEL)


def test_a_wider_batch_and_a_narrow_one_answer_alike() -> None:
    prompt = "kettle rug lamp " * 60
    answers = {
        Bench(parallel=1, batch=b, micro_batch=u).ask(prompt).text for b, u in ((512, 512), (64, 32), (1024, 256))
    }
    assert len(answers) == 1
