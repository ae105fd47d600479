"""Paths are completed by what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from screens.widgets.path_suggester import completed


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("fa", "faq.jsonl"),
        ("faq.jsonl", None),
        ("sub", "subfolder/"),
        ("subfolder/", "subfolder/inner.csv"),
        ("subfolder/x", None),
        (".h", ".hidden"),
        ("~/f", "~/faq.jsonl"),
        ("~nobody-of-this-name/f", None),
        ("gone/f", None),
        ("bad", None),
        ("a\0b/", None),
        ("", None),
        ("   ", None),
    ],
)
def test_a_path_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, found: str | None) -> None:
    (tmp_path / "subfolder").mkdir()
    for name in ("faq.jsonl", "subfolder/inner.csv", ".hidden", "bad\x1b[31m.csv"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert completed(typed) == found
