"""Guards in the app: what they would have done, switched on after a question, and taken off."""

from __future__ import annotations

import time

from textual.widgets import OptionList, Static

from llmops_tui.inference.guardrails.guard_file import GuardSet
from llmops_tui.inference.guardrails.store import GuardStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.models.guards_screen import GuardsScreen
from screens.widgets.dialogs import ConfirmDialog
from tests.screens.conftest import OpenApp, settle, until


async def test_a_guard_is_seen_switched_on_and_taken_off(open_app: OpenApp, sample: Workspace) -> None:
    store, log = GuardStore(EventLog(sample)), EventLog(sample)
    guards = [{"name": "codes", "kind": "words", "words": ["launch code"]}]
    store.use(store.save(GuardSet.model_validate({"name": "shop", "guards": guards}))[0])
    said = {"set": "shop@1", "guard": "codes", "side": "input", "tier": "rules", "mode": "shadow", "ms": 0.1}
    for number, verdict in enumerate(("found", "pass", "pass")):
        client = {"key": "app", "guards": [{**said, "verdict": verdict, "action": "block"}]}
        body = {"started_at": time.time(), "model": "toy", "output": "a", "finish_reason": "stop", "client": client}
        log.append("request", f"run_{number}", body)  # type: ignore[arg-type]
    async with open_app() as pilot:
        app = pilot.app
        await pilot.press("f9", "5")
        await until(pilot, lambda: bool(app.screen.query("#model-list")))
        await settle(pilot)
        await pilot.press("B")
        await until(pilot, lambda: isinstance(app.screen, GuardsScreen))
        facts = lambda: str(app.screen.query_one("#guard-facts", Static).content)  # noqa: E731
        await until(pilot, lambda: "would have acted on 1 of 3" in facts())
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: [one.version.ref for one in store.in_force()] == ["shop@2"])
        await until(pilot, lambda: isinstance(app.screen, GuardsScreen))
        title = lambda: str(app.screen.query_one("#guard-title", Static).content)  # noqa: E731
        await until(pilot, lambda: "1 of 1 on" in title())
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: not store.in_force())
        await until(pilot, lambda: isinstance(app.screen, GuardsScreen) and "No guards" in facts())
        assert app.screen.query_one(OptionList).option_count == 0
