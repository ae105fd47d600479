"""``llmops prompt save`` with what makes an answer, and the commands that show it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.cli.prompt import figures_told, refuse_unknown
from llmops_tui.errors import InputRefusedError
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops, llmops


@pytest.fixture
def cli(workspace: Workspace) -> Llmops:
    return Llmops(workspace)


def test_a_version_is_saved_with_what_makes_its_answer(cli: Llmops, tmp_path: Path) -> None:
    rows, schema, tools = tmp_path / "faq.jsonl", tmp_path / "schema.json", tmp_path / "tools.yaml"
    rows.write_text("".join(json.dumps({"prompt": f"q{n}", "completion": f"a{n}"}) + "\n" for n in range(6)))
    schema.write_text('{"type": "object"}')
    tools.write_text("- name: look_up\n  description: Finds it\n")
    cli.run("data", "import", str(rows), "--name", "faq")
    saved = cli.run(
        "prompt", "save", "p", "--text", "Sort {{ count }} of {{ message }}", "--system", "Be kind.", "--model", "m",
        "--set", "temperature=0.2", "--set", 'stop=["end"]', "--variable", "count:integer=3", "--schema", str(schema),
        "--tools", str(tools), "--examples", "faq@1", "--examples-row", "4", "--examples-variable", "message",
    )  # fmt: skip
    held = saved["settings"]
    examples = held.pop("examples")
    assert len(examples.pop("turns_sha256")) == 64
    assert examples == {
        "dataset": "faq@1",
        "sha256": cli.run("data", "show", "faq@1")["sha256"],
        "rows": [4],
        "question": "prompt",
        "answer": "completion",
        "variable": "message",
        "turns": [{"question": "q4", "answer": "a4"}],
    }
    assert held == {
        "model": "m",
        "parameters": {"temperature": 0.2, "stop": ["end"]},
        "variables": {"count": {"type": "integer", "default": 3}},
        "schema": {"type": "object"},
        "tools": [{"name": "look_up", "description": "Finds it"}],
    }
    # What is not named stays, and so does the text; a part that is named empty goes.
    again = cli.run("prompt", "save", "p", "--set", "temperature=", "--set", "seed=3", "--examples", "", "--model", "")
    assert again["version"] == 2
    left = {name: part for name, part in held.items() if name != "model"}
    assert again["settings"] == {**left, "parameters": {"seed": 3, "stop": ["end"]}}
    assert cli.run("prompt", "show", "p@2")["system"] == "Be kind."
    shown = llmops("prompt", "show", "p@1", workspace=cli.workspace).stdout
    assert "── settings ──\nmodel: m\n" in shown
    differs = llmops("prompt", "diff", "p@1", "p@2", workspace=cli.workspace).stdout
    assert "── settings ──" in differs
    assert "seed" in differs
    plain = cli.run("prompt", "save", "p", "--text", "Sort {{ message }}, {{ count }}", "--no-settings")
    assert cli.run("prompt", "show", "p@3")["system"] == "Be kind."
    assert (plain["version"], "settings" in plain) == (3, False)
    assert "temperature 0.2" in llmops("prompt", "log", "p", workspace=cli.workspace).stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "heat=1"], "parameters.heat"),
        (["--set", "heat"], "NAME=VALUE"),
        (["--examples-count", "3"], "needs --examples"),
        (["--no-settings", "--settings", "x"], "exclude each other"),
        (["--schema", "nowhere.json"], "cannot read nowhere.json"),
        (["--examples", "nothing@1"], "no dataset 'nothing'"),
    ],
)
def test_what_cannot_be_held_is_refused(workspace: Workspace, arguments: list[str], told: str) -> None:
    done = llmops("prompt", "save", "p", "--text", "a", *arguments, workspace=workspace)
    assert done.returncode != 0
    assert told in done.stderr


def test_a_variable_that_no_text_has_is_refused_by_name() -> None:
    renderer: Any = SimpleNamespace(variables=lambda text: re.findall(r"{{ (\w+) }}", text))
    prompts: Any = [
        SimpleNamespace(system="Of {{ shop }}", template="{{ message }}"),
        SimpleNamespace(system="", template="{{ count }}"),
    ]
    refuse_unknown({"shop": "a", "count": "3"}, prompts, "p@1, p@2", renderer)
    with pytest.raises(InputRefusedError, match=r"--var cuont: p@1, p@2 has no variable of this name") as caught:
        refuse_unknown({"cuont": "4"}, prompts, "p@1, p@2", renderer)
    assert caught.value.hint == "It has: shop, message, count."


def test_an_answer_without_a_token_has_figures() -> None:
    answered: Any = {
        "usage": {"completion_tokens": 0},
        "timing": {"ttft_ms": None, "total_ms": 3.0, "tokens_per_s": None},
        "finish_reason": "length",
    }
    assert figures_told(answered) == "0 tokens, length"
    answered |= {"usage": {"completion_tokens": 2}, "timing": {"ttft_ms": 12.4, "tokens_per_s": 80.2}}
    assert figures_told(answered) == "2 tokens, first after 12 ms, 80 tokens/s, length"
