"""That a workspace is not trusted, or only read, is seen on every screen; it is trusted in the app, in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.remote import open_remote
from llmops_tui.jobs.store import JobStore
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.monitoring.rules import may_run
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import trust, untrusted_reason, withdraw
from screens.shell.base import BaseScreen
from screens.shell.status_feed import StatusFeed
from screens.shell.status_line import Status, StatusLine, StatusPart
from screens.shell.trust_dialog import TrustDialog
from screens.shell.workspace_status import workspace_status
from tests.representatives import representatives
from tests.screens.conftest import OpenApp, notices, settle, until


@pytest.fixture
def foreign(sample: Workspace) -> Workspace:
    """One that somebody else made: with a model elsewhere, a command of an alert, a key, and a job that was cut off."""
    ModelRegistry(Catalog(sample)).add_remote(
        "https://maker.example", "helpful", {"remote_model": "m", "lacks": {}}, "AWS_SECRET_ACCESS_KEY"
    )
    sample.alert_rules.write_text("- {name: planted, series: host.cpu, above: 1000, command: touch /nowhere/planted}\n")
    (sample.root / "api-key").write_text("known-to-its-maker-0123456789\n")
    jobs = JobStore(EventLog(sample))
    jobs.update(jobs.add(kind="x", title="dedup [red]rows", spec={}).id, state="failed")
    withdraw(sample)
    return sample


def shown(pilot: Pilot[int], place: str) -> str:
    return str(pilot.app.screen.query_one(f"#status-{place}", StatusPart).content)


async def asked(pilot: Pilot[int]) -> str:
    await pilot.press("alt+t")
    await until(pilot, lambda: isinstance(pilot.app.screen, TrustDialog) and bool(pilot.app.screen.query("#request")))
    return str(pilot.app.screen.query_one("#request", Static).content)


async def test_screens_say_it_and_the_words_change_it(
    open_app: OpenApp, foreign: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the victim")
    async with open_app() as pilot:
        helpful = ModelRegistry(Catalog(foreign)).get("helpful")
        # The line is the same on each screen: two are enough.
        for name in ("playground", "jobs"):
            await pilot.app.switch_mode(name)
            await until(pilot, lambda: shown(pilot, "trust") == "⚠ untrusted")
        told = await asked(pilot)
        assert "helpful sends requests to https://maker.example, with the key in AWS_SECRET_ACCESS_KEY" in told
        assert "the alert planted runs: touch /nowhere/planted" in told
        assert "its jobs can be resumed: dedup [red]rows" in told
        await pilot.press(*"yes", "enter")
        await pilot.pause()
        assert isinstance(pilot.app.screen, TrustDialog)
        assert "Nothing was changed" in str(pilot.app.screen.query_one(".dialog-text", Static).content)
        assert untrusted_reason(foreign)
        with pytest.raises(InputRefusedError, match="not trusted"):
            open_remote(foreign, helpful)
        await pilot.press("end", *["backspace"] * 3, *"trust", "enter")
        await until(pilot, lambda: "is trusted now" in notices(pilot))
        assert "renamed to api-key.before-trust" in notices(pilot)
        assert shown(pilot, "trust") == ""
        assert open_remote(foreign, helpful).key == "of the victim"
        assert may_run(foreign.alert_rules)
        assert "trusted already" in await asked(pilot)
        await pilot.press(*"withdraw", "enter")
        await until(pilot, lambda: "no longer trusted" in notices(pilot))
        assert shown(pilot, "trust") == "⚠ untrusted"
        assert untrusted_reason(foreign)


async def test_what_changed_while_it_was_read_is_not_agreed_to(open_app: OpenApp, foreign: Workspace) -> None:
    async with open_app() as pilot:
        await asked(pilot)
        foreign.alert_rules.write_text(foreign.alert_rules.read_text().replace("touch", "rm"))
        await pilot.press(*"trust", "enter")
        await until(pilot, lambda: "changed in the meantime" in notices(pilot))
        assert untrusted_reason(foreign)
        assert shown(pilot, "trust") == "⚠ untrusted"


async def test_escape_and_a_key_of_a_trusted_workspace_change_nothing(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        assert shown(pilot, "trust") == ""
        await asked(pilot)
        await pilot.press(*"trust", "enter")
        await pilot.pause()
        # It is trusted: the only word that is taken withdraws it.
        assert isinstance(pilot.app.screen, TrustDialog)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, BaseScreen))
        assert untrusted_reason(sample) == ""


@pytest.mark.slow
async def test_it_is_trusted_elsewhere_and_seen_here(open_app: OpenApp, foreign: Workspace) -> None:
    async with open_app() as pilot:
        assert shown(pilot, "trust") == "⚠ untrusted"
        await pilot.click("#status-trust")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrustDialog))
        await pilot.press("escape")
        trust(foreign)
        await until(pilot, lambda: shown(pilot, "trust") == "")


def test_what_is_said_of_a_workspace(foreign: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workspace, "read_only", True)
    assert workspace_status(foreign) == "untrusted, read-only"
    trust(foreign)
    assert workspace_status(foreign) == "read-only"
    assert workspace_status(Workspace(Path("/nowhere/at/all"))) == "missing"
    (foreign.root / "workspace.json").write_text("{")
    assert workspace_status(foreign) == "cannot be read"


FULL = Status(
    workspace="a-workspace-with-a-name-that-never-ends-at-all", workspace_status="untrusted, read-only", model="m" * 60,
    loaded=True, tokens_per_s=212.0, cpu=(30.0,) * 5, gpu=(70.0,) * 5, gpu_memory="61/141G", jobs=2,
    job_title="qlora-03 of the large model 41%", notices=3,
)  # fmt: skip


@pytest.mark.parametrize("width", representatives([80, 120, 200], 80))
async def test_what_matters_is_not_pushed_out(open_app: OpenApp, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_self: StatusFeed) -> None:
        """This machine's own status does not come between."""

    monkeypatch.setattr(StatusFeed, "run", nothing)
    async with open_app(size=(width, 24)) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, BaseScreen)
        for status in (FULL, replace(FULL, workspace="ws", model="support-base"), replace(FULL, workspace_status="")):
            pilot.app.show_status(status)  # type: ignore[attr-defined]
            await settle(pilot)
            assert shown(pilot, "trust") == (f"⚠ {status.workspace_status}" if status.workspace_status else "")
            parts = [part for part in screen.query_one(StatusLine).query(StatusPart) if part.display]
            for part in parts:
                assert part.region.right <= width
                assert part.region.width >= len(str(part.content))
            assert "⚠ 3" in shown(pilot, "alerts")
            assert "⚙ 2" in shown(pilot, "jobs")
        if width == 200:
            assert "qlora-03" in shown(pilot, "jobs")
