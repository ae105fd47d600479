"""The command line of the app: completion, history, output that can do no harm, and cancelling; and what the palette finds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmops_tui.workspace.layout import Workspace
from screens.shell import child_command
from screens.shell.child_command import ChildCommand
from screens.shell.completion import Line, complete, replaced
from screens.shell.ranking import ranked, score
from screens.view_memory import ViewMemory
from tests.screens.conftest import OpenApp, settle, until

NAMES = {
    "dataset": [("triage@1", "2,000 rows"), ("triage-test@1", "300 rows")],
    "model": [("support-base", "Q8_0")],
    "job": [("job_1", "verify")],
}


def names(kinds: tuple[str, ...]) -> list[tuple[str, str]]:
    return [name for kind in kinds for name in NAMES.get(kind, [])]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("eva", {"eval"}),
        ("llmops eva", {"eval"}),
        ("job re", {"resume", "remove"}),
        ("job show ", {"job_1"}),
        ("data show triage-", {"triage-test@1"}),
        ("generate --model ", {"support-base"}),
        ("nothing here ", set()),
        ("data nothing x", set()),
        ("data show 'tri", {"triage@1", "triage-test@1"}),
    ],
)
def test_a_command_is_completed_by_the_grammar_and_the_names_of_the_workspace(text: str, words: set[str]) -> None:
    assert {c.word for c in complete(text, names)} == words


def test_options_are_completed_with_their_help() -> None:
    found = {c.word: c.help for c in complete("traces list --", names)}
    assert {"--filter", "--limit", "--sort"} <= set(found)
    assert found["--limit"]


@pytest.mark.parametrize(
    ("text", "word", "after"),
    [
        ("", "data", "data "),
        ("da", "data", "data "),
        ("data show tri", "triage@1", "data show triage@1 "),
        ("data show ", "two words", "data show 'two words' "),
        ("data show 'two w", "two words", "data show 'two words' "),
    ],
)
def test_a_completion_takes_the_place_of_what_was_begun(text: str, word: str, after: str) -> None:
    assert replaced(text, word) == after


def test_an_open_quote_is_part_of_the_last_word() -> None:
    assert Line.of("data show 'two w") == Line(("data", "show"), "two w")
    assert Line.of("data show ") == Line(("data", "show"), "")


def test_the_best_name_comes_first() -> None:
    things = ["retriage", "triage@3", "triage", "a trial of ages", "nothing"]
    found = ranked("triage", things, lambda name: (name, "prompt", ""), [])
    assert found == ["triage", "triage@3", "retriage", "a trial of ages"]
    assert ranked("tri", ["trier", "triage"], lambda name: (name, "prompt", ""), ["prompt triage"]) == [
        "triage",
        "trier",
    ]
    assert score("prompt: triage", "triage", "prompt") > score("prompt: triage", "triage", "dataset")
    assert score("xyz", "triage", "prompt", "a note") == 0
    assert (score("theme: ", "forest", "theme"), score("theme: ", "Theme", "do")) == (1, 0)


def said_by(script: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[ChildCommand, list[str]]:
    monkeypatch.setattr(child_command, "module_command", lambda *_words: ["/bin/sh", "-c", script])
    return ChildCommand(folder, [], 80), []


async def test_what_a_command_says_is_harmless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = r"printf 'a\033]52;c;UFdO\007b\033[2Jc\n10%%\r20%%\r30%%\n\377\nlast' ; cat; exit 3"
    child, lines = said_by(script, monkeypatch, tmp_path)
    assert await child.run(lines.append) == 3
    assert lines == ["a␛]52;c;UFdO␇b␛[2Jc", "30%", "\ufffd", "last"]


async def test_a_line_without_an_end_is_told_in_pieces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child, lines = said_by("head -c 20000 /dev/zero | tr '\\0' x", monkeypatch, tmp_path)
    assert await child.run(lines.append) == 0
    assert "".join(lines) == "x" * 20000
    assert len(lines) > 2


async def test_a_command_that_goes_on_is_cancelled_with_all_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # In the background of a shell, what was started does not hear ctrl+c.
    monkeypatch.setattr(child_command, "_GRACE", 0.05)
    child, lines = said_by("sleep 600 & echo begun; wait", monkeypatch, tmp_path)
    running = asyncio.create_task(child.run(lines.append))
    while not lines:
        await asyncio.sleep(0.01)
    cancelling = asyncio.create_task(child.cancel())
    assert await running != 0
    await cancelling
    assert child.cancelled


def test_what_is_remembered_survives_and_moves_to_the_end(sample: Workspace) -> None:
    from llmops_tui.workspace.event_log import EventLog

    memory = ViewMemory(EventLog(sample))
    for line in ("data list", "job list", "data list"):
        memory.add_line("commands", line)
    memory.put("tables", "job-list", {"order": "took"})
    again = ViewMemory(EventLog(sample))
    assert again.lines("commands") == ["job list", "data list"]
    assert again.get("tables", "job-list") == {"order": "took"}
    again.put("tables", "job-list", None)
    assert ViewMemory(EventLog(sample)).get("tables", "job-list") is None


def test_what_an_erasure_took_out_is_not_written_back(sample: Workspace) -> None:
    from llmops_tui.workspace.event_log import EventLog

    memory, other = ViewMemory(EventLog(sample)), ViewMemory(EventLog(sample))
    memory.add_line("commands", "privacy forget Anna")
    other.forget_lines("commands", ["privacy forget [NAME]"])
    memory.read_again()
    memory.add_line("commands", "data list")
    assert ViewMemory(EventLog(sample)).lines("commands") == ["privacy forget [NAME]", "data list"]


async def test_a_command_is_typed_completed_and_its_output_read(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def command(*words: str) -> list[str]:
        ran.extend(words[3:])
        return ["/bin/sh", "-c", "printf 'one\\ntwo\\n'"]

    monkeypatch.setattr(child_command, "module_command", command)
    async with open_app(size=(80, 24)) as pilot:
        await pilot.press("f9", "8", "colon", *"data sho")
        await settle(pilot)
        await pilot.press("tab", *"triage")
        await pilot.press("enter")
        await settle(pilot)
        screen = pilot.app.screen
        await until(pilot, lambda: "done" in str(screen.query_one("#command-state").render()))
        assert ran == ["data", "show", "triage"]
        output = ["".join(text for text, _ in line) for line in screen._output]  # type: ignore[attr-defined]
        assert output == ["$ llmops data show triage", "one", "two"]
        await pilot.press("up")
        assert screen.query_one("#command-words").value == "data show triage"  # type: ignore[attr-defined]
        await pilot.press("escape")
        assert pilot.app.screen is not screen
