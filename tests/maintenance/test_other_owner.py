"""A workspace of another user: told in one line what cannot be read, and nothing is written by whoever looks."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import trust, untrusted_reason
from tests.maintenance.forked_cli import NO_RIGHTS, ForkedCommands
from tests.maintenance.test_read_only import contents

OWNER = 65_534
LOOKS = (
    ("data", "list"), ("data", "head", "triage"), ("prompt", "list"), ("model", "list"), ("job", "list"), ("traces", "list"),
    ("eval", "list"), ("train", "list"), ("sql", "SELECT count(*) AS n FROM requests"), ("monitor", "alerts"), ("gc",), ("check",),
    ("trust",), ("doctor",), ("backup", "{out}"),
)  # fmt: skip
CHANGES = (
    ("prompt", "save", "p", "--text", "x"),
    ("traces", "feedback", "run_000003", "--score", "up"),
    ("gc", "--yes"),
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")


@pytest.fixture
def theirs(lived: Workspace) -> Iterator[Workspace]:
    """A workspace whose owner is somebody else, in a folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o711)
        root = Path(base) / "ws"
        shutil.copytree(lived.root, root)
        for path in (root, *root.rglob("*")):
            os.chown(path, OWNER, OWNER)
        yield Workspace(root)


@pytest.fixture(scope="module")
def root_commands() -> Iterator[ForkedCommands]:
    commands = ForkedCommands()
    yield commands
    commands.close()


@pytest.fixture(scope="module")
def powerless_commands() -> Iterator[ForkedCommands]:
    """Those of root without its rights."""
    commands = ForkedCommands(NO_RIGHTS)
    yield commands
    commands.close()


def look_at(workspace: Workspace, commands: ForkedCommands, *arguments: str) -> tuple[int | None, str]:
    given = [one.replace("{out}", str(workspace.root.parent / "b.tar")) for one in arguments]
    done = commands.run("--workspace", str(workspace.root), *given, environment=os.environ)
    assert "internal error:" not in done.errors + done.output, (arguments, done.errors)
    assert "Traceback" not in done.errors, (arguments, done.errors)
    if done.code and arguments[0] not in {"check", "doctor"}:
        assert len([line for line in done.errors.splitlines() if line.startswith("llmops: ")]) == 1, (arguments, done)
    return done.code, done.errors


@pytest.mark.slow
def test_root_looks_and_leaves_nothing(theirs: Workspace, root_commands: ForkedCommands) -> None:
    commands = root_commands
    before = contents(theirs.root)
    assert "belongs to another user" in untrusted_reason(theirs)
    for arguments in LOOKS:
        code, told = look_at(theirs, commands, *arguments)
        assert code == 0 or arguments[0] == "doctor", (arguments, told)
    for arguments in CHANGES:
        code, told = look_at(theirs, commands, *arguments)
        assert code == 3, (arguments, told)
        assert "is read-only: it belongs to another user" in told
        assert "llmops trust" in told
    assert contents(theirs.root) == before
    # Whoever trusts it says that it is theirs as well.
    (theirs.root / "api-key").unlink(missing_ok=True)
    trust(theirs)
    assert look_at(theirs, commands, *CHANGES[0])[0] == 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="root reads everything, and nothing gives that right away")
@pytest.mark.parametrize("mode", [0o755, *(pytest.param(mode, marks=pytest.mark.slow) for mode in (0o777, 0o700))])
def test_a_third_user_is_told_what_is_closed(theirs: Workspace, mode: int, powerless_commands: ForkedCommands) -> None:
    """Root without its rights is to the kernel one who is neither the owner nor of its group."""
    theirs.root.chmod(mode)
    commands = powerless_commands
    before = contents(theirs.root)
    for arguments in (*LOOKS, *CHANGES):
        code, told = look_at(theirs, commands, *arguments)
        assert code not in {0, None} or arguments[0] == "doctor", (arguments, told)
        if arguments[0] != "doctor":
            assert str(theirs.root) in told
            assert "Permission denied" in told
    assert contents(theirs.root) == before
