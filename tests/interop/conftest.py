"""What the clients talk to: the sample model behind a real address, and tiny random models beside transformers."""

from __future__ import annotations

import functools
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.tasks.records import TaskArguments
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.sample_files import sample_folder
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import rewrite_gguf

KEY = "interop-key-0123456789"
TOKENIZER = sample_folder() / "models" / "support-base"


@dataclass(frozen=True)
class Served:
    """A model behind an address."""

    url: str
    model: str
    key: str = KEY


Report = Callable[[str], None]


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Tells a figure in the test run's own output, captured or not."""
    capture = request.config.pluginmanager.get_plugin("capturemanager")

    def tell(text: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"\n{text}\n")

    return tell


@functools.cache
def listed() -> Any:
    """The harness's list of its tasks."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


@pytest.fixture(scope="module")
def listed_once() -> Iterator[None]:
    """The harness's list of its tasks made once in this process: it reads fourteen thousand files, each time in ten seconds."""
    import lm_eval.evaluator

    made = listed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm_eval.tasks.TaskManager", lambda: made)
        # What is installed on this machine decides no figure, and asking for it starts a dozen programs.
        patch.setattr(lm_eval.evaluator, "add_env_info", lambda storage: None)
        yield


@dataclass(frozen=True)
class InThisProcess:
    """What a job is given, for one that runs here: the harness is loaded already."""

    workspace: Workspace
    folder: Path

    def report(self, share: float, message: str = "") -> None:
        """Nobody looks."""
        assert 0 <= share <= 1, message

    def check(self) -> None:
        """Nobody cancels."""


def arguments_for(
    task: str, files: dict[str, str], fewshot: int, model: str, limit: int | None = None
) -> TaskArguments:
    """A task of the harness as the job takes it."""
    return {
        "harness": "lm-eval", "task": task, "model": model, "files": files, "limit": limit, "fewshot": fewshot, "chat": False,
        "fresh": False, "program": "",
    }  # fmt: skip


def run_here(workspace: Workspace, arguments: TaskArguments) -> EvalRun:
    """The job of a task in this process, in a folder of its own; the run that it keeps."""
    from llmops_tui.evaluation.tasks.job import run

    folder = workspace.runs / new_id("job")
    folder.mkdir(parents=True)
    found = run(cast("JobContext", InThisProcess(workspace, folder)), arguments)
    return EvaluationStore(workspace).get(found["runs"][0]["run"])


@contextmanager
def serve(workspace: Workspace, name: str, **options: Any) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    given = {"threads": 1, "parallel": 4, "host": "127.0.0.1", "port": port, "keys": (KEY,)} | options
    supervisor = ServerSupervisor(workspace)
    supervisor.ensure(ModelRegistry(Catalog(workspace)).get(name), LoadOptions(**given))
    yield Served(f"http://127.0.0.1:{port}", name)
    supervisor.stop(name)


@pytest.fixture(scope="module")
def sample_served(tmp_path_factory: pytest.TempPathFactory, filled_once: Path) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("interop") / "ws"
    shutil.copytree(filled_once, root)
    with serve(Workspace(root), "support-base") as served:
        yield served


@dataclass(frozen=True)
class Twin:
    """One model twice: as transformers loads it, and as an F32 GGUF file."""

    folder: Path
    gguf: Path
    bos: bool


def make_twin(folder: Path, *, bos: bool, seed: int = 0) -> Twin:
    """A tiny random llama with the sample's tokenizer; with ``bos``, one that begins every text with a token."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
    from make_sample_model import write_gguf

    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.1,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=0,
    )
    model = LlamaForCausalLM(config).float().eval()
    made = folder / "model"
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    path = folder / "model-F32.gguf"
    write_gguf(model, tokenizer, path)
    if bos:
        path = with_bos(path, folder / "model-bos-F32.gguf")
    return Twin(made, path, bos)


def with_bos(source: Path, target: Path) -> Path:
    """The same file, saying that token 0 begins every text."""

    def change(writer: Any) -> None:
        writer.add_bos_token_id(0)
        writer.add_add_bos_token(True)

    return rewrite_gguf(source, target, {"tokenizer.ggml.add_bos_token"}, change)
