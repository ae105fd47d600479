"""Access keys in the app: made, their secret shown once, their use as bars, and revoked after a question."""

from __future__ import annotations

import pytest
from textual.widgets import Input, OptionList, Static

from llmops_tui.inference.access.limiter import Limiter
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.models.access_keys_screen import AccessKeysScreen
from screens.models.make_access_key import SecretDialog
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.form_dialog import FormDialog
from tests.screens.conftest import OpenApp, settle, until


async def test_a_key_is_made_seen_and_revoked(
    open_app: OpenApp, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as pilot:
        app = pilot.app
        copied: list[str] = []
        monkeypatch.setattr(app, "copy_text", lambda _name, text: copied.append(text))
        await pilot.press("f9", "5")
        await until(pilot, lambda: bool(app.screen.query("#model-list")))
        await settle(pilot)
        await pilot.press("K")
        await until(pilot, lambda: isinstance(app.screen, AccessKeysScreen))
        facts = lambda: str(app.screen.query_one("#key-facts", Static).content)  # noqa: E731
        await until(pilot, lambda: "No access keys yet" in facts())
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        fields = {field.name: field for field in app.screen.query(Input)}
        fields["name"].value, fields["tokens_per_day"].value = "app", "100"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SecretDialog))
        secret = str(app.screen.query_one("#secret", Static).content)
        assert copied == [secret]
        await pilot.press("escape")
        store = KeyStore(EventLog(sample))
        (key,) = store.all()
        await until(pilot, lambda: isinstance(app.screen, AccessKeysScreen) and "0 of 100 tokens a day" in facts())
        with store.writing() as connection:
            limiter = Limiter()
            limiter.reserve(connection, [key], 50, limiter.now(connection))
        app.screen._look()
        await until(pilot, lambda: "50 of 100 tokens a day" in facts())
        assert app.screen.query_one(OptionList).option_count == 1
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("Y")
        await until(pilot, lambda: store.get("app").revoked_at is not None)
        await until(pilot, lambda: "0 of 1 active" in str(app.screen.query_one("#key-title", Static).content))
