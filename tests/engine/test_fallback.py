"""An engine whose native code does not fit this machine: played by one that is made to die at its first decode."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.inference import fallback
from llmops_tui.inference.client import ModelClient, StreamEnd
from llmops_tui.inference.crash import why_it_died
from llmops_tui.inference.engine_launch import Launched, launch
from llmops_tui.inference.memory_reservation import LoadOptions, ledger, plan
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.supervisor import ServerSupervisor, health
from llmops_tui.inference.worker_client import EngineProcess
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.sample_files import sample_folder
from llmops_tui.training.export.proof import Case, ask_gguf
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.notices import read_notices
from tests.commands import Llmops

MODEL = sample_folder() / "models" / "support-base-Q4_K_M.gguf"
QUESTION = [{"role": "user", "content": "When are you open?"}]

# Python runs this before anything else in each child process. The engine's then dies in its first decode as a build for
# another processor does, with a real fault of memory where asked, for as long as the named part is in use.
_TRAP = """
import os, sys
WORKERS = ("llmops_tui.inference.worker", "llmops_tui.training.export.gguf_worker")
if any(name in sys.orig_argv for name in WORKERS):
    import ctypes
    import llama_cpp
    used = set()
    load, init, decode = (
        llama_cpp.llama_model_load_from_file, llama_cpp.llama_init_from_model, llama_cpp.llama_decode)
    def loading(path, params):
        used.update({"the model"} if b"Q4_K_M" not in path else ())
        used.update({"extra buffers"} if params.use_extra_bufts else ())
        return load(path, params)
    def making(model, params):
        used.update({"flash attention"} if params.flash_attn_type != 0 else ())
        return init(model, params)
    def decoding(context, batch):
        used.update({"gpu"} if os.environ.get("CUDA_VISIBLE_DEVICES") != "" else ())
        used.add("anything")
        with open(os.environ["TRAP"]) as file:
            *parts, how = file.read().split(",")
        caught = any(used.issuperset(part.split("+")) for part in parts)
        if caught and how == "memory":
            ctypes.string_at(0)
        if caught and how == "bad_alloc":
            os.write(2, b"  what():  std::bad_alloc\\n")
            os.abort()
        if caught and how == "assert":
            os.write(2, b"/src/ggml/src/ggml-cuda/mmq.cu:12: GGML_ASSERT(kernels) failed\\n")
            os.abort()
        if caught and how.isdigit():
            os.kill(os.getpid(), int(how))
        return decode(context, batch)
    llama_cpp.llama_model_load_from_file = loading
    llama_cpp.llama_init_from_model = making
    llama_cpp.llama_decode = decoding
"""


class Trap:
    """What the engine dies of: any of the parts named, apart by a comma; several are joined by a plus."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "trap"

    def set(self, part: str, how: str = "memory") -> None:
        self._file.write_text(f"{part},{how}")


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trap:
    folder = tmp_path / "trap"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_TRAP)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("TRAP", str(folder / "trap"))
    return Trap(folder)


async def launched(tmp_path: Path, **options: Any) -> Launched:
    given = {"path": str(MODEL), "context": 256, "parallel": 1, "threads": 1, **options}
    engine = await launch(given, tmp_path / "engine.log", hang_seconds=60)
    engine.process.kill()
    await engine.process.wait()
    return engine


@pytest.mark.parametrize(
    ("part", "how", "rung", "said"),
    [
        pytest.param("nothing", "memory", "full", "", marks=pytest.mark.slow),
        pytest.param("extra buffers", "memory", "no-extra-buffers", "SIGSEGV", marks=pytest.mark.slow),
        pytest.param("flash attention", "4", "no-flash-attention", "SIGILL", marks=pytest.mark.slow),
        pytest.param("gpu", "assert", "no-gpu", "GGML_ASSERT(kernels)", marks=pytest.mark.slow),
        pytest.param("gpu,flash attention", "assert", "plain", "GGML_ASSERT(kernels)", marks=pytest.mark.slow),
    ],
)
async def test_an_engine_that_dies_of_its_first_tokens_is_started_one_rung_lower(
    trap: Trap, tmp_path: Path, part: str, how: str, rung: str, said: str
) -> None:
    trap.set(part, how)
    engine = await launched(tmp_path, gpu_layers=1)
    assert engine.rung.name == rung
    assert said in engine.cause
    assert ("while evaluating its first tokens" in engine.cause) == bool(said)
    assert engine.news == (rung != "full")
    # The next start knows, dies no more, and has nothing new to tell.
    again = await launched(tmp_path, gpu_layers=1)
    assert (again.rung.name, again.cause, again.news) == (rung, engine.cause, False)
    log = (tmp_path / "engine.log").read_text()
    assert log[again.log_start :].count("Fatal Python error") == 0
    # Once the build is fixed, everything is tried again.
    trap.set("nothing")
    fallback.forget()
    assert (await launched(tmp_path, gpu_layers=1)).rung.name == "full"


@pytest.mark.slow
async def test_a_rung_that_leaves_out_nothing_that_is_asked_for_is_not_tried(trap: Trap, tmp_path: Path) -> None:
    trap.set("anything")
    with pytest.raises(LlmopsError, match="SIGSEGV") as caught:
        await launched(tmp_path, precision="exact", gpu_layers=0)
    assert caught.value.code == "engine_crashes"
    assert (tmp_path / "engine.log").read_text().count("Fatal Python error") == 2
    assert fallback.remembered() is None


@pytest.mark.slow
async def test_what_crashes_with_one_model_alone_is_left_out_for_that_model(
    trap: Trap, tmp_path: Path, sample: Workspace
) -> None:
    registry = ModelRegistry(Catalog(sample))
    other = registry.get("support-base").path
    trap.set("the model+flash attention")
    engine = await launched(tmp_path, path=str(other))
    assert (engine.rung.name, engine.news) == ("no-flash-attention", True)
    assert fallback.remembered() is None
    again = await launched(tmp_path, path=str(other))
    assert (again.rung.name, again.cause, again.news) == ("no-flash-attention", engine.cause, False)
    assert (await launched(tmp_path)).rung.name == "full"
    # The plan knows it, of that model alone.
    planned = plan(sample, registry.get("support-base"), LoadOptions(cache_type_v="q8_0"))
    assert planned.options.flash_attention == "off"
    assert planned.options.cache_type_v == "f16"
    assert "cache_type_v" in planned.notes[-1]
    assert plan(sample, registry.get("support-base-q4"), LoadOptions()).options.flash_attention == "auto"
    assert "no-flash" not in fallback.forget()
    assert fallback.remembered(other) is None


async def test_a_trial_that_cannot_be_made_leaves_no_engine_behind(
    trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sample_folder() / "models" / "support-base-Q8_0.gguf"
    trap.set("extra buffers")

    def missing() -> Path:
        raise LlmopsError("sample_missing", "no sample")

    monkeypatch.setattr("llmops_tui.inference.engine_launch.check_model", missing)
    engine = await launched(tmp_path, path=str(other))
    assert engine.rung.name == "no-extra-buffers"
    assert fallback.remembered() is None
    assert fallback.remembered(other) is not None


async def test_a_want_of_memory_is_no_fault_of_the_build(trap: Trap, tmp_path: Path) -> None:
    trap.set("anything", "bad_alloc")
    with pytest.raises(LlmopsError, match="bad_alloc") as caught:
        await launched(tmp_path)
    assert caught.value.code == "engine_died"
    assert fallback.remembered() is None


def test_a_model_is_planned_as_it_will_run_here(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "llmops_tui.inference.memory_reservation.usable_gpus", lambda: pytest.fail("there is no use for them")
    )
    fallback.remember(fallback.RUNGS[3], "the driver")
    model = ModelRegistry(Catalog(sample)).get("support-base")
    planned = plan(sample, model, LoadOptions(gpu_layers=99))
    assert set(planned.sizes) == {"host"}
    assert planned.environment["CUDA_VISIBLE_DEVICES"] == ""
    assert "without the GPU" in planned.notes[-1]
    assert "flash_attention" not in planned.notes[-1]


@pytest.mark.slow
async def test_a_server_that_had_to_leave_out_what_was_planned_is_planned_again(trap: Trap, sample: Workspace) -> None:
    trap.set("flash attention", "4")
    supervisor = ServerSupervisor(sample)
    model = ModelRegistry(Catalog(sample)).get("support-base")
    handle = await asyncio.to_thread(supervisor.ensure, model, LoadOptions(threads=1, cache_type_v="q8_0"))
    options = json.loads((sample.runs / "servers" / "support-base.json").read_text())["options"]
    assert (options["flash_attention"], options["cache_type_v"]) == ("off", "f16")
    holders = [held for held in ledger().leases() if held.name == "support-base"]
    assert [held.process for held in holders] == [handle.process]
    assert len(read_notices(sample)) == 1


async def test_a_kill_from_outside_is_no_crash(trap: Trap, tmp_path: Path) -> None:
    trap.set("anything", str(int(signal.SIGKILL)))
    with pytest.raises(LlmopsError, match="SIGKILL") as caught:
        await launched(tmp_path)
    assert caught.value.code == "engine_died"
    assert fallback.remembered() is None


async def test_numbers_that_are_none_are_a_fault_of_the_build_too(
    trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not each wrong kernel crashes."""
    trap.set("nothing")
    broken = Path(os.environ["TRAP"]).with_name("sitecustomize.py")
    broken.write_text(
        _TRAP.replace(
            "return decode(context, batch)",
            "status = decode(context, batch)\n"
            "        if 'extra buffers' in used:\n"
            "            llama_cpp.llama_get_logits(context)[0] = float('nan')\n"
            "        return status",
        )
    )
    engine = await launched(tmp_path)
    assert engine.rung.name == "no-extra-buffers"
    assert "is not a number" in engine.cause


def test_what_is_known_belongs_to_one_build_processor_and_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fallback.remember(fallback.RUNGS[1], "died")
    assert not fallback.remember(fallback.RUNGS[1], "died")
    assert not fallback.remember(fallback.RUNGS[0], "")
    assert fallback.remembered() == fallback.Remembered("no-extra-buffers", "died")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(fallback, "_processor", lambda: "another processor")
        assert fallback.remembered() is None
        assert fallback.remember(fallback.RUNGS[3], "the driver")
        assert fallback.remembered() is not None
        # A driver is given another chance after the next boot; a processor stays what it is.
        elsewhere.setattr(fallback, "_boot", lambda: "another boot")
        assert fallback.remembered() is None
    assert fallback.remembered() is not None
    fallback.state_folder().joinpath("engine.json").write_text("{")
    assert fallback.remembered() is None


async def test_a_server_runs_on_the_rung_that_works_and_tells_it_once(trap: Trap, sample: Workspace) -> None:
    trap.set("extra buffers")
    supervisor = ServerSupervisor(sample)
    model = ModelRegistry(Catalog(sample)).get("support-base")
    handle = await asyncio.to_thread(supervisor.ensure, model, LoadOptions(threads=1))
    async with ModelClient(handle) as client:
        events = [event async for event in client.stream_chat(QUESTION, SamplingParameters())]
    assert isinstance(events[-1], StreamEnd)
    assert "".join(e for e in events if isinstance(e, str)).startswith("We are open")
    facts = await asyncio.to_thread(health, handle)
    assert facts["fallback"]["rung"] == "no-extra-buffers"
    assert "gcc 13" in facts["fallback"]["remedy"]
    (_, told), *more = read_notices(sample)
    assert not more
    assert "SIGSEGV" in told
    assert "gcc 13" in told
    await asyncio.to_thread(supervisor.replace, model, LoadOptions(threads=1))
    assert len(read_notices(sample)) == 1


@pytest.mark.slow
def test_doctor_evaluates_tokens_and_names_the_crash(trap: Trap, workspace: Workspace) -> None:
    def engine(*options: str, code: int = 0) -> dict[str, str]:
        found: dict[str, list[dict[str, str]]] = Llmops(workspace).run("doctor", *options, code=code)
        return next(check for check in found["checks"] if check["name"] == "engine")

    trap.set("nothing")
    assert engine()["state"] == "ok"
    trap.set("extra buffers")
    found = engine()
    assert found["state"] == "warn"
    assert "SIGSEGV" in found["finding"]
    assert "gcc 13" in found["remedy"]
    trap.set("nothing")
    assert engine()["state"] == "warn"
    assert engine("--retry")["state"] == "ok"
    trap.set("anything", "4")
    found = engine("--retry", code=1)
    assert found["state"] == "fail"
    assert "SIGILL" in found["finding"]


@pytest.mark.slow
def test_a_proof_goes_down_the_rungs_and_tells_the_cause(trap: Trap, tmp_path: Path) -> None:
    case = Case("hello", [1, 2, 3], [4])
    trap.set("extra buffers")
    answers = ask_gguf(MODEL, None, [case], lambda _share: None)
    assert len(answers.greedy[0]) > 0
    known = fallback.remembered()
    assert known is not None
    assert "SIGSEGV" in known.cause
    # Nobody reads the standard error of a job: the next server tells it.
    assert not known.told
    assert asyncio.run(launched(tmp_path)).news
    assert not asyncio.run(launched(tmp_path)).news
    assert "SIGSEGV" in fallback.forget()
    trap.set("anything", "assert")
    with pytest.raises(LlmopsError, match=r"GGML_ASSERT\(kernels\)") as caught:
        ask_gguf(MODEL, None, [case], lambda _share: None)
    assert caught.value.code == "proof_failed"
    with pytest.raises(LlmopsError, match="could not load"):
        ask_gguf(MODEL.parent / "SHA256SUMS", None, [case], lambda _share: None)


async def test_an_engine_that_is_dead_is_started_again_without_being_asked(tmp_path: Path) -> None:
    engine = EngineProcess(
        {"path": str(MODEL), "context": 256, "parallel": 1, "threads": 1}, tmp_path / "log", pauses=(0.0,)
    )
    try:
        await engine.start()
        for _ in range(2):
            before = engine.pid
            assert before is not None
            os.kill(before, signal.SIGSEGV)
            await until(lambda before=before: engine.pid not in {None, before})  # type: ignore[misc]
            assert "SIGSEGV" in engine.last_failure
    finally:
        await engine.stop()


@pytest.mark.slow
async def test_an_engine_that_keeps_dying_is_left_alone_for_a_while_and_says_so(tmp_path: Path) -> None:
    engine = EngineProcess(
        {"path": str(MODEL), "context": 256, "parallel": 1, "threads": 1}, tmp_path / "log", pauses=(600.0,)
    )
    try:
        assert engine.state == "loading"
        await engine.start()
        assert engine.state == "ok"
        for _ in range(3):
            await until(lambda: engine.pid is not None)
            os.kill(engine.pid or 0, signal.SIGABRT)
            await until(lambda: engine.pid is None)
        await until(lambda: engine.state == "failing")
        with pytest.raises(LlmopsError, match="SIGABRT") as caught:
            await engine.start()
        assert caught.value.code == "engine_keeps_dying"
        assert "started again in" in caught.value.hint
    finally:
        await engine.stop()


async def test_an_engine_that_hangs_is_ended_though_its_client_left(tmp_path: Path) -> None:
    engine = EngineProcess(
        {"path": str(MODEL), "context": 256, "parallel": 1, "threads": 1}, tmp_path / "log", hang_seconds=2.0
    )
    try:
        await engine.start()
        first = engine.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        call = engine.call({"op": "generate", "id": "a", "text": "x", "add_special": False, "parameters": {}})
        asking = asyncio.create_task(anext(call))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await call.aclose()
        await until(lambda: engine.pid not in {None, first})
        assert "sent nothing" in engine.last_failure
    finally:
        await engine.stop()


async def until(condition: Any) -> None:
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.02)


def test_the_most_telling_line_of_a_log_is_the_cause(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("GGML_ASSERT(old) failed\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.write("llama_kv_cache: size = 3\nterminate called\n  what():  bad \x1b[2Jthing\nllama: bye\n")
    told = why_it_died(-6, log, start, None, "while loading the model")
    assert "SIGABRT" in told
    assert "while loading the model" in told
    assert "bad" in told
    assert "\x1b" not in told
    assert "old" not in told
    log.write_text(
        'Fatal Python error: Illegal instruction\n\nCurrent thread 0x1 (most recent call first):\n  File "/x/native.py", line 7 in decode\n'
    )
    assert "in decode (native.py line 7)" in why_it_died(-4, log, 0, None)
    # What was refused long before, and fixed, is no cause; what is said at the end is.
    log.write_text("llama_adapter_lora_init: error: no such adapter\n" + log.read_text())
    assert "in decode (native.py line 7)" in why_it_died(-4, log, 0, None)
    log.write_text("ggml.c:3: GGML_ASSERT(n > 0) failed\n" + log.read_text())
    assert "GGML_ASSERT(n > 0)" in why_it_died(-6, log, 0, None)
    assert "exit code 3" in why_it_died(3, tmp_path / "none", 0, None)
