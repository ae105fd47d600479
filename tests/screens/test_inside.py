"""An answer looked into on its screen: tokens, another one to go on from, the tree of JSON."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from textual.widgets import Static

from llmops_tui.inference.client import StreamEnd
from llmops_tui.prompts.runs import PromptRunner, RunProgress, RunRequest
from screens.playground.inside_screen import InsideScreen
from tests.screens.conftest import OpenApp, notices, settle, until


def told(text: str, p: float, number: int, **others: float) -> Any:
    """A token of this probability, with others at its place."""
    top = [{"token": text, "logprob": math.log(p), "id": number}]
    top += [{"token": t, "logprob": math.log(q), "id": 100 + n} for n, (t, q) in enumerate(others.items())]
    return {**top[0], "top_logprobs": sorted(top, key=lambda one: -one["logprob"])}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RunRequest]:
    """What was asked; an answer of three tokens, the second of which might have been another."""
    found: list[RunRequest] = []

    async def run(_self: PromptRunner, request: RunRequest, *_more: object) -> AsyncIterator[RunProgress]:
        found.append(request)
        for token in [told("{", 0.99, 1), told('"a', 0.15, 2, b=0.8), told('": \x1b[2J1}', 0.95, 3)][
            len(request.begun) :
        ]:
            yield RunProgress("tokens", tokens=[token])
            yield RunProgress("text", text=token["token"])
        yield RunProgress("finished", end=StreamEnd("stop", {"completion_tokens": 3, "prompt_tokens": 5}))

    monkeypatch.setattr(PromptRunner, "run", run)
    return found


async def test_a_token_is_replaced_and_the_answer_goes_on(open_app: OpenApp, asked: list[RunRequest]) -> None:
    async with open_app(size=(120, 40)) as pilot:
        await pilot.press("escape", "i")
        await until(pilot, lambda: isinstance(pilot.app.screen, InsideScreen) and len(pilot.app.screen._tokens) == 3)
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, InsideScreen)
        assert asked[0].alternatives == 10
        await pilot.press("u")
        await settle(pilot)
        shown = str(screen.query_one("#inside-alternatives", Static).content)
        assert "15.0%" in shown
        assert "80.0%" in shown
        frame = "".join(strip.text for strip in screen._compositor.render_strips())
        assert "\x1b" not in frame
        await pilot.press("enter")
        await until(pilot, lambda: len(asked) == 2 and len(screen._tokens) == 3)
        await settle(pilot)
        # The first token as it was, and the likelier one in the place of the second: by their numbers.
        assert asked[1].begun == (1, 100)
        assert [token.text for token in screen._tokens][:2] == ["{", "b"]
        await pilot.press("s")
        await settle(pilot)
        assert "no JSON" in str(screen.query_one("#inside-prompt-text", Static).content)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: pilot.app.screen is not screen)
        assert "Failed" not in notices(pilot)
