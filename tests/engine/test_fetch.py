from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobState
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models import fetch, files, hub, staged_download
from llmops_tui.models.registry import ModelRegistry, shards_of
from llmops_tui.models.remote_file import RemoteFile
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksum_scope import NOTE
from llmops_tui.workspace.layout import Workspace
from tests import commands
from tests.commands import Llmops
from tests.engine.test_models import split, write_header
from tests.hub import COMMIT, FakeHub, Repo
from tests.waiting import wait_for

NAME = "maker/small-GGUF"


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, model_file: Path) -> Iterator[FakeHub]:
    """A hub with one repository, which the environment names as the hub to ask."""
    made = FakeHub()
    data = model_file.read_bytes()
    made.repos[NAME] = Repo(
        {
            "small-Q4_K_M.gguf": data,
            "small-Q8_0.gguf": data + b"\0" * 1000,
            "mmproj-small-f16.gguf": data,
            "big/small-F16-00001-of-00002.gguf": data,
            "big/small-F16-00002-of-00002.gguf": data,
            "README.md": b"# card",
        }
    )
    for name in ("HF_TOKEN", "HF_HOME", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    yield made
    made.close()


def llmops(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.llmops(*arguments, workspace=workspace)


def no_leftovers(workspace: Workspace) -> bool:
    return not list(staged_download.unfinished(workspace))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smollm2-135m", fetch.Request("known", "smollm2-135m")),
        ("hf:a/b", fetch.Request("hub", "a/b")),
        ("hf:a/b:Q4_K_M", fetch.Request("hub", "a/b", "", "Q4_K_M")),
        ("hf:a/b@v1:q8_0", fetch.Request("hub", "a/b", "v1", "q8_0")),
        ("https://x/y/m.gguf?d=1", fetch.Request("url", "https://x/y/m.gguf?d=1")),
    ],
)
def test_what_is_asked_for_is_understood(text: str, expected: fetch.Request) -> None:
    assert fetch.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["unheard-of", "maker/small", "https://x/page", "ftp://x/m.gguf", "hf:", "hf:a/b@", ""]
)
def test_what_is_not_understood_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        fetch.parse(text)
    assert caught.value.hint or caught.value.code == "bad_url"


def test_a_repository_says_what_it_offers(there: FakeHub) -> None:
    found = hub.look_at(NAME)
    assert [(o.path, o.quantization, len(o.files)) for o in found.offers] == [
        ("big/small-F16-00001-of-00002.gguf", "F16", 2),
        ("small-Q4_K_M.gguf", "Q4_K_M", 1),
        ("small-Q8_0.gguf", "Q8_0", 1),
    ]
    assert (found.licence, found.revision, found.gated) == ("apache-2.0", COMMIT, False)
    assert list(found.left_out) == ["mmproj-small-f16.gguf"]
    data = there.repos[NAME].files["small-Q4_K_M.gguf"]
    (file,) = found.offers[1].files
    assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    # Nothing else is asked of a hub than what was asked for.
    assert {path for path, _, _ in there.asked} == {f"/api/models/{NAME}"}


def test_the_one_that_was_meant_is_chosen(there: FakeHub) -> None:
    found = hub.look_at(NAME)
    assert hub.matching(found) == list(found.offers)
    assert [o.path for o in hub.matching(found, "q8_0")] == ["small-Q8_0.gguf"]
    assert [o.size for o in hub.matching(found, path="small-F16-00001-of-00002.gguf")] == [2 * found.offers[1].size]
    for arguments, code in ((("Q2_K",), "not_offered"), (("", "mmproj-small-f16.gguf"), "no_model")):
        with pytest.raises(InputRefusedError) as caught:
            hub.matching(found, *arguments)
        assert caught.value.code == code
    assert hub.sensible(found.offers, lambda _size: True).quantization == "Q4_K_M"
    assert hub.sensible(found.offers, lambda _size: False) == min(found.offers, key=lambda o: o.size)


def test_shards_that_are_missing_are_told(there: FakeHub) -> None:
    del there.repos[NAME].files["big/small-F16-00002-of-00002.gguf"]
    assert "1 of its 2 files" in hub.look_at(NAME).left_out["big/small-F16-00001-of-00002.gguf"]


@pytest.mark.parametrize(
    ("name", "revision", "code"),
    [("maker/none", None, "no_repository"), (NAME, "v9", "no_revision"), ("a/b/c", None, "bad_repository")],
)
def test_what_a_hub_has_not_is_told(there: FakeHub, name: str, revision: str | None, code: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        hub.look_at(name, revision)
    assert caught.value.code == code


def test_a_repository_without_gguf_says_what_it_has(there: FakeHub) -> None:
    there.repos["a/b"] = Repo({"model.safetensors": b"x" * 10})
    with pytest.raises(InputRefusedError) as caught:
        hub.look_at("a/b")
    assert caught.value.code == "no_gguf_there"
    assert ".safetensors" in caught.value.message


def test_a_hub_that_is_away_or_none_is_told(there: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    there.redirects[f"/api/models/{NAME}"] = "/page"
    there.files["/page"] = b"<html>sign in"
    with pytest.raises(LlmopsError) as caught:
        hub.look_at(NAME)
    assert caught.value.code == "no_hub"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(LlmopsError) as caught:
        hub.look_at(NAME)
    assert caught.value.code == "hub_unreachable"


def test_a_token_goes_to_its_hub_alone_and_is_never_shown(
    there: FakeHub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.token = "hf_sesame"
    there.cdn = f"http://localhost:{there.port}"
    with pytest.raises(InputRefusedError) as caught:
        hub.look_at(NAME)
    assert "HF_TOKEN" in caught.value.hint
    monkeypatch.setenv("HF_TOKEN", "hf_sesame")
    done = llmops(workspace, "model", "get", f"hf:{NAME}:Q4_K_M", "--yes")
    assert done.returncode == 0, done.stderr
    assert {token for path, _, token in there.asked[1:] if not path.startswith("/cdn/")} == {"Bearer hf_sesame"}
    assert {token for path, _, token in there.asked if path.startswith("/cdn/")} == {""}
    assert "sesame" not in done.stdout + done.stderr
    kept = [p for p in workspace.root.rglob("*") if p.is_file()]
    assert not [p for p in kept if b"sesame" in p.read_bytes() or b"signature=secret" in p.read_bytes()]
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example")
    assert hub.token_for("http://mirror.example/a") == "" == hub.token_for("https://huggingface.co/a")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    assert hub.token_for("https://mirror.example/a") == "hf_sesame"


def test_a_model_of_a_repository_is_fetched_checked_and_registered_with_its_origin(
    there: FakeHub, workspace: Workspace
) -> None:
    made = Llmops(workspace).run("model", "get", f"hf:{NAME}:Q4_K_M", "--yes", "--name", "mine")
    data = there.repos[NAME].files["small-Q4_K_M.gguf"]
    assert made["sha256"] == hashlib.sha256(data).hexdigest()
    shown = Llmops(workspace).run("model", "show", "mine")
    assert (shown["source"], shown["revision"], shown["source_file"]) == (f"hf:{NAME}", COMMIT, "small-Q4_K_M.gguf")
    path = Path(shown["path"])
    assert path == workspace.models / "mine" / "small-Q4_K_M.gguf"
    assert path.stat().st_mode & 0o077 == 0 == path.parent.stat().st_mode & 0o077
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert no_leftovers(workspace)
    # Asked again, nothing is fetched; another one does not get the name.
    sent = there.bytes_sent()
    assert (
        Llmops(workspace).run("model", "get", f"hf:{NAME}:Q4_K_M", "--yes", "--name", "mine")["sha256"]
        == made["sha256"]
    )
    assert there.bytes_sent() == sent
    taken = Llmops(workspace).run("model", "get", f"hf:{NAME}:Q8_0", "--yes", "--name", "mine", code=3)
    assert taken["error"]["code"] == "name_taken"


def test_all_files_of_a_split_model_come(there: FakeHub, workspace: Workspace) -> None:
    parts = shards_of(split(workspace.root.parent))
    there.repos[NAME].files = {f"d/{p.name}": p.read_bytes() for p in parts}
    made = Llmops(workspace).run("model", "get", f"hf:{NAME}", "--yes", "--name", "split")
    assert made["shards"] == len(parts) > 1
    assert sorted(made["files"]) == [p.name for p in parts]
    # The same by the address of the first.
    for path in parts:
        there.files[f"/x/{path.name}"] = path.read_bytes()
    made = Llmops(workspace).run("model", "get", f"{there.url}/x/{parts[0].name}", "--yes", "--name", "again")
    assert made["shards"] == len(parts) > 1
    assert no_leftovers(workspace)


def test_nothing_is_fetched_unasked(there: FakeHub, workspace: Workspace) -> None:
    for arguments in ((f"hf:{NAME}",), (f"hf:{NAME}:Q4_K_M",), (f"{there.url}/{NAME}/resolve/main/small-Q8_0.gguf",)):
        done = llmops(workspace, "model", "get", *arguments)
        assert done.returncode == 2, done.stderr
        assert "--yes" in done.stderr
        if arguments[0].startswith("hf:"):
            for told in ("small-Q4_K_M.gguf", "MB", "weights alone", "apache-2.0", "left out: mmproj-small-f16.gguf"):
                assert told in done.stderr
    assert there.bytes_sent() <= 4
    assert JobLauncher(workspace).store.all() == []


def test_options_that_do_not_fit_are_refused(there: FakeHub, workspace: Workspace) -> None:
    for arguments in (("smollm2-135m", "--file", "x"), (f"hf:{NAME}", "--sha256", "0" * 64)):
        assert llmops(workspace, "model", "get", *arguments, "--yes").returncode == 2
    assert there.asked == []


@pytest.mark.slow
def test_an_address_has_nobody_to_vouch_for_it_but_the_user(
    there: FakeHub, workspace: Workspace, model_file: Path
) -> None:
    there.files["/a b/some model.gguf"] = model_file.read_bytes()
    url = f"{there.url}/a%20b/some%20model.gguf"
    digest = hashlib.sha256(model_file.read_bytes()).hexdigest()
    done = llmops(workspace, "model", "get", f"{url}?key=secret", "--yes")
    assert done.returncode == 0, done.stderr
    assert "no known checksum" in done.stderr
    assert f"sha256 {digest}" in done.stdout
    assert ModelRegistry(Catalog(workspace)).get("some-model").header["source"] == url
    wrong = Llmops(workspace).run("model", "get", url, "--yes", "--name", "b", "--sha256", "0" * 64, code=1)
    assert "SHA-256" in wrong["error"]["message"]
    held = Llmops(workspace).run("model", "get", url, "--yes", "--name", "c", "--sha256", digest.upper())
    assert held["sha256"] == digest
    assert Llmops(workspace).run("model", "get", url, "--yes", "--sha256", "12", code=3)["error"]["code"] == "bad_hash"


def test_a_wrong_hash_and_a_damaged_file_never_become_a_model(there: FakeHub, workspace: Workspace) -> None:
    repo = there.repos[NAME]
    repo.told["small-Q8_0.gguf"] = "0" * 64
    repo.files["small-Q4_K_M.gguf"] = repo.files["small-Q4_K_M.gguf"][:2000]
    for kind in ("Q8_0", "Q4_K_M"):
        error = Llmops(workspace).run("model", "get", f"hf:{NAME}:{kind}", "--yes", code=1)["error"]
        assert error["code"] == "job_failed"
    assert ModelRegistry(Catalog(workspace)).all() == []
    assert list(workspace.models.iterdir()) == []


def test_a_kill_in_the_middle_loses_nothing_that_came(there: FakeHub, workspace: Workspace) -> None:
    data = there.repos[NAME].files["small-Q4_K_M.gguf"]
    there.hold_after = len(data) // 2 // 16_384 * 16_384
    started = Llmops(workspace).run("model", "get", f"hf:{NAME}:Q4_K_M", "--yes", "--detach")
    (staging,) = _wait_for_staging(workspace)
    part = staging / "small-Q4_K_M.gguf.part"
    wait_for(lambda: part.exists() and part.stat().st_size >= there.hold_after)  # type: ignore[operator]
    store = JobLauncher(workspace).store
    supervisor = store.get(started["job"]).process
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_for(lambda: store.get(started["job"]).state == JobState.LOST)
    wait_for(lambda: _unlocked(staging))
    assert ModelRegistry(Catalog(workspace)).all() == []
    assert not list(workspace.models.glob("*.gguf"))
    kept = part.stat().st_size
    there.released.set()
    made = Llmops(workspace).run("model", "get", f"hf:{NAME}:Q4_K_M", "--yes")
    assert made["sha256"] == hashlib.sha256(data).hexdigest()
    assert [(s, n) for path, s, n in there.sent if "resolve" in path][-1] == (kept, len(data) - kept)
    assert no_leftovers(workspace)


def _wait_for_staging(workspace: Workspace) -> list[Path]:
    wait_for(lambda: not no_leftovers(workspace))
    return list(staged_download.unfinished(workspace))


def _unlocked(staging: Path) -> bool:
    from llmops_tui.workspace.locks import try_lock

    descriptor = try_lock(staging / "lock")
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


@pytest.mark.slow
def test_a_command_whose_job_outlived_the_one_before_follows_it(there: FakeHub, workspace: Workspace) -> None:
    data = there.repos[NAME].files["small-Q4_K_M.gguf"]
    there.hold_after = 1_000_000 // 16_384 * 16_384
    command = [
        sys.executable,
        "-m",
        "llmops_tui",
        "--workspace",
        str(workspace.root),
        "--json",
        "model",
        "get",
        f"hf:{NAME}:Q4_K_M",
    ]
    first = subprocess.Popen([*command, "--yes"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(there.held.is_set)
    first.kill()
    first.wait(120)
    (job,) = JobLauncher(workspace).store.all()
    assert Llmops(workspace).run("model", "get", f"hf:{NAME}:Q4_K_M", "--detach")["job"] == job.id
    # Nobody is asked again, and nothing is fetched twice.
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as again:
        assert again.stderr is not None
        assert any(f"{job.id} is already downloading it" in line for line in again.stderr)
        there.released.set()
        out = again.communicate(timeout=120)[0]
    assert again.returncode == 0
    assert json.loads(out)["sha256"] == hashlib.sha256(data).hexdigest()
    assert [j.id for j in JobLauncher(workspace).store.all()] == [job.id]
    assert sum(sent for path, _, sent in there.sent if "resolve" in path) == len(data)
    assert no_leftovers(workspace)


def test_a_file_that_is_no_model_leaves_nothing_behind(there: FakeHub, workspace: Workspace, tmp_path: Path) -> None:
    there.files["/x/proj.gguf"] = write_header(tmp_path / "p.gguf", "clip", "mmproj").read_bytes()
    error = Llmops(workspace).run("model", "get", f"{there.url}/x/proj.gguf", "--yes", code=1)["error"]
    assert "is a projector" in error["message"]
    assert ".." not in error["message"]
    assert list(workspace.models.iterdir()) == []


@pytest.mark.slow
def test_an_interrupt_cancels_keeps_what_came_and_exits_with_130(there: FakeHub, workspace: Workspace) -> None:
    data = there.repos[NAME].files["small-Q4_K_M.gguf"]
    there.hold_after = 1_000_000 // 16_384 * 16_384
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "llmops_tui",
            "--workspace",
            str(workspace.root),
            "model",
            "get",
            f"hf:{NAME}:Q4_K_M",
            "--yes",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(there.held.is_set)
    (staging,) = _wait_for_staging(workspace)
    # A second one does not write into the same file.
    error = Llmops(workspace).run("model", "get", f"hf:{NAME}:Q4_K_M", "--yes", "--name", "other", code=3)["error"]
    assert error["code"] == "being_fetched"
    assert "another job downloads this as 'small-Q4_K_M'" in error["message"]
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    process.communicate()
    store = JobLauncher(workspace).store
    there.released.set()
    wait_for(lambda: all(job.state.final for job in store.all()))
    assert {job.state for job in store.all()} >= {JobState.CANCELLED}
    kept = (staging / "small-Q4_K_M.gguf.part").stat().st_size
    there.sent.clear()
    (resumed,) = [job for job in store.all() if job.state == JobState.CANCELLED]
    job = JobLauncher(workspace).resume(resumed.id)
    wait_for(lambda: store.get(job.id).state.final)
    assert store.get(job.id).state == JobState.DONE, store.get(job.id).cause
    assert there.sent == [(there.sent[0][0], kept, len(data) - kept)]
    assert json.loads(json.dumps(store.get(job.id).result))["model"] == "small-Q4_K_M"


# Runs the job in a process of its own that is killed where the model would be put into the catalog.
_KILLED = """
import json, os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from llmops_tui.models import fetch
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.layout import Workspace
ModelRegistry.add = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
context = SimpleNamespace(workspace=Workspace(Path(sys.argv[1])), report=lambda *a: None)
fetch.get(context, **json.loads(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_kill_before_the_registration_loses_nothing(there: FakeHub, workspace: Workspace) -> None:
    from llmops_tui.maintenance.gc import plan as plan_gc
    from llmops_tui.settings import Settings

    planned = split_plan(there, workspace)
    arguments = fetch.job_arguments(workspace, planned)
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(workspace.root), json.dumps(arguments)], check=False)
    assert killed.returncode == -signal.SIGKILL
    folder = workspace.models / "split"
    assert folder.is_dir()
    assert ModelRegistry(Catalog(workspace)).all() == []
    # It may be gone on with for as long as any download.
    assert not [r for r in plan_gc(workspace, Settings(), now=time.time() + 86_400) if r.path == folder]
    assert [r for r in plan_gc(workspace, Settings(), now=time.time() + 40 * 86_400) if r.path == folder]
    sent = there.bytes_sent()
    made = work(workspace, planned)
    assert there.bytes_sent() == sent
    assert (made["model"], made["sha256"]) == ("split", planned.digest)
    there_now = [p.name for p in folder.iterdir() if not p.name.startswith(NOTE)]
    assert sorted(there_now) == [file.name for file in planned.files]
    assert no_leftovers(workspace)
    assert ModelRegistry(Catalog(workspace)).verify("split").sha256 == planned.digest


def test_what_was_hashed_as_it_came_is_not_hashed_again(
    there: FakeHub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    for module in (staged_download, files):
        monkeypatch.setattr(module, "sha256_file", lambda path, _progress=None: read.append(path.name))
    planned = plan_of(f"hf:{NAME}:Q4_K_M")
    made = work(workspace, planned)
    assert read == []
    assert made["sha256"] == hashlib.sha256(there.repos[NAME].files["small-Q4_K_M.gguf"]).hexdigest()


@pytest.mark.slow
def test_an_address_that_nothing_vouches_for_is_gone_on_with_where_the_server_says_it_is_the_same(
    there: FakeHub, workspace: Workspace, model_file: Path
) -> None:
    data = model_file.read_bytes()
    there.files["/m.gguf"] = data
    for etag, again in (('"one"', 4), (None, 4 + len(data))):
        there.etag = etag
        planned = plan_of(f"{there.url}/m.gguf", f"m{again}")
        arguments = json.dumps(fetch.job_arguments(workspace, planned))
        subprocess.run([sys.executable, "-c", _KILLED, str(workspace.root), arguments], check=False)
        assert (workspace.models / planned.name).is_dir()
        before = there.bytes_sent()
        planned = plan_of(f"{there.url}/m.gguf", planned.name)
        assert work(workspace, planned)["sha256"] == hashlib.sha256(data).hexdigest()
        assert there.bytes_sent() - before == again


def test_a_registered_model_whose_files_are_gone_comes_again(there: FakeHub, workspace: Workspace) -> None:
    planned = split_plan(there, workspace)
    made = work(workspace, planned)
    there_now = [workspace.models / "split" / file.name for file in planned.files]
    for gone in (there_now[-1:], there_now):
        for path in gone:
            path.unlink()
        assert fetch.already(ModelRegistry(Catalog(workspace)), planned) is None
        before = there.bytes_sent()
        assert work(workspace, planned)["sha256"] == made["sha256"]
        assert there.bytes_sent() - before == sum(file.size for file in planned.files[-len(gone) :])


def test_what_is_in_the_way_stays(there: FakeHub, workspace: Workspace) -> None:
    planned = plan_of(f"hf:{NAME}:Q4_K_M", "mine")
    folder = workspace.models / "mine"
    (file,) = planned.files
    for name, data in (("notes.txt", b"mine"), (file.name, b"GGUF" + bytes(file.size - 4)), (file.name, b"short")):
        folder.mkdir()
        (folder / name).write_bytes(data)
        with pytest.raises(InputRefusedError) as caught:
            work(workspace, planned)
        assert caught.value.code == "file_exists"
        assert name in caught.value.message
        assert (folder / name).read_bytes() == data
        (folder / name).unlink()
        folder.rmdir()
    assert there.bytes_sent() == 0
    assert no_leftovers(workspace)


def test_the_hash_alone_says_whether_a_registered_model_is_the_one(
    there: FakeHub, workspace: Workspace, model_file: Path
) -> None:
    there.files["/m.gguf"] = model_file.read_bytes()
    url = f"{there.url}/m.gguf"
    digest = work(workspace, plan_of(url))["sha256"]
    registry = ModelRegistry(Catalog(workspace))
    for plan in (plan_of(url), plan_of(url, sha256=digest.upper())):
        here = fetch.already(registry, plan)
        assert here is not None
        assert here.sha256 == digest
    with pytest.raises(InputRefusedError) as caught:
        fetch.already(registry, plan_of(url, sha256="0" * 64))
    assert caught.value.code == "name_taken"
    # The same bytes from another place are the same model.
    there.files["/mirror/m.gguf"] = model_file.read_bytes()
    assert fetch.already(registry, plan_of(f"{there.url}/mirror/m.gguf", sha256=digest)) is not None


def test_files_that_are_whole_stay_when_another_cannot_be_had(there: FakeHub, workspace: Workspace) -> None:
    planned = split_plan(there, workspace)
    path = f"d/{planned.files[-1].name}"
    data = there.repos[NAME].files.pop(path)
    with pytest.raises(LlmopsError) as caught:
        work(workspace, planned)
    assert caught.value.code == "not_there"
    there.repos[NAME].files[path] = data
    before = there.bytes_sent()
    work(workspace, planned)
    assert there.bytes_sent() - before == len(data)
    assert no_leftovers(workspace)


def test_what_may_be_a_secret_in_an_address_is_in_no_record(
    there: FakeHub, workspace: Workspace, model_file: Path
) -> None:
    data = model_file.read_bytes()
    there.files["/m.gguf"], there.key = data, "key=sesame"
    url = f"{there.url}/m.gguf"
    there.hold_after = 1_000_000 // 16_384 * 16_384
    launcher = JobLauncher(workspace)
    started = Llmops(workspace).run("model", "get", f"{url}?{there.key}", "--yes", "--detach")
    wait_for(there.held.is_set)
    holders = files_with(workspace, "sesame")
    assert [(p.name, p.stat().st_mode & 0o777) for p in holders] == [(".addresses.json", 0o600)]
    assert holders[0].parent in list(staged_download.unfinished(workspace))
    supervisor = launcher.store.get(started["job"]).process
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_for(lambda: launcher.store.get(started["job"]).state.final)
    wait_for(lambda: _unlocked(holders[0].parent))
    there.released.set()
    # Gone on with, it is asked for with its secret, which then goes.
    again = launcher.resume(started["job"])
    wait_for(lambda: launcher.store.get(again.id).state.final)
    assert launcher.store.get(again.id).state == JobState.DONE, launcher.store.get(again.id).cause
    assert files_with(workspace, "sesame") == []
    # It is here, and not fetched once more; where the secret is needed and gone that is said.
    with pytest.raises(InputRefusedError, match="nothing is left to resume"):
        launcher.resume(started["job"])
    planned = plan_of(f"{url}?{there.key}", "other")
    arguments = fetch.job_arguments(workspace, planned)
    (staged_download.staging_of(workspace, list(planned.files)) / ".addresses.json").unlink()
    with pytest.raises(InputRefusedError) as caught:
        fetch.get(quiet(workspace), **arguments)
    assert caught.value.code == "address_gone"


@pytest.mark.parametrize(
    ("paths", "offered", "left_out"),
    [
        (["M-Q4_K_M-imatrix.gguf", "imatrix-Q8_0.gguf", "M.imatrix.gguf"], {"M-Q4_K_M-imatrix.gguf": ("Q4_K_M", 1)},
         ["M.imatrix.gguf", "imatrix-Q8_0.gguf"]),
        (["m-00002-of-00003.gguf", "m-00003-of-00003.gguf", "n-Q8_0.gguf"], {"n-Q8_0.gguf": ("Q8_0", 1)},
         ["m-00002-of-00003.gguf"]),
        (["M-Q8_0-00001-of-00002.GGUF", "M-Q8_0-00002-of-00002.GGUF"], {"M-Q8_0-00001-of-00002.GGUF": ("Q8_0", 2)}, []),
    ],
)  # fmt: skip
def test_files_of_a_repository_are_offered_or_named(
    paths: list[str], offered: dict[str, tuple[str, int]], left_out: list[str]
) -> None:
    offers, why = hub.group({path: RemoteFile("https://x/", path, 1) for path in paths})
    assert {offer.path: (offer.quantization, len(offer.files)) for offer in offers} == offered
    assert sorted(why) == left_out


def test_several_of_the_type_that_was_asked_for_are_told(there: FakeHub, workspace: Workspace) -> None:
    repo = there.repos[NAME]
    repo.files["other/small-Q4_K_M.gguf"] = repo.files["small-Q4_K_M.gguf"]
    error = Llmops(workspace).run("model", "get", f"hf:{NAME}:Q4_K_M", "--yes", code=3)["error"]
    assert (error["code"], error["hint"]) == ("unclear", "Choose one with --file.")
    assert "other/small-Q4_K_M.gguf" in error["message"]
    made = Llmops(workspace).run("model", "get", f"hf:{NAME}", "--file", "other/small-Q4_K_M.gguf", "--yes")
    assert made["source_file"] == "other/small-Q4_K_M.gguf"


def test_parts_in_capitals_come_by_names_that_llama_finds(there: FakeHub, workspace: Workspace) -> None:
    parts = shards_of(split(workspace.root.parent))
    there.repos[NAME].files = {p.name.replace(".gguf", ".GGUF"): p.read_bytes() for p in parts}
    made = work(workspace, plan_of(f"hf:{NAME}", "capitals"))
    assert made["shards"] == len(parts)
    there_now = [p.name for p in (workspace.models / "capitals").iterdir() if not p.name.startswith(NOTE)]
    assert sorted(there_now) == [p.name for p in parts]
    for path in parts:
        path.rename(path.with_suffix(".GGUF"))
    with pytest.raises(InputRefusedError) as caught:
        ModelRegistry(Catalog(workspace)).add(parts[0].with_suffix(".GGUF"), "there")
    assert caught.value.code == "shard_name"


def test_a_name_that_is_taken_meanwhile_costs_no_second_download(
    there: FakeHub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = workspace.root.parent / "other.gguf"
    other.write_bytes(there.repos[NAME].files["small-Q8_0.gguf"])
    registry = ModelRegistry(Catalog(workspace))
    real = staged_download.bring

    def and_then_the_name_is_taken(*arguments: Any) -> Any:
        brought = real(*arguments)
        registry.add(other, "mine")
        return brought

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "bring", and_then_the_name_is_taken)
        with pytest.raises(InputRefusedError) as caught:
            work(workspace, plan_of(f"hf:{NAME}:Q4_K_M", "mine"))
    assert caught.value.code == "name_taken"
    assert "kept" in (caught.value.hint or "")
    # Nothing lies under the other's name, and what came is found again, by gc too.
    assert not (workspace.models / "mine").exists()
    assert len(list(staged_download.unfinished(workspace))) == 1
    sent = [entry for entry in there.sent if "resolve" in entry[0]]
    made = work(workspace, plan_of(f"hf:{NAME}:Q4_K_M", "yours"))
    assert made["sha256"] == hashlib.sha256(there.repos[NAME].files["small-Q4_K_M.gguf"]).hexdigest()
    assert [entry for entry in there.sent if "resolve" in entry[0]] == sent
    assert no_leftovers(workspace)
    assert registry.get("mine").path == other


def test_what_the_disk_has_no_room_for_is_refused_before_anybody_says_yes(
    there: FakeHub, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from llmops_tui.cli.main import run

    interrupt = signal.getsignal(signal.SIGINT)
    size = len(there.repos[NAME].files["small-Q4_K_M.gguf"])
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(total=size, used=1, free=size - 1))
    url = f"{there.url}/{NAME}/resolve/main/small-Q4_K_M.gguf"
    try:
        for what in (url, f"hf:{NAME}:Q4_K_M", "smollm2-135m"):
            monkeypatch.setenv("LLMOPS_MODEL_CACHE", str(workspace.root.parent / "cache" / "models"))
            # Nobody is there to ask, and nobody has to be asked.
            assert run(["--workspace", str(workspace.root), "--json", "model", "get", what]) == 1
            told = json.loads(capsys.readouterr().out)["error"]
            assert told["code"] == "disk_full"
            assert "MB are needed" in told["message"]
    finally:
        signal.signal(signal.SIGINT, interrupt)
    assert not (workspace.root.parent / "cache").exists()
    assert JobLauncher(workspace).store.all() == []
    # What is here of it already needs no room.
    planned = plan_of(url)
    part = staged_download.staging_of(workspace, list(planned.files)) / "small-Q4_K_M.gguf.part"
    part.parent.mkdir()
    part.write_bytes(b"GGUF")
    fetch.check_disk(workspace, planned)


def split_plan(there: FakeHub, workspace: Workspace) -> fetch.Plan:
    """The plan for a model in several files, as ``split``."""
    there.repos[NAME].files = {f"d/{p.name}": p.read_bytes() for p in shards_of(split(workspace.root.parent))}
    return plan_of(f"hf:{NAME}", "split")


def files_with(workspace: Workspace, text: str) -> list[Path]:
    """The workspace's files that have this text in them.

    They are read in a process of their own: closing a database's file takes away all locks that a process has on it.
    """
    code = "import pathlib, sys; [print(p) for p in pathlib.Path(sys.argv[1]).rglob('*') if p.is_file() and sys.argv[2].encode() in p.read_bytes()]"
    command = [sys.executable, "-c", code, str(workspace.root), text]
    return [Path(line) for line in subprocess.check_output(command, text=True).splitlines()]


def quiet(workspace: Workspace) -> JobContext:
    """A job's context that nobody looks at."""
    return SimpleNamespace(workspace=workspace, report=lambda *_arguments: None)  # type: ignore[return-value]


def work(workspace: Workspace, planned: fetch.Plan) -> dict[str, Any]:
    """The job's work, done here."""
    return fetch.get(quiet(workspace), **fetch.job_arguments(workspace, planned))


def plan_of(text: str, name: str | None = None, sha256: str = "") -> fetch.Plan:
    """The plan of a request that leaves nothing to choose."""
    found = fetch.resolve_source(fetch.parse(text), name, sha256=sha256)
    if isinstance(found, fetch.Plan):
        return found
    (offer,) = found.offers
    return found.plan(offer)


def test_a_download_that_nobody_went_on_with_is_cleared_away_after_long(workspace: Workspace) -> None:
    from llmops_tui.maintenance.gc import DAYS, plan
    from llmops_tui.settings import Settings

    part = staged_download.staging_of(workspace, [RemoteFile("https://x/m.gguf", "m.gguf", 10)]) / "m.gguf.part"
    part.parent.mkdir()
    part.write_bytes(b"GGUF")
    soon, late = time.time() + (DAYS - 1) * 86_400, time.time() + (DAYS + 1) * 86_400
    assert not [r for r in plan(workspace, Settings(), now=soon) if r.path == part.parent]
    assert [r.size for r in plan(workspace, Settings(), now=late) if r.path == part.parent] == [4]
