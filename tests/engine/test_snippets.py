"""The file of snippets and macros: what is read, refused, written and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.snippets import (
    LONGEST_TEXT,
    MOST,
    MOST_KEYS,
    Snippets,
    load_snippets,
    parse_snippets,
    save_snippets,
    word_before,
)
from tests.commands import llmops


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    kept = Snippets({"json": "Answer with\n\tJSON \"only\" — 'so' \\ ."}, {"check": ("2", "f5", "space", "ß")})
    path = tmp_path / "snippets.toml"
    assert load_snippets(path) == (Snippets(), [])
    assert save_snippets(kept, path) is None
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_snippets(path) == (kept, [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[snippets", "Expected"),
        ("snippets = 3", "[snippets] is no table"),
        ("[snipets]", "[snipets] is not known"),
        ('[snippets]\n"a b" = "x"', "a name is"),
        ("[snippets]\na = 3", "it is no text"),
        ('[snippets]\na = "\\u001b[2J"', "control characters"),
        (f'[snippets]\na = "{"x" * (LONGEST_TEXT + 1)}"', "20,000 are the most"),
        ('[macros]\na = "jk"', "no list of keys"),
        ("[macros]\na = []", "0 keys"),
        (f"[macros]\na = {['j'] * (MOST_KEYS + 1)}", "501 keys"),
    ],
)
def test_what_cannot_be_used_is_named_and_the_rest_is_used(text: str, told: str) -> None:
    assert any(told in problem for problem in parse_snippets(text)[1])
    good = '[snippets]\ngood = "yes"\n' if "[snippets]" not in text else 'good = "yes"\n'
    if text.startswith("[snippets]"):
        assert parse_snippets(text + "\n" + good)[0].texts == {"good": "yes"}


def test_a_file_with_comments_is_kept_beside(tmp_path: Path) -> None:
    path = tmp_path / "snippets.toml"
    path.write_text('# mine\n[snippets]\na = "x"\n')
    former = save_snippets(load_snippets(path)[0], path)
    assert former is not None
    assert former.read_text().startswith("# mine")


def test_no_more_are_kept_than_are_read(tmp_path: Path) -> None:
    many = Snippets({f"s{number}": "x" for number in range(MOST + 1)})
    with pytest.raises(InputRefusedError):
        save_snippets(many, tmp_path / "snippets.toml")


def test_the_word_before_the_cursor() -> None:
    assert [word_before(text) for text in ("as json", "json ", "", "(a-b", "né_1")] == ["json", "", "", "a-b", "né_1"]


def test_the_command_keeps_lists_and_forgets(sample: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    del sample
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert llmops("snippet", "add", "json", "-", stdin="JSON only.").returncode == 0
    assert "JSON only." in llmops("snippet", "list").stdout
    assert llmops("snippet", "add", "a b", "x").returncode != 0
    assert llmops("snippet", "remove", "json").returncode == 0
    assert llmops("snippet", "remove", "json").returncode != 0
    assert load_snippets(tmp_path / "llmops" / "snippets.toml") == (Snippets(), [])
