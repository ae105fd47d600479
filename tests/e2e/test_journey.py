from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.prompts.drafts import Drafts
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.e2e.conftest import OpenTerminal
from tests.e2e.terminal import Terminal
from tests.fakes import FakeModelServer
from tests.waiting import may_wait, wait_for


def test_open_the_demo_run_edit_run_compare_go_back_and_quit(terminal: OpenTerminal, tmp_path: Path) -> None:
    app = terminal("demo", "--dir", str(tmp_path / "demo"))
    workspace = Workspace(tmp_path / "demo" / ".llmops")
    try:
        app.wait("{{ question }}")
        app.wait("support-base Q8_0")
        app.press("f5")
        app.wait("We are open Monday to Saturday")
        app.wait("tok/s")
        app.press("end", " Please", ".")
        app.wait("@3 draft")
        app.press("ctrl+r")
        app.wait(lambda text: "@3 draft" not in text and "support @3" in text)
        app.wait("Runs  @3 · 1")
        app.press("f3")
        app.wait("Compare support@3 with")
        app.press("enter")
        app.wait("words or tokens")
        app.press("t")
        app.wait("tokens with support-base")
        app.leave("tokens with")
        app.jump("v", "Versions")
        app.press("down", "enter")
        app.wait("support @2")
        app.wait(lambda text: "{{ question }} Please." not in text)
        app.press("ctrl+q")
        assert app.finish() == 0
        # DuckDB tells what is left of it when the interpreter ends.
        assert "leaked" not in app.text
        assert app.unchanged()
        store = PromptStore(Catalog(workspace))
        assert [v.number for v in store.versions("support")] == [3, 2, 1]
    finally:
        supervisor = ServerSupervisor(workspace)
        for handle in supervisor.running():
            supervisor.stop(handle.model)


@pytest.mark.slow
def test_a_model_server_that_is_killed_is_started_again_by_the_next_run(
    terminal: OpenTerminal, sample: Workspace
) -> None:
    app = terminal()
    app.wait("{{ question }}")
    app.wait("support-base Q8_0")
    app.press("f5")
    app.wait("We are open Monday to Saturday")
    app.wait("tok/s")
    supervisor = ServerSupervisor(sample)
    (before,) = supervisor.running()
    before.process.send(signal.SIGKILL)
    app.press("f5")
    app.wait("Runs  @2 · 2")
    (after,) = supervisor.running()
    assert after.process != before.process
    assert "We are open Monday to Saturday" in app.text
    app.press("ctrl+q")
    assert app.finish() == 0


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGHUP, signal.SIGINT))],
)
def test_a_signal_leaves_the_terminal_as_it_was(
    terminal: OpenTerminal, found_server: FakeModelServer, number: int
) -> None:
    found_server.gated = True
    app = terminal()
    app.wait("{{ question }}")
    app.wait("support-base Q8_0")
    app.press("f5")
    found_server.release(2)
    app.wait("Hello")
    os.kill(app.child.pid, number)
    assert app.finish() == 128 + number
    assert app.unchanged(), app.left_on()


@pytest.mark.slow
def test_a_crash_leaves_the_terminal_as_it_was(sample: Workspace, tmp_path: Path) -> None:
    code = tmp_path / "crash.py"
    code.write_text(
        "import sys\n"
        "from screens.playground.screen import PlaygroundScreen\n"
        "def crash(self): raise ValueError('a bug')\n"
        "PlaygroundScreen.action_run = crash\n"
        "from llmops_tui.cli.main import run\n"
        f"sys.exit(run(['--workspace', {str(sample.root)!r}]))\n"
    )
    app = Terminal(script=code)
    app.wait("{{ question }}")
    app.press("f5")
    assert app.finish() == 1
    assert app.unchanged(), app.left_on()
    assert b"ended with an error" in app.raw
    assert "a bug" in (sample.logs / "native.log").read_text()


@pytest.mark.slow
def test_what_native_code_prints_never_reaches_the_screen(sample: Workspace, tmp_path: Path) -> None:
    code = tmp_path / "noisy.py"
    code.write_text(
        "import os, sys\n"
        "from screens.playground.screen import PlaygroundScreen\n"
        "def noisy(self):\n"
        "    os.write(1, b'NOISE-ONE'); os.write(2, b'NOISE-TWO'); os.system('echo NOISE-THREE >&2')\n"
        "    self.app.say('printed')\n"
        "PlaygroundScreen.action_run = noisy\n"
        "from llmops_tui.cli.main import run\n"
        f"sys.exit(run(['--workspace', {str(sample.root)!r}]))\n"
    )
    app = Terminal(script=code)
    app.wait("{{ question }}")
    app.press("f5")
    app.wait("printed")
    app.press("ctrl+q")
    app.finish()
    assert b"NOISE" not in app.raw
    assert (sample.logs / "native.log").read_text().count("NOISE") == 3


@pytest.mark.slow
def test_the_terminal_that_goes_away_ends_the_app_and_keeps_the_draft(
    terminal: OpenTerminal, sample: Workspace, found_server: FakeModelServer
) -> None:
    from llmops_tui.prompts.drafts import Drafts
    from llmops_tui.workspace.event_log import EventLog

    app = terminal()
    app.wait("{{ question }}")
    app.press("typed")
    app.wait("typed{{ question }}")
    app.vanish()
    wait_for(lambda: not app.child.isalive())
    draft = Drafts(EventLog(sample)).load("support")
    assert draft is not None
    assert draft.template == "typed{{ question }}"


@pytest.mark.slow
def test_a_kill_keeps_the_draft(terminal: OpenTerminal, sample: Workspace, found_server: FakeModelServer) -> None:
    drafts = Drafts(EventLog(sample))
    app = terminal()
    app.wait("{{ question }}")
    app.press("precious ")
    app.wait("precious {{ question }}")
    # A letter is drawn before the disk has it: milliseconds, but more on a busy machine.
    app.wait(lambda _text: (draft := drafts.load("support")) is not None and draft.template.startswith("precious {"))
    app.child.kill(signal.SIGKILL)
    app.finish()
    again = terminal()
    again.wait("precious {{ question }}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [
        {"TERM": "dumb", "LC_ALL": "C", "LANG": "C", "NO_COLOR": "1"},
        *(
            pytest.param(env, marks=pytest.mark.slow)
            for env in ({"TERM": "dumb"}, {"TERM": "vt100"}, {"NO_COLOR": "1"}, {"LC_ALL": "C", "LANG": "C"})
        ),
    ],
)
def test_poor_terminals_are_drawn_on(terminal: OpenTerminal, env: dict[str, str]) -> None:
    app = terminal(env=env)
    app.wait("{{ question }}")
    app.press("ctrl+q")
    assert app.finish() == 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_the_app_works_inside_tmux(sample: Workspace, found_server: FakeModelServer, tmp_path: Path) -> None:
    socket = ["tmux", "-S", str(tmp_path / "t"), "-f", "/dev/null"]

    def tmux(*arguments: str) -> str:
        return subprocess.run([*socket, *arguments], capture_output=True, text=True, check=True).stdout

    def wait(text: str) -> None:
        begun = time.monotonic()
        while text not in tmux("capture-pane", "-p"):
            assert may_wait(begun, 120), tmux("capture-pane", "-p")
            time.sleep(0.05)

    tmux("new-session", "-d", "-x", "120", "-y", "40", "env PS1=ready: sh")
    try:
        wait("ready:")
        tmux(
            "send-keys",
            f"stty -a > {tmp_path}/before; {sys.executable} -m llmops_tui --workspace {sample.root}",
            "Enter",
        )
        wait("{{ question }}")
        assert tmux("display", "-p", "#{alternate_on} #{mouse_any_flag}").split() == ["1", "1"]
        tmux("send-keys", "F5")
        wait("Hello world.")
        tmux("send-keys", "C-q")
        # The second prompt: the first one is on the screen as soon as the app leaves, when what is typed may be dropped.
        wait("\nready:")
        tmux("send-keys", f"stty -a > {tmp_path}/after; echo d''one", "Enter")
        wait("done")
        assert tmux("display", "-p", "#{alternate_on} #{mouse_any_flag} #{cursor_flag}").split() == ["0", "0", "1"]
        assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()
    finally:
        tmux("kill-server")


@pytest.mark.slow
def test_an_editor_that_cannot_be_started_leaves_the_screen_as_it_was(
    terminal: OpenTerminal, found_server: FakeModelServer
) -> None:
    app = terminal(env={"EDITOR": "/nowhere/editor"})
    app.wait("support-base")
    app.wait("{{ question }}")
    # Whether the screen comes back is to be seen only in what is drawn after it.
    app.press("\x05")
    app.wait("Set EDITOR")
    app.go("6", "of a core")
    app.press("e")
    app.wait("Set EDITOR")
    app.press("ctrl+q")
    assert app.finish() == 0
