"""No screen shows a value as it lies in memory: figures have the digits one reads, bytes their unit, structures words."""

from __future__ import annotations

import re

import pytest
from textual.pilot import Pilot

from llmops_tui.figures import figure
from llmops_tui.workspace.layout import Workspace
from screens.actions import SCREEN_KEYS
from tests.fakes import start_no_processes
from tests.screens.conftest import OpenApp, settle
from tests.screens.lived import live

RAW = {
    "a fraction with all its digits": re.compile(r"\d\.\d{6,}"),
    # A field of a form holds what is typed, and tells beside it what that comes to.
    "a bare count of bytes": re.compile(r"(?<![\w,.#/-])\d{8,}(?![\w,./-])(?!.* Now [\d.]+ [kMGT]?B\.)"),
    "bytes of Python": re.compile(r"(?<!\w)b'"),
    "a dict of Python": re.compile(r"\{'"),
    # A name before it makes it a subscript, as in the chat template that is shown of a model.
    "a list of Python": re.compile(r"(?<!\w)\['"),
    "a word of Python": re.compile(r"(?<!\w)(None|True|False|nan|inf)(?!\w)"),
}


def drawn(pilot: Pilot[int]) -> str:
    """All that is on the screen."""
    return "\n".join("".join(segment.text for segment in line) for line in pilot.app.screen._compositor.render_strips())


def raw_values(text: str) -> list[str]:
    """What is raw in a text, each with its line."""
    return [
        f"{kind}: {line.strip()}" for line in text.splitlines() for kind, pattern in RAW.items() if pattern.search(line)
    ]


def test_raw_values_are_noticed_and_others_not() -> None:
    for raw in ("0.2888577878475189", "memory 1321332736 of", "b'ques'", "{'s': 1}", "['a']", "took None"):
        assert raw_values(raw), raw
    for fine in (
        "0.289",
        "1,321,332,736",
        "run_000000012345",
        "sha a2669e216d05188d",
        "99999999/s",
        '{"intent": "x"}',
        "{{ message['role'] }}",
        "cache bytes  1073741824  Memory for cached prompts. Now 1.07 GB.",
        "Nonesuch",
    ):
        assert not raw_values(fine), fine
    for value in (0.2888577878475189, None, [16, 1], {"scale": 2.0}, float("nan"), True, b"ques"):
        assert not raw_values(figure(value, "any")), value
    assert not raw_values(figure(1321332736, "memory_bytes"))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_no_screen_shows_raw_values(
    open_app: OpenApp, sample: Workspace, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    start_no_processes(monkeypatch)
    live(sample, monkeypatch)
    found: dict[str, list[str]] = {}
    async with open_app(size=size) as pilot:
        for name in SCREEN_KEYS.values():
            await pilot.app.run_action(f"app.go('{name}')")
            await settle(pilot)
            seen = drawn(pilot)
            # The further views of what the cursor is on.
            for _ in range(4):
                if name in {"traces", "training", "evaluation", "datasets"}:
                    await pilot.press("f12")
                    await settle(pilot)
                    # Records are shown as JSON on request, with all their digits.
                    seen += "" if "JSON" in drawn(pilot) else drawn(pilot)
            if raw := raw_values(seen):
                found[name] = sorted(set(raw))
    assert not found
