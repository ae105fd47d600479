from __future__ import annotations

import json
import os
import random
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.approved_keys import approve
from llmops_tui.inference.client import ModelClient, StreamEnd
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.remote import RemoteHandle, check_url, find_key, open_remote, probe_remote
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobState
from llmops_tui.models.discovery import find_models
from llmops_tui.models.gguf import read_header
from llmops_tui.models.gguf_header import join_headers
from llmops_tui.models.names import check_name, derived_name, fit_name, name_of_file
from llmops_tui.models.quantize import check_quantization
from llmops_tui.models.registration import add_file
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.models.shards import loadable_name, shard_of, without_ending
from llmops_tui.models.support import knows_architecture
from llmops_tui.prompts.run_history import RunHistory
from llmops_tui.prompts.runs import PromptRunner, RunRequest
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.commands import Llmops
from tests.engine.engines import MODEL, Bench, questions, rewrite_gguf, write_adapter, write_mamba
from tests.engine.test_endpoint import HOURS, OPEN
from tests.engine.test_guard import free_port
from tests.waiting import wait_for

KEY = "a-remote-key-of-some-length"


def split(folder: Path) -> Path:
    """The sample model in several files, as llama.cpp names them; returns the first."""
    rewrite_gguf(MODEL, folder / "split.gguf", set(), split_max_tensors=20)
    return min(folder.glob("split-*.gguf"))


def test_a_model_in_several_files_is_one_model(catalog: Catalog, tmp_path: Path) -> None:
    first = split(tmp_path)
    registry = ModelRegistry(catalog)
    model = registry.add(first, "split")
    files = sorted(tmp_path.glob("split-*.gguf"))
    assert len(files) == model.header["shards"] > 1
    assert model.size_bytes == sum(f.stat().st_size for f in files)
    assert model.header["parameters"] == read_header(MODEL).parameter_count
    prompt = questions(1)[0]
    assert Bench(first).ask(prompt).text == Bench().ask(prompt).text
    raw = bytearray(files[-1].read_bytes())
    raw[-1] ^= 1
    files[-1].write_bytes(raw)
    assert registry.get("split").present
    with pytest.raises(InputRefusedError, match="not the file"):
        registry.verify("split")
    files[-1].unlink()
    assert not registry.get("split").present
    with pytest.raises(InputRefusedError, match="is one of 3 files"):
        registry.add(first, "other")


def finished(launcher: JobLauncher, job_id: str) -> Any:
    wait_for(lambda: launcher.store.get(job_id).state.final)
    return launcher.store.get(job_id)


@pytest.mark.slow
def test_a_model_is_quantized_as_a_job_and_answers(workspace: Workspace, tmp_path: Path) -> None:
    registry = ModelRegistry(Catalog(workspace))
    registry.add(MODEL, "base")
    launcher = JobLauncher(workspace)

    def start(kind: str, target: str) -> Any:
        arguments = {"name": "base", "kind": kind, "target": target, "again": True}
        job = launcher.start(
            kind="quantize", title="q", entry="llmops_tui.models.quantize:quantize", arguments=arguments
        )
        return finished(launcher, job.id)

    done = start("Q4_0", "base-small")
    assert done.state == JobState.DONE, done.cause
    made = registry.get("base-small")
    assert made.quantization == "Q4_0"
    assert made.size_bytes < registry.get("base").size_bytes
    assert Bench(made.path).ask(questions(1)[0]).result["completion_tokens"] > 1
    again = start("Q4_0", "base-small")
    assert again.state == JobState.FAILED
    assert "already exists" in again.cause
    assert list(workspace.models.glob("*.part")) == []
    edges = Catalog(workspace).read(lambda connection: connection.execute("SELECT * FROM lineage").fetchall())
    assert any(made.sha256 in row and registry.get("base").sha256 in row for row in edges)


def test_what_would_be_regretted_is_refused_before_a_job_starts(workspace: Workspace, tmp_path: Path) -> None:
    registry = ModelRegistry(Catalog(workspace))
    model = registry.add(MODEL, "base")
    with pytest.raises(InputRefusedError, match="is already Q8_0"):
        check_quantization(model, "Q4_K_M", workspace.models, again=False)
    with pytest.raises(InputRefusedError, match="not a quantization type"):
        check_quantization(model, "Q9", workspace.models, again=True)
    check_quantization(model, "Q4_K_M", workspace.models, again=True)


@pytest.mark.parametrize(
    ("name", "number", "names"),
    [
        ("d/m-00002-of-00003.gguf", 2, [f"d/m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]),
        ("M-00001-of-00001.GGUF", 1, ["M-00001-of-00001.GGUF"]),
        ("two\nlines-00001-of-00002.gguf", 1, ["two\nlines-00001-of-00002.gguf", "two\nlines-00002-of-00002.gguf"]),
    ],
)
def test_a_part_of_a_model_names_the_others(name: str, number: int, names: list[str]) -> None:
    shard = shard_of(name)
    assert shard is not None
    assert (shard.number, shard.name, shard.all()) == (number, name, names)
    assert loadable_name(name) == name.replace(".GGUF", ".gguf")
    assert without_ending(name) == name[: name.rindex("-0000", 0, -15)]


@pytest.mark.parametrize(
    "name", ["m.gguf", "m-00003-of-00002.gguf", "m-00000-of-00002.gguf", "m-1-of-2.gguf", "m-00001-of-09999.gguf"]
)
def test_other_names_are_of_one_file(name: str) -> None:
    assert shard_of(name) is None
    assert loadable_name(name) == name


def test_a_name_is_made_of_a_files() -> None:
    made = {
        "modèle Ü.gguf": "modele-U",
        "d/M-00001-of-00002.GGUF": "M",
        "x.GGUF": "x",
        "plain": "plain",
        "--.gguf": "model",
    }
    assert {path: name_of_file(path) for path in made} == made


def test_models_of_other_programs_are_found_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    hub = tmp_path / ".cache/huggingface/hub/models--org--tiny"
    blob = hub / "blobs" / "abc"
    link = hub / "snapshots" / "rev" / "tiny-Q4_K_M.gguf"
    blob.parent.mkdir(parents=True)
    link.parent.mkdir(parents=True)
    blob.write_bytes(b"GGUF" + bytes(60))
    link.symlink_to(blob)
    (link.parent / "broken.gguf").symlink_to(hub / "nothing")
    (link.parent / "notes.gguf").write_bytes(b"text")
    for number in (1, 2):
        (link.parent / f"big-0000{number}-of-00002.gguf").write_bytes(b"GGUF" + bytes(60))
    ollama = tmp_path / ".ollama/models"
    digest = "a" * 64
    manifest = ollama / "manifests/registry.ollama.ai/library/llama3/8b"
    manifest.parent.mkdir(parents=True)
    (ollama / "blobs").mkdir()
    (ollama / f"blobs/sha256-{digest}").write_bytes(b"GGUF" + bytes(60))
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}
    manifest.write_text(json.dumps({"layers": [layer]}))
    manifest.with_name("evil").write_text(json.dumps({"layers": [layer | {"digest": "sha256:../../../etc/passwd"}]}))
    manifest.with_name("broken").write_text("{")
    studio = tmp_path / ".lmstudio/models/org/x/x.gguf"
    studio.parent.mkdir(parents=True)
    studio.write_bytes(b"GGUF" + bytes(60))
    for number in (1, 2):
        (studio.parent / f"Loud-0000{number}-of-00002.GGUF").write_bytes(b"GGUF" + bytes(60))
    found = {(f.source, f.name) for f in find_models(tmp_path)}
    assert found == {
        ("Hugging Face", "tiny-Q4_K_M"),
        ("Hugging Face", "big"),
        ("Ollama", "llama3-8b"),
        ("LM Studio", "x"),
        ("LM Studio", "Loud"),
    }
    assert find_models(tmp_path / "nowhere") == []


@pytest.mark.parametrize("keys", [{"general.type": "imatrix"}, {"imatrix.chunk_count": "1"}])
def test_an_importance_matrix_is_no_model_and_is_not_offered(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, str]
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nowhere"))
    folder = tmp_path / ".lmstudio/models/org"
    folder.mkdir(parents=True)
    path = folder / "some.gguf"
    path.write_bytes(header_of(keys))
    with pytest.raises(InputRefusedError, match=r"some\.gguf is an importance matrix") as caught:
        ModelRegistry(catalog).add(path, "x")
    assert caught.value.code == "not_a_model"
    assert find_models(tmp_path) == []


def header_of(texts: dict[str, str]) -> bytes:
    """A GGUF header without tensors, and with texts as its only metadata."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = [text(key) + struct.pack("<I", 8) + text(value) for key, value in texts.items()]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs)


def test_what_llama_cpp_will_not_load_is_told_when_it_is_added(catalog: Catalog, tmp_path: Path) -> None:
    registry = ModelRegistry(catalog)
    names = ["llama", "qwen3", "gemma3", "gpt-oss", "llamaX"]
    assert [knows_architecture(name) for name in names] == [True, True, True, True, False]
    sound = add_file(registry, MODEL, "sound")
    assert sound.notes == ()
    new = add_file(registry, write_header(tmp_path / "new.gguf", "imaginary9", "model"), "new")
    assert "does not know the architecture 'imaginary9'" in new.notes[0]
    bare = add_file(registry, write_header(tmp_path / "bare.gguf", "llama", "model"), "bare")
    assert [what in " ".join(bare.notes) for what in ("no context length", "no tokens", "know")] == [True, True, False]
    adapter = add_file(registry, write_header(tmp_path / "a.gguf", "llama", "adapter"), "a")
    assert adapter.notes == ()
    old = tmp_path / "old.gguf"
    old.write_bytes(header_of({"general.architecture": "llama", "adapter.type": "lora"}))
    assert add_file(registry, old, "old").model.kind == "adapter"


def test_what_is_no_file_is_refused_without_opening_it(catalog: Catalog, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    folder = tmp_path / "folder"
    folder.mkdir()
    for path, told in (
        (pipe, "is a pipe, not a file"),
        (Path("/dev/zero"), "is a device, not a file"),
        (folder, "is a folder without config.json"),
        (tmp_path / ("x" * 300), "cannot read"),
        (Path("~no-such-user-here/x.gguf"), "cannot read"),
    ):
        with pytest.raises(InputRefusedError, match=told):
            ModelRegistry(catalog).add(path, "x")
    # Nor where it is a part of something.
    (folder / "config.json").write_text("{}")
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(InputRefusedError, match="is a pipe"):
        ModelRegistry(catalog).add(folder, "x")


def test_the_same_bytes_elsewhere_move_a_model_only_where_that_is_said(catalog: Catalog, tmp_path: Path) -> None:
    registry = ModelRegistry(catalog)
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    for path in (first, second):
        path.write_bytes(MODEL.read_bytes())
    assert add_file(registry, first, "m").notes == ()
    assert add_file(registry, first, "m").notes == ()
    kept = add_file(registry, second, "m")
    assert kept.model.path == registry.get("m").path == first
    assert "stays at" in kept.notes[0]
    moved = add_file(registry, second, "m", move=True)
    assert moved.model.path == registry.get("m").path == second
    assert str(first) in moved.notes[0]
    second.unlink()
    found = add_file(registry, first, "m")
    assert registry.get("m").path == first
    assert "was registered at" in found.notes[0]


def write_header(path: Path, architecture: str, kind: str) -> Path:
    """A GGUF file that says no more than what it is."""
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(("architecture", "kind"), [("clip", "mmproj"), ("clip", "model"), ("qwen3vl", "mmproj")])
def test_a_projector_is_no_model_and_is_not_offered(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, kind: str
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nowhere"))
    folder = tmp_path / ".lmstudio/models/org"
    folder.mkdir(parents=True)
    path = write_header(folder / "mmproj-x.gguf", architecture, kind)
    write_header(folder / "x.gguf", "qwen3vl", "model")
    with pytest.raises(InputRefusedError, match=r"mmproj-x\.gguf is a projector"):
        ModelRegistry(catalog).add(path, "x")
    assert [f.name for f in find_models(tmp_path)] == ["x"]


def test_a_later_file_of_several_names_the_first(catalog: Catalog, tmp_path: Path) -> None:
    first = split(tmp_path)
    second = sorted(tmp_path.glob("split-*.gguf"))[1]
    with pytest.raises(InputRefusedError, match="is file 2 of the") as caught:
        ModelRegistry(catalog).add(second, "split")
    assert str(first) in caught.value.hint


def test_what_a_model_in_several_files_needs_is_that_of_all(tmp_path: Path) -> None:
    from llmops_tui.models.engine_settings import EngineSettings
    from llmops_tui.models.memory import estimate

    split(tmp_path)
    whole = read_header(MODEL)
    joined = join_headers([read_header(p) for p in sorted(tmp_path.glob("split-*.gguf"))])
    for on in ((), (3,), (6,)):
        assert estimate(joined, EngineSettings(), on) == estimate(whole, EngineSettings(), on)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("my model:q4", "my-model-q4"), ("Modèle été", "Modele-ete"), ("模型", "model"), ("..x..", "x"), ("a" * 300, "a" * 100),
        ("llama3:8b-instruct", "llama3-8b-instruct"), ("a+b/c", "a-b-c"), ("-", "model"), ("Größe_1", "Gro-e_1"),
        ("ok-1.5_B", "ok-1.5_B"), ("\x1b[2Jx", "2Jx"),
    ],
)  # fmt: skip
def test_any_file_name_makes_a_name(text: str, name: str) -> None:
    assert fit_name(text) == name
    check_name(fit_name(text))
    check_name(derived_name(fit_name(text), "Q4_K_M"))


@pytest.mark.slow
def test_files_and_folders_of_any_name_are_registered_quantized_and_answer(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "my models: été 模型"
    folder.mkdir()
    path = folder / "my model:q8 (1).gguf"
    path.symlink_to(MODEL)
    copied = folder / "copy: b.gguf"
    copied.write_bytes(MODEL.read_bytes())
    line = Llmops(workspace)
    assert line.run("model", "add", str(copied))["model"] == "copy-b"
    assert line.run("model", "quantize", "copy-b", "--type", "Q4_0", "--again")["model"] == "copy-b-Q4_0"
    assert line.run("model", "verify", "copy-b")["intact"]
    prompt = questions(1)[0]
    assert Bench(copied).ask(prompt).text == Bench().ask(prompt).text
    adapter = write_adapter(folder / "my tone: é.gguf", seed=1)
    assert line.run("model", "add", str(adapter))["model"] == "my-tone-e"
    text = line.run("generate", "--model", "copy-b+my-tone-e", "--prompt", "Hello", "--max-tokens", "4")
    assert text["finish_reason"] in {"stop", "length"}
    with pytest.raises(InputRefusedError, match="not valid text"):
        ModelRegistry(Catalog(workspace)).add(folder / os.fsdecode(b"\xff.gguf"), "x")
    bad = os.fsencode(folder) + b"/\xff.gguf"
    Path(os.fsdecode(bad)).write_bytes(MODEL.read_bytes())
    assert line.run("model", "add", os.fsdecode(bad), code=3)


@pytest.mark.parametrize(
    "url", ["ftp://x", "http://", "localhost:8080", "https://user:secret@x/v1", "https://x/v1?key=secret"]
)
def test_addresses_that_are_none_or_carry_a_secret_are_refused(url: str) -> None:
    with pytest.raises(InputRefusedError):
        check_url(url)


@pytest.fixture
def remote(sample: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Workspace, str]]:
    """A second workspace that knows the sample model of the first as somebody else's address."""
    port = free_port()
    model = ModelRegistry(Catalog(sample)).get("support-base")
    ServerSupervisor(sample).ensure(model, LoadOptions(threads=1, host="127.0.0.1", port=port, keys=(KEY,)))
    other = make_workspace(Workspace(tmp_path / "other"))
    monkeypatch.setenv("LLMOPS_KEY_AWAY", KEY)
    return other, f"http://127.0.0.1:{port}"


@pytest.mark.slow
async def test_another_engine_is_a_model_like_any_other(remote: tuple[Workspace, str]) -> None:
    workspace, url = remote
    facts = probe_remote(url, KEY)
    assert facts["remote_model"] == "support-base"
    assert facts["lacks"].keys() == {"load_adapters"}
    catalog, event_log = Catalog(workspace), EventLog(workspace)
    registry = ModelRegistry(catalog)
    model = registry.add_remote(check_url(f"{url}/v1/"), "away", facts)
    assert model.present
    assert KEY not in json.dumps(registry.get("away").as_dict())
    assert KEY.encode() not in workspace.catalog.read_bytes()
    approve("LLMOPS_KEY_AWAY", url)
    handle = open_endpoint(ServerSupervisor(workspace), registry.get("away"))
    assert isinstance(handle, RemoteHandle)
    async with ModelClient(handle) as client:
        told = [e async for e in client.stream_chat(OPEN, SamplingParameters())]
        assert "".join(e for e in told if isinstance(e, str)) == HOURS
        assert isinstance(told[-1], StreamEnd)
        assert told[-1].timings["completion_tokens"] == 12
        with pytest.raises(LlmopsError, match="returns no separate tokens"):
            await client.tokenize(content="x")
    renderer = TemplateRenderer()
    runner = PromptRunner(catalog, event_log, renderer)
    request = RunRequest("hours", "", "When are you open?", {}, SamplingParameters())
    ended = [p async for p in runner.run(request, registry.get("away"))][-1]
    renderer.close()
    kept = RunHistory(catalog, event_log).get(ended.run_id)
    assert (kept.output, kept.model, kept.finish_reason) == (HOURS, "away", "stop")
    assert kept.ttft_ms is not None


@pytest.mark.slow
def test_what_an_endpoint_refuses_or_lacks_is_said(
    remote: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, url = remote
    with pytest.raises(LlmopsError, match="refused the key"):
        probe_remote(url, "wrong")
    with pytest.raises(InputRefusedError, match="does not serve 'gpt'"):
        probe_remote(url, KEY, "gpt")
    with pytest.raises(LlmopsError, match="Connection refused"):
        probe_remote(f"http://127.0.0.1:{free_port()}", KEY)
    registry = ModelRegistry(Catalog(workspace))
    facts = {"remote_model": "m", "lacks": {"logprobs": "none"}}
    far = registry.add_remote("http://far.example", "away", facts)
    approve("LLMOPS_KEY_AWAY", "http://far.example")
    with pytest.raises(InputRefusedError, match="unencrypted"):
        open_remote(workspace, far)
    monkeypatch.delenv("LLMOPS_KEY_AWAY")
    assert find_key(far) == ""
    assert open_remote(workspace, far).key == ""


# Loads or refuses a file in a process of its own; exit code 3 is a refusal.
LOADER = """
import sys
from pathlib import Path
from llmops_tui.errors import LlmopsError
from llmops_tui.models.gguf import read_header
try:
    read_header(Path(sys.argv[1]))
    from tests.engine.engines import Bench
    print(len(Bench(Path(sys.argv[1]), context=64, parallel=1).ask([300, 301], parameters={"max_tokens": 2}).text))
except LlmopsError:
    sys.exit(3)
"""


def mutate(raw: bytes, rng: random.Random) -> bytes:
    changed = bytearray(raw)
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(changed[: rng.randrange(len(changed))])
    if kind == 1:
        at = rng.randrange(4, 40_000)
        changed[at : at + 8] = rng.choice([b"\xff" * 8, (2**63).to_bytes(8, "little"), bytes(8)])
    for _ in range(rng.randrange(1, 12)):
        changed[rng.randrange(200 if kind == 2 else len(changed))] = rng.randrange(256)
    return bytes(changed)


@pytest.mark.slow
def test_two_hundred_mutated_files_are_refused_or_loaded_in_a_process_of_their_own(tmp_path: Path) -> None:
    """Whatever native code makes of a file, it happens to a worker: it answers, refuses, or dies alone."""
    import sys

    rng = random.Random(8)
    raw = MODEL.read_bytes()
    counts = {"refused": 0, "loaded": 0, "died": 0}
    for number in range(200):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(mutate(raw, rng))
        done = subprocess.run(
            [sys.executable, "-c", LOADER, str(path)],
            capture_output=True,
            timeout=120,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        path.unlink()
        counts["refused" if done.returncode == 3 else "loaded" if done.returncode == 0 else "died"] += 1
    assert counts["refused"] + counts["loaded"] + counts["died"] == 200
    assert counts["refused"] > 50
    # A native crash is answered by the server as any other death of its engine; it must stay rare.
    assert counts["died"] <= 10, counts


def test_an_architecture_without_attention_needs_no_cache(tmp_path: Path) -> None:
    from llmops_tui.models.engine_settings import EngineSettings
    from llmops_tui.models.memory import estimate

    assert estimate(read_header(write_mamba(tmp_path / "mamba.gguf")), EngineSettings()).kv_cache == 0
