"""What a process is called: of its command line only what an interpreter runs, since secrets may stand there."""

from __future__ import annotations

import pytest

from llmops_tui.hardware.processes import program_of


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/usr/bin/python3", "-m", "pytest", "-q"], "python3 -m pytest"), (["python3", "-u", "/a/train.py", "--key", "s"], "python3 train.py"),
        (["python3", "-W", "ignore", "-X", "dev", "x.py"], "python3 x.py"), (["python3", "-c", "password = 1"], "python3"),
        (["python3", "/srv/app/"], "python3 app"), (["python3", "-"], "python3"), (["python3"], "python3"), (["python3", "-m"], "python3 -m"), ([], "python3"),
    ],
)  # fmt: skip
def test_an_interpreter_is_called_by_what_it_runs_and_nothing_else_of_its_command_line(
    words: list[str], told: str
) -> None:
    assert program_of("python3", words) == told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["bash", "-lc", "export TOKEN=sk-abc; run"], "bash"), (["bash", "-ec", "curl https://x/y?key=SECRET"], "bash"), (["zsh", "-ic", "a/b"], "zsh"),
        (["bash", "-eo", "pipefail", "/ci/build.sh", "key"], "bash build.sh"), (["sh", "+x", "run.sh"], "sh run.sh"), (["bash", "-s", "sk-abc"], "bash"),
        (["bash", "--rcfile", "a", "b"], "bash"), (["bash", "https://x/y?key=S"], "bash"), (["bash"], "bash"),
        (["python3", "-Ic", "password='x'"], "python3"), (["python3", "-uc", "a"], "python3"), (["python3", "-mpytest", "x"], "python3 -m pytest"),
        (["python3", "-Im", "venv", "x"], "python3 -m venv"), (["python3", "-", "sk-abc"], "python3"), (["python3", "-Wignore", "a.py"], "python3 a.py"),
        (["python3", "-m", "a b"], "python3"), (["pypy3", "a.py"], "pypy3 a.py"), (["perl", "-pe", "s/a/secret/"], "perl"), (["perl", "-Ilib", "-w", "x.pl"], "perl x.pl"),
        (["node", "-p", "process.env.KEY"], "node"), (["node", "-pe", "1"], "node"), (["node", "--eval=1", "sk-abc"], "node"), (["node", "--env-file", ".env", "app.js"], "node"),
        (["node", "--env-file=.env", "-r", "x", "/srv/app.js"], "node app.js"), (["ruby", "-I", "lib", "x.rb"], "ruby x.rb"), (["ruby", "-ne", "puts"], "ruby"),
    ],
)  # fmt: skip
def test_what_a_program_s_text_or_an_unknown_option_says_is_kept_out(line: list[str], told: str) -> None:
    assert program_of(line[0], line) == told
