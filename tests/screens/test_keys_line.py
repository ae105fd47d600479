"""The keys of a dialog are never cut: what does not fit goes on in the next line, and no key stands apart from its word."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from screens.widgets.keys_line import KeysLine

KEYS = (("enter", "what is behind it"), ("k", "probabilities"), ("j", "judge"), ("f5", "again"), ("esc", "close"))


class OneLine(App[None]):
    CSS = ".dialog-keys { height: auto; }"

    def compose(self) -> ComposeResult:
        yield KeysLine(*KEYS, told="2 marked")


@pytest.mark.parametrize(("width", "rows"), [(100, 1), (40, 3), (24, 4)])
async def test_no_key_is_cut(width: int, rows: int) -> None:
    async with OneLine().run_test(size=(width, 10)) as pilot:
        await pilot.pause()
        line = pilot.app.query_one(KeysLine)
        told = str(line.content).splitlines()
        assert len(told) == rows
        assert all(len(one) <= width for one in told)
        for key, does in KEYS:
            assert any(f"{key} {does}" in one for one in told)
        assert told[-1].endswith("2 marked")
        assert line.size.height == rows
        line.show(("esc", "close"))
        await pilot.pause()
        assert str(line.content) == "esc close"
