from __future__ import annotations

import base64
from pathlib import Path

import pytest

from llmops_tui import clipboard


def test_the_sequence_carries_the_text_and_is_wrapped_for_tmux() -> None:
    text = "Grüße\x1b]0;x\x07"
    plain = clipboard.osc52(text, in_tmux=False)
    payload = plain.removeprefix("\x1b]52;c;").removesuffix("\x07")
    assert base64.b64decode(payload).decode() == text
    wrapped = clipboard.osc52(text, in_tmux=True)
    assert wrapped == "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\"


def test_the_message_tells_which_way_it_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    file = tmp_path / "clipboard.txt"
    monkeypatch.setenv("PATH", "")
    message = clipboard.copy("abc", sent.append, file)
    assert "OSC 52" in message
    assert "may ignore it" in message
    assert len(sent) == 1
    assert not file.exists()
    message = clipboard.copy("abc", None, file)
    assert str(file) in message
    assert file.read_text() == "abc"
    assert file.stat().st_mode & 0o077 == 0


def test_a_text_too_long_for_terminals_goes_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setenv("PATH", "")
    message = clipboard.copy("x" * 80_000, sent.append, tmp_path / "clipboard.txt")
    assert sent == []
    assert "written to" in message


def test_a_local_tool_is_used_where_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "xclip"
    tool.write_text(f"#!/bin/sh\ncat > {tmp_path}/got\n")
    tool.chmod(0o755)
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "copied with xclip" in clipboard.copy("abc", None, tmp_path / "file")
    assert (tmp_path / "got").read_text() == "abc"
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert "written to" in clipboard.copy("abc", None, tmp_path / "file")


def fake_tmux(folder: Path, script: str) -> None:
    tool = folder / "tmux"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "[ $1 = load-buffer ] && cat > {got}; [ $1 = show-options ] && echo external; exit 0",
            "handed on to the terminal",
        ),
        ("[ $1 = load-buffer ] && cat > {got}; [ $1 = show-options ] && echo off; exit 0", "set-clipboard is off"),
        # Before 3.2 there is no -w.
        ("[ $1 = load-buffer ] && [ $2 != -w ] && cat > {got} && exit 0; exit 1", "in tmux's buffer"),
    ],
)
def test_inside_tmux_the_text_is_given_to_tmux(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    fake_tmux(tmp_path, script.format(got=tmp_path / "got"))
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    sent: list[str] = []
    assert message in clipboard.copy("abc", sent.append, tmp_path / "clipboard.txt")
    assert (tmp_path / "got").read_text() == "abc"
    assert sent == []
    assert not (tmp_path / "clipboard.txt").exists()


def test_where_tmux_does_not_answer_the_text_is_in_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tmux(tmp_path, "exit 1")
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    sent: list[str] = []
    message = clipboard.copy("abc", sent.append, tmp_path / "clipboard.txt")
    assert "may ignore it" in message
    assert "written to" in message
    assert sent == [clipboard.osc52("abc", in_tmux=True)]
