"""The privacy screen: a person is found, forgotten after a word, and the receipt is shown."""

from __future__ import annotations

import re
from pathlib import Path

from textual.widgets import Input, Static

from llmops_tui.maintenance.erasure_ledger import Ledger
from llmops_tui.maintenance.tasks import forget_person
from llmops_tui.prompts.store import PromptStore
from llmops_tui.settings import Settings
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from screens.actions import ACTIONS
from screens.privacy.word_dialog import WordDialog
from screens.widgets.dialogs import LineDialog
from screens.widgets.table import Table
from tests.screens.conftest import OpenApp, settle, until

NAME = "Zwiebelinde Turmuhr"


class _Context:
    """What a job's function is given, without a process of its own."""

    job_id = "job_own"

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def report(self, share: float, message: str = "") -> None:
        pass


async def test_a_person_is_found_and_forgotten(open_app: OpenApp, sample: Workspace, tmp_path: Path) -> None:
    PromptStore(Catalog(sample)).save("about", template=f"know {NAME}")
    async with open_app(settings=Settings(retention="traces 9y")) as pilot:
        app = pilot.app
        started: dict[str, object] = {}

        class Done:
            id, title, progress, message, cause = "job_own", "forget a person", 1.0, "", ""

            class state:  # noqa: N801
                final = True

        def start(**given: object) -> Done:
            started.update(given)
            return Done()

        await pilot.press("f9", "Y")
        await until(pilot, lambda: bool(app.screen.query("#plan-text")))
        await settle(pilot)
        assert "traces 3285d" in str(app.screen.query_one("#retention-text", Static).content)
        app.screen.query_one("#plan-scroll").focus()
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LineDialog))
        app.screen.query_one(Input).value = f"{NAME}; u-471188"
        await pilot.press("enter")
        plan = lambda: str(app.screen.query_one("#plan-text", Static).content)  # noqa: E731
        await until(pilot, lambda: bool(app.screen.query("#plan-text")) and "prompts: 1" in plan())
        await settle(pilot)

        await pilot.press("f")
        await until(pilot, lambda: isinstance(app.screen, WordDialog))
        app.screen.query_one(Input).value = "no"
        await pilot.press("enter")
        await settle(pilot)
        assert "Nothing was changed" in str(app.screen.query_one(".dialog-text", Static).content)
        app.services.jobs.start = start  # type: ignore[method-assign]
        import screens.privacy.forget_person as flow

        async def waited(_services: object, _job: object, _told: object) -> object:
            return forget_person(_Context(sample), **started["arguments"])  # type: ignore[arg-type]

        kept, flow.wait_for_job = flow.wait_for_job, waited  # type: ignore[assignment]
        app.screen.query_one(Input).value = "forget"
        await pilot.press("enter")
        await until(pilot, lambda: bool(Ledger(sample).all()) and "receipt " in plan())
        flow.wait_for_job = kept
        assert NAME not in str(started)
        assert "found nothing" in plan()
        assert app.screen.query_one("#erasure-list", Table).count == 1
        await settle(pilot)
    assert PromptStore(Catalog(sample)).get("about").template == "know [NAME]"


async def test_what_is_empty_says_what_to_do_with_which_key(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await pilot.press("f9", "Y")
        await until(pilot, lambda: bool(pilot.app.screen.query("#plan-text")))
        await settle(pilot)
        keys = {action.id: action.keys.split(",") for action in ACTIONS}
        told = str(pilot.app.screen.query_one("#plan-text", Static).content)
        for name in ("find", "manner", "forget", "report"):
            assert re.search(rf"\b{keys[f'privacy.{name}'][0]} ", told), name
        rules = str(pilot.app.screen.query_one("#retention-text", Static).content)
        assert "9 opens the settings" in rules
        assert f"\n{keys['privacy.apply'][0]} deletes" in rules
