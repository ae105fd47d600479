"""A workspace that came from elsewhere: nothing is sent, no key is given, nothing runs, until its user says so."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.approved_keys import approve, is_approved
from llmops_tui.inference.endpoints import find_endpoint, open_endpoint
from llmops_tui.inference.remote import open_remote
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobState
from llmops_tui.jobs.worker import _entry
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.restore import restore
from llmops_tui.maintenance.trust_review import consent, describe, inspect
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.monitoring.rules import may_run
from llmops_tui.user_files import approved_keys_path, known_workspaces_path
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from llmops_tui.workspace.trust import trust, untrusted_reason
from tests import commands

FACTS = {"remote_model": "m", "lacks": {}}
RULES = "- {name: planted, series: host.cpu, above: 0, command: touch /tmp/planted}\n"


def llmops(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line on a workspace, with nobody at a terminal."""
    return commands.llmops("--json", *arguments, workspace=workspace)


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace of somebody who wants the victim's keys: made with other files of the user's own, then copied here."""
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path / "makers"))
        made = make_workspace(Workspace(tmp_path / "made"))
        registry = ModelRegistry(Catalog(made))
        registry.add_remote("https://maker.example", "helpful", FACTS, "AWS_SECRET_ACCESS_KEY")
        approve("AWS_SECRET_ACCESS_KEY", "https://maker.example")
    made.alert_rules.write_text(RULES)
    (made.root / "api-key").write_text("known-to-its-maker-0123456789\n")
    (made.root / "api-key").chmod(0o600)
    shutil.copytree(made.root, tmp_path / "ws2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the victim")
    return Workspace(tmp_path / "ws2")


def helpful(workspace: Workspace) -> Model:
    """Its model."""
    return ModelRegistry(Catalog(workspace)).get("helpful")


def test_what_was_made_here_is_trusted_and_a_copy_is_not(workspace: Workspace, tmp_path: Path) -> None:
    assert untrusted_reason(workspace) == ""
    shutil.copytree(workspace.root, tmp_path / "copy")
    assert "not created on this machine" in untrusted_reason(Workspace(tmp_path / "copy"))
    # A folder that was moved is the same folder.
    workspace.root.rename(tmp_path / "moved")
    assert untrusted_reason(Workspace(tmp_path / "moved")) == ""
    # One that was put in its place is not.
    (tmp_path / "copy").rename(workspace.root)
    assert untrusted_reason(workspace)


def test_nothing_is_sent_before_it_is_trusted(foreign: Workspace) -> None:
    supervisor = ServerSupervisor(foreign)
    for way in (open_endpoint, find_endpoint):
        with pytest.raises(
            InputRefusedError, match=r"'helpful' would send requests to https://maker\.example.*not trusted"
        ) as no:
            way(supervisor, helpful(foreign))
        assert no.value.code == "workspace_untrusted"
        assert "llmops trust" in no.value.hint
    assert not may_run(foreign.alert_rules)


def test_a_key_goes_only_where_its_owner_sent_it(foreign: Workspace) -> None:
    trust(foreign)
    with pytest.raises(
        InputRefusedError, match=r"AWS_SECRET_ACCESS_KEY of 'helpful' was never approved for https://maker\.example"
    ):
        open_remote(foreign, helpful(foreign))
    approve("AWS_SECRET_ACCESS_KEY", "https://aws.example/v1")
    with pytest.raises(InputRefusedError, match="never approved"):
        open_remote(foreign, helpful(foreign))
    approve("AWS_SECRET_ACCESS_KEY", "https://MAKER.example:443")
    assert not is_approved("AWS_SECRET_ACCESS_KEY", "http://maker.example")
    approve("AWS_SECRET_ACCESS_KEY", "https://MAKER.example/v1")
    assert open_remote(foreign, helpful(foreign)).key == "of the victim"


def test_damaged_files_of_the_users_own_trust_nothing(foreign: Workspace, workspace: Workspace) -> None:
    approve("AWS_SECRET_ACCESS_KEY", "https://maker.example")
    for path in (known_workspaces_path(), approved_keys_path()):
        path.write_text("{")
    assert untrusted_reason(workspace)
    assert not is_approved("AWS_SECRET_ACCESS_KEY", "https://maker.example")


def test_consent_is_to_what_was_shown(foreign: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    request = inspect(foreign)
    told = "\n".join(describe(request))
    assert "helpful sends requests to https://maker.example, with the key in AWS_SECRET_ACCESS_KEY" in told
    assert "the alert planted runs: touch /tmp/planted" in told
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "and the key, once there is one, in AWS_SECRET_ACCESS_KEY or the keyring" in "\n".join(
        describe(inspect(foreign))
    )
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the victim")
    assert "not trusted" in told
    foreign.alert_rules.write_text(RULES.replace("touch", "rm"))
    with pytest.raises(InputRefusedError, match="changed in the meantime"):
        consent(foreign, request)
    assert untrusted_reason(foreign)
    aside = consent(foreign, inspect(foreign))
    assert aside is not None
    assert "known-to-its-maker" in aside.read_text()
    assert not (foreign.root / "api-key").exists()
    assert not inspect(foreign).is_new
    assert may_run(foreign.alert_rules)
    assert open_remote(foreign, helpful(foreign)).key == "of the victim"


def test_the_command_asks_for_a_word(foreign: Workspace) -> None:
    seen = json.loads(llmops(foreign, "trust").stdout)
    assert seen["trusted"] is False
    assert seen["models"][0]["url"] == "https://maker.example"
    assert untrusted_reason(foreign)
    for arguments in (("generate", "--model", "helpful", "--prompt", "hello"), ("serve", "helpful")):
        refused = llmops(foreign, *arguments)
        assert refused.returncode == 3, refused.stderr
        assert "llmops trust" in refused.stderr
    assert json.loads(llmops(foreign, "trust", "--yes").stdout)["trusted"] is True
    assert untrusted_reason(foreign) == ""
    assert llmops(foreign, "trust", "--withdraw").returncode == 0
    assert untrusted_reason(foreign)


@pytest.mark.parametrize("planting", ["CREATE VIEW extra AS SELECT 1", "CREATE MACRO extra(x) AS x + 1"])
def test_a_catalog_that_was_made_to_mislead_is_not_trusted(foreign: Workspace, planting: str) -> None:
    with duckdb.connect(str(foreign.catalog)) as planter:
        planter.execute(planting)
    with pytest.raises(InputRefusedError, match="extra") as refused:
        inspect(foreign)
    assert refused.value.code == "planted"


def test_where_others_may_write_nothing_is_trusted(workspace: Workspace) -> None:
    workspace.root.chmod(0o777)
    assert "other users can write" in untrusted_reason(workspace)
    with pytest.raises(InputRefusedError, match="other users can write") as refused:
        trust(workspace)
    assert "chmod go-w" in refused.value.hint


def link_folder(root: Path, victim: Path) -> None:
    shutil.rmtree(root / "logs")
    (root / "logs").symlink_to(victim.parent)


def link_event_log(root: Path, victim: Path) -> None:
    (root / "journal.db").symlink_to(victim)


def link_lock(root: Path, victim: Path) -> None:
    (root / "workspace.lock").unlink()
    (root / "workspace.lock").symlink_to(victim)


def link_log(root: Path, victim: Path) -> None:
    (root / "workspace.duckdb.wal").symlink_to(victim)


def link_server(root: Path, victim: Path) -> None:
    (root / "runs" / "servers").mkdir(parents=True, exist_ok=True)
    (root / "runs" / "servers" / "support-base.held").symlink_to(victim)


@pytest.mark.parametrize(
    "plant",
    [
        link_folder,
        link_log,
        *(pytest.param(link, marks=pytest.mark.slow) for link in (link_event_log, link_lock, link_server)),
    ],
)
def test_links_of_a_foreign_workspace_lead_nowhere(
    foreign: Workspace, tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "victim").mkdir()
    victim = tmp_path / "victim" / "cookies.db"
    with sqlite3.connect(victim) as other:
        other.execute("CREATE TABLE cookies (x)")
    before = victim.read_bytes()
    plant(foreign.root, victim)
    for arguments in (["model", "list"], ["job", "list"], ["check"], ["trust", "--yes"], ["init", "--sample"]):
        refused = llmops(foreign, *arguments)
        assert refused.returncode == 3, arguments
        assert "is a link" in refused.stderr, arguments
    assert victim.read_bytes() == before
    assert list(victim.parent.iterdir()) == [victim]


def test_a_restored_workspace_is_to_be_confirmed(sample: Workspace, tmp_path: Path) -> None:
    backup(sample, tmp_path / "b.tar")
    restore(tmp_path / "b.tar", sample)
    assert untrusted_reason(sample)
    assert json.loads(known_workspaces_path().read_text())
    consent(sample, inspect(sample))
    assert untrusted_reason(sample) == ""


def of_model(column: str, value: str) -> str:
    return f"UPDATE models SET {column} = '{value}' WHERE name = 'support-base'"


PLANTED_NAMES = {
    "a model's name": (of_model("name", "../../evil"), ("model", "list")),
    "a model's file": (of_model("path", "models/../../../evil.gguf"), ("model", "list")),
    "a model's files": (of_model("header", '{"files": ["../../evil"]}'), ("model", "list")),
    "a dataset's rows": ("UPDATE dataset_versions SET sha256 = '../../evil'", ("data", "list")),
}


@pytest.mark.parametrize("what", PLANTED_NAMES)
def test_no_name_leads_out_of_the_workspace(sample: Workspace, what: str) -> None:
    planting, command = PLANTED_NAMES[what]
    Catalog(sample).write(lambda connection: connection.execute(planting))
    refused = llmops(sample, *command)
    assert refused.returncode == 3, refused.stdout
    assert "evil" in refused.stderr or "'..'" in refused.stderr
    assert "something else changed the workspace" in refused.stderr
    assert not (sample.root.parent.parent / "evil").exists()


def test_a_job_of_a_foreign_workspace_is_not_gone_on_with(foreign: Workspace, tmp_path: Path) -> None:
    launcher = JobLauncher(foreign)
    job = launcher.store.add(
        kind="add", title="harmless", spec={"entry": "llmops_tui.models.tasks:add", "arguments": {}}
    )
    launcher.store.update(job.id, state=JobState.FAILED.value, exit_code=1)
    with pytest.raises(InputRefusedError, match="not trusted"):
        launcher.resume(job.id)


@pytest.mark.parametrize(
    "entry", ["os:system", "llmops_tui.jobs.worker:importlib", "llmops_tui.jobs.launcher:module_command"]
)
def test_a_job_runs_nothing_but_what_is_a_job(entry: str) -> None:
    with pytest.raises(LlmopsError, match="is not part of llmops"):
        _entry(entry)


def test_what_lies_behind_a_link_is_not_shown_before_it_is_trusted(foreign: Workspace, tmp_path: Path) -> None:
    """However deep the link lies; the one command that may look tells of it."""
    (tmp_path / "secret").write_text("CANARY")
    folder = foreign.runs / "job_x"
    folder.mkdir(parents=True)
    (folder / "output.log").symlink_to(tmp_path / "secret")
    for arguments in (["job", "list"], ["model", "list"], ["check"], ["backup", str(tmp_path / "b.tar")]):
        refused = llmops(foreign, *arguments)
        assert refused.returncode == 3, arguments
        assert "output.log is a link, and the workspace is not trusted" in refused.stderr
    assert not (tmp_path / "b.tar").exists()
    assert "runs/job_x/output.log" in json.loads(llmops(foreign, "trust").stdout)["links"]
    assert llmops(foreign, "trust", "--yes").returncode == 0
    assert llmops(foreign, "job", "list").returncode == 0


def test_jobs_that_can_be_gone_on_with_are_told(foreign: Workspace) -> None:
    store = JobLauncher(foreign).store
    for number in range(5):
        job = store.add(kind="add", title=f"harmless {number}", spec={})
        store.update(job.id, state=JobState.FAILED.value if number else JobState.DONE.value)
    told = describe(inspect(foreign))
    assert any("its jobs can be resumed" in line and "and 1 more" in line for line in told)
    assert "harmless 0" not in "\n".join(told)
