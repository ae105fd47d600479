"""What plugins may not do: break the app, hide another, take a built-in name, or be imported before they are wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.plugins import Plugins, made_of, only_one, subclass_of
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.plugin_packages import ROOT, put_example, put_package, use

GROUP = "llmops_tui.things"


class Thing:
    """What plugins of these tests are."""


MODULE = """
from tests.plugins.test_isolation import Thing
class Good(Thing): pass
class Dear(Thing):
    def __init__(self): raise RuntimeError("no\\nmemory")
"""


def things() -> Plugins[Thing]:
    return Plugins("things", made_of(Thing), lambda: {"built-in"})


def test_each_fails_by_itself_and_is_named_with_its_package_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = {
        "good": "made_here:Good", "dear": "made_here:Dear", "gone": "made_here:Nothing", "absent": "no_such_module:X",
        "other": "made_here:MODULES", "leaves": "leaving:X", "built-in": "made_here:Good", "bad name": "made_here:Good",
        "twice": "made_here:Good",
    }  # fmt: skip
    modules = {"made_here.py": MODULE + "MODULES = 3\n", "leaving.py": "print('loud')\nraise SystemExit(3)\n"}
    put_package(tmp_path / "site", "first", {GROUP: points}, modules)
    put_package(tmp_path / "site", "second", {GROUP: {"twice": "made_here:Good"}}, {}, "2.1")
    use(monkeypatch, tmp_path / "site")
    plugins = things()
    assert list(plugins.all()) == ["good"]
    assert isinstance(plugins.get("good"), Thing)
    told = {(p.name, p.package): p.problem for p in plugins.listed()}
    assert told.pop(("good", "first")) == ""
    assert told[("dear", "first")] == "RuntimeError: no memory"
    assert told[("gone", "first")].startswith("AttributeError")
    assert told[("absent", "first")].startswith("ModuleNotFoundError: No module named 'no_such_module'")
    assert "not a subclass of tests.plugins.test_isolation.Thing" in told[("other", "first")]
    assert told[("leaves", "first")] == "SystemExit: 3"
    assert "built in" in told[("built-in", "first")]
    assert "letters, digits" in told[("bad name", "first")]
    assert "second also has a plugin of this name" in told[("twice", "first")]
    assert "first also has a plugin of this name" in told[("twice", "second")]
    assert plugins.problem("twice").count("neither is used") == 2
    assert plugins.problem("good") == plugins.problem("nobody") == ""
    # What an import prints does not get among data.
    assert capsys.readouterr().out == ""


def test_what_a_plugin_raises_at_work_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_package(tmp_path / "site", "first", {GROUP: {"good": "made_here:Good"}}, {"made_here.py": MODULE}, "0.3")
    use(monkeypatch, tmp_path / "site")
    plugins = things()
    with (
        pytest.raises(LlmopsError, match=r"things plugin 'good' of first 0\.3: KeyError: 'x'"),
        plugins.at_work("good"),
    ):
        raise KeyError("x")
    with pytest.raises(InputRefusedError, match="as it is"), plugins.at_work("good"):
        raise InputRefusedError("refused", "as it is")
    with pytest.raises(ZeroDivisionError), plugins.at_work("good", ZeroDivisionError):
        raise ZeroDivisionError


def test_what_is_chosen_by_something_else_than_its_name_is_not_guessed() -> None:
    assert only_one([], "x") is None
    assert only_one(["a"], "x") == "a"
    with pytest.raises(InputRefusedError, match="files: the plugins a, b all handle it"):
        only_one(["b", "a"], "files")
    with pytest.raises(TypeError, match="not a subclass"):
        subclass_of(Thing)("x", int)


def test_nothing_of_a_plugin_is_imported_for_what_does_not_ask_for_its_kind(
    tmp_path: Path, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_example(tmp_path / "site")
    use(monkeypatch, tmp_path / "site")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import screens.app, screens.playground.screen\n"
        "from llmops_tui.workspace.layout import Workspace\n"
        "screens.app.LlmopsApp(Workspace(Path(sys.argv[1])))\n"
        "from llmops_tui.evaluation.metrics.registry import make_metric\n"
        "from llmops_tui.datasets.formats.readers import reader\n"
        "make_metric('exact'); reader('sharegpt')\n"
        "assert 'llmops_example_plugin' not in sys.modules\n"
        "make_metric({'type': 'python', 'entry': 'vowels'})\n"
        "assert sorted(m for m in sys.modules if m.startswith('llmops_example_plugin.')) == "
        "['llmops_example_plugin.metrics'], 'of another kind, too'\n"
    )
    folder = os.pathsep.join([str(tmp_path / "site"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code, str(sample.root)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": folder},
    )
    assert done.returncode == 0, done.stderr


def test_a_folder_of_a_workspace_or_the_working_folder_brings_no_code(
    tmp_path: Path, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = {"llmops_tui.metrics": {"evil": "evil:score"}}
    for place in (tmp_path / "here", sample.root):
        put_package(place, "evil", point, {"evil.py": "open('it-ran', 'w')\ndef score(a, b, c): return 1\n"})
    monkeypatch.chdir(tmp_path / "here")
    listed = Llmops(sample)
    # As the installed command starts: the folder it is called in is not on the path.
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert listed.run("plugin", "list") == {"plugins": []}
    assert not (tmp_path / "here" / "it-ran").exists()


def test_broken_ones_are_told_by_the_list_and_by_doctor_and_the_rest_works(
    tmp_path: Path, sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_example(tmp_path / "site")
    broken = {f"llmops_tui.{kind}": {"broken": "no_such:X"} for kind in ("metrics", "formats", "checks", "themes")}
    put_package(tmp_path / "site", "half-made", broken, {}, "0.1")
    use(monkeypatch, tmp_path / "site")
    llmops = Llmops(sample)
    listed = llmops.run("plugin", "list", code=1)["plugins"]
    assert sum(p["problem"] == "" for p in listed) == 9
    assert {(p["kind"], p["package"]) for p in listed if p["problem"]} == {
        (kind, "half-made") for kind in ("metrics", "formats", "checks", "themes")
    }
    assert all("No module named 'no_such'" in p["problem"] for p in listed if p["problem"])
    assert [p["name"] for p in llmops.run("plugin", "list", "--kind", "judges")["plugins"]] == ["shorter"]
    assert llmops.run("plugin", "list", "--kind", "toys", code=3)["error"]["code"] == "unknown_kind"

    from llmops_tui.doctor import _plugins

    found = _plugins(sample)
    assert [c.state for c in found] == ["warn"] * 4 + ["ok"]
    assert "checks plugin 'broken' of half-made 0.1: ModuleNotFoundError" in found[2].finding
    assert "judges shorter of llmops-example-plugin" in found[-1].finding
