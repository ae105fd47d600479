"""Prompts and the files of a folder: what changed on one side reaches the other, and no text of either is ever lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from llmops_tui.cli.options import Globals
from llmops_tui.cli.output import Session
from llmops_tui.cli.prompt_sync import _watch
from llmops_tui.errors import InputRefusedError, Interrupted, LlmopsError, NotFoundError
from llmops_tui.prompts.folder import ENDING, PromptFolder, file_text, parse_file
from llmops_tui.prompts.store import PromptStore, content_hash
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked
from llmops_tui.workspace.marker import make_workspace

TEXTS = st.text(st.characters(codec="utf-8"), max_size=80)


@pytest.fixture
def store(catalog: Catalog) -> PromptStore:
    return PromptStore(catalog)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "prompts"
    made.mkdir()
    return made


def opened(folder: Path, store: PromptStore) -> PromptFolder:
    return PromptFolder(folder, store, EventLog(store._catalog.workspace))


def told(changes: list) -> dict[str, tuple[str, int | None]]:  # type: ignore[type-arg]
    return {change.prompt: (change.what, change.version) for change in changes}


def write(folder: Path, name: str, template: str, system: str = "") -> None:
    (folder / f"{name}{ENDING}").write_text(file_text(system, template), encoding="utf-8")


def remove(catalog: Catalog, name: str) -> None:
    for table, column in (("prompt_versions", "prompt"), ("prompts", "name")):
        catalog.write(
            lambda connection, sql=f"DELETE FROM {table} WHERE {column} = ?": connection.execute(sql, [name])  # type: ignore[misc]
        )


def text_of(folder: Path, name: str) -> str:
    return parse_file((folder / f"{name}{ENDING}").read_bytes())[1]


@given(TEXTS, TEXTS)
def test_a_file_says_the_very_text(system: str, template: str) -> None:
    text = file_text(system, template)
    assert yaml.safe_load(text) == {"system": system, "template": template}
    if system.strip() or template.strip():
        assert parse_file(text.encode()) == (system, template, "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it holds no fields"),
        ("- a", "it holds no fields"),
        ("template: a\ntemplate: b", 'in "the text", line 2'),
        ("template: &a [*a]", 'in "the text", line 1'),
        ("tempalte: a", "tempalte: "),
    ],
)
def test_a_file_that_is_no_prompts_is_refused_in_plain_words(text: str, told: str) -> None:
    with pytest.raises(InputRefusedError, match=told) as refused:
        parse_file(text.encode())
    assert "_File" not in refused.value.message
    assert "unicode string" not in refused.value.message


def test_lines_are_lines_in_the_file() -> None:
    assert (
        file_text("", "one\n  two: {{ x }}\nthree\n") == "system: ''\ntemplate: |\n  one\n    two: {{ x }}\n  three\n"
    )


def test_a_change_on_one_side_reaches_the_other(folder: Path, store: PromptStore) -> None:
    store.save("here", template="a")
    write(folder, "there", "b")
    assert told(opened(folder, store).sync()) == {"here": ("written", 1), "there": ("read", 1)}
    assert (text_of(folder, "here"), store.get("there").template) == ("a", "b")
    assert oct((folder / f"here{ENDING}").stat().st_mode)[-3:] == "644"
    write(folder, "here", "a2")
    store.save("there", template="b2")
    assert told(opened(folder, store).sync(dry_run=True)) == {"here": ("read", None), "there": ("written", 2)}
    assert told(opened(folder, store).sync()) == {"here": ("read", 2), "there": ("written", 2)}
    assert (store.get("here").template, text_of(folder, "there")) == ("a2", "b2")
    assert store.get("here").parent == 1
    assert told(opened(folder, store).sync()) == {"here": ("in step", 2), "there": ("in step", 2)}


def test_a_file_that_is_put_back_stands_on_the_older_version(folder: Path, store: PromptStore) -> None:
    store.save("p", template="a")
    opened(folder, store).sync()
    store.save("p", template="b")
    opened(folder, store).sync()
    write(folder, "p", "a")
    assert told(opened(folder, store).sync()) == {"p": ("read", 1)}
    assert told(opened(folder, store).sync()) == {"p": ("in step", 1)}
    store.save("p", template="c", parent=1)
    assert told(opened(folder, store).sync()) == {"p": ("written", 3)}


@pytest.mark.parametrize("take", ["folder", "workspace"])
def test_a_conflict_is_shown_and_whoever_decides_it_loses_nothing(folder: Path, store: PromptStore, take: str) -> None:
    store.save("p", template="a")
    opened(folder, store).sync()
    store.save("p", template="mine")
    write(folder, "p", "theirs")
    assert told(opened(folder, store).sync()) == {"p": ("conflict", 1)}
    assert (text_of(folder, "p"), store.get("p").template) == ("theirs", "mine")
    (change,) = opened(folder, store).sync(take=take)  # type: ignore[arg-type]
    assert change.what == ("read" if take == "folder" else "written")
    assert text_of(folder, "p") == ("theirs" if take == "folder" else "mine")
    assert {version.template for version in store.versions("p")} == {"a", "mine", "theirs"}
    assert told(opened(folder, store).sync()) == {"p": ("in step", change.version)}


def test_a_prompt_that_was_deleted_and_made_anew_is_not_in_step_by_its_number(
    folder: Path, store: PromptStore, catalog: Catalog
) -> None:
    store.save("p", template="a")
    opened(folder, store).sync()
    remove(catalog, "p")
    store.save("p", template="another")
    assert told(opened(folder, store).sync()) == {"p": ("written", 1)}
    assert text_of(folder, "p") == "another"
    remove(catalog, "p")
    store.save("p", template="a third")
    write(folder, "p", "edited")
    assert told(opened(folder, store).sync(take="folder")) == {"p": ("read", 2)}
    # The version that the file was edited from is gone; the one with its number is another.
    store.save("q", template="1")
    store.save("q", template="2")
    opened(folder, store).sync()
    remove(catalog, "q")
    store.save("q", template="new")
    write(folder, "q", "edited")
    opened(folder, store).sync(take="folder", only=["q"])
    assert store.versions("q")[0].parent == 1


def test_a_version_saved_while_a_file_is_written_is_not_taken_for_one_that_was_seen(
    folder: Path, store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save("p", template="a")
    write(folder, "q", "b")
    beside = PromptStore(store._catalog)
    saving = PromptStore.save

    def also_by_another(self: PromptStore, name: str, **texts: object) -> object:
        made = saving(self, name, **texts)  # type: ignore[arg-type]
        if self is store:
            saving(beside, name, template="late")
        return made

    def while_another_saves(path: Path, *rest: object, **named: object) -> None:
        write_atomic(path, *rest, **named)  # type: ignore[arg-type]
        saving(beside, "p", template="late")

    monkeypatch.setattr(PromptStore, "save", also_by_another)
    monkeypatch.setattr("llmops_tui.prompts.folder.write_atomic", while_another_saves)
    assert told(opened(folder, store).sync()) == {"p": ("written", 1), "q": ("read", 1)}
    monkeypatch.undo()
    assert told(opened(folder, store).sync()) == {"p": ("written", 2), "q": ("written", 2)}
    assert text_of(folder, "q") == "late"


def test_a_conflict_that_another_process_decided_is_none_any_more(folder: Path, store: PromptStore) -> None:
    store.save("p", template="a")
    watching = opened(folder, store)
    watching.sync()
    store.save("p", template="mine")
    write(folder, "p", "theirs")
    assert told(watching.sync()) == {"p": ("conflict", 1)}
    opened(folder, store).sync(take="workspace")
    assert told(watching.sync()) == {"p": ("in step", 2)}
    assert told(opened(folder, store).sync()) == {"p": ("in step", 2)}


def test_what_was_noted_otherwise_is_compared_anew(folder: Path, store: PromptStore) -> None:
    store.save("p", template="a")
    files = opened(folder, store)
    files.sync()
    log = EventLog(store._catalog.workspace)
    log.save_draft(files._key, {"folder": str(folder), "prompts": {"p": {"version": 1, "latest": 1}, "q": 3}})
    assert told(opened(folder, store).sync()) == {"p": ("in step", 1)}


def test_a_version_that_was_there_gets_no_note_of_a_file(folder: Path, store: PromptStore) -> None:
    store.save("p", template="a")
    store.save("p", template="b")
    opened(folder, store).sync()
    write(folder, "p", "a")
    opened(folder, store).sync()
    assert [version.note for version in store.versions("p")] == ["", ""]


def test_a_name_that_is_a_path_writes_nowhere(folder: Path, store: PromptStore, catalog: Catalog) -> None:
    store.save("p", template="a")
    catalog.write(lambda connection: connection.execute("UPDATE prompt_versions SET prompt = '../out'"))
    (change,) = opened(folder, store).sync(take="workspace")
    assert (change.what, change.prompt) == ("refused", "../out")
    assert not list(folder.parent.glob(f"*{ENDING}"))


def test_a_name_in_another_form_of_unicode_is_one_file(folder: Path, store: PromptStore) -> None:
    apart, whole = "cafe\u0301", "caf\u00e9"
    write(folder, apart, "a")
    assert told(opened(folder, store).sync()) == {whole: ("read", 1)}
    store.save(whole, template="b")
    assert told(opened(folder, store).sync()) == {whole: ("written", 2)}
    assert len(list(folder.iterdir())) == 1
    write(folder, whole, "c")
    if len(list(folder.iterdir())) == 2:
        (change,) = opened(folder, store).sync()
        assert change.what == "refused"
        assert "another form of Unicode" in change.detail


def test_line_ends_of_windows_are_no_change(folder: Path, store: PromptStore) -> None:
    store.save("p", template="one\ntwo\n", system="be kind\nalways")
    store.save("q", template="one\r\ntwo")
    opened(folder, store).sync()
    for path in folder.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert told(opened(folder, store).sync()) == {"p": ("in step", 1), "q": ("in step", 1)}


def test_a_folder_that_went_away_is_told(folder: Path, store: PromptStore) -> None:
    files = opened(folder, store)
    folder.rmdir()
    for look in (files.stamp, files.sync):
        with pytest.raises(LlmopsError, match="cannot be read: No such file"):
            look()


def test_two_do_not_sync_one_workspace_at_once(
    folder: Path, store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmops_tui.prompts.folder._LOCK_SECONDS", 0.0)
    with (
        locked(store._catalog.workspace.root / "prompt-sync.lock") as alone,
        pytest.raises(LlmopsError, match="another process syncs"),
    ):
        assert alone
        opened(folder, store).sync()
    assert opened(folder, store).sync() == []


def test_whoever_watches_takes_each_change_and_tells_a_state_once(
    folder: Path, store: PromptStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    syncing = PromptFolder.sync

    def edited_meanwhile(self: PromptFolder, **how: object) -> list:  # type: ignore[type-arg]
        changes = syncing(self, **how)  # type: ignore[arg-type]
        if not (folder / f"during{ENDING}").exists():
            write(folder, "during", "written while the files were read")
        return changes

    def replaced() -> None:
        # Of the same size and age.
        before = (folder / f"p{ENDING}").stat()
        (folder / "new").write_text(file_text("", "b"))
        os.utime(folder / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
        (folder / "new").replace(folder / f"p{ENDING}")

    def in_conflict() -> None:
        store.save("p", template="mine")
        write(folder, "p", "theirs")

    def nothing() -> None:
        pass

    steps = iter(
        [nothing, nothing, nothing, replaced, nothing, nothing, in_conflict, nothing, nothing,
         lambda: store.save("r", template="x"), nothing, nothing, nothing]
    )  # fmt: skip

    def next_step(_seconds: float) -> None:
        step = next(steps, None)
        if step is None:
            raise Interrupted
        step()

    monkeypatch.setattr(PromptFolder, "sync", edited_meanwhile)
    monkeypatch.setattr("llmops_tui.cli.prompt_sync.time.sleep", next_step)
    store.save("p", template="a")
    session = Session(Globals(workspace=str(store._catalog.workspace.root)))
    with pytest.raises(Interrupted):
        _watch(session, opened(folder, store), [])
    said = [line.split(":")[0].split() for line in capsys.readouterr().out.splitlines()]
    assert said == [
        ["written", "p@1"], ["read", "during@1"], ["read", "p@2"], ["conflict", "p@2"], ["written", "r@1"],
    ]  # fmt: skip


def test_what_was_never_in_step_and_differs_is_a_conflict(folder: Path, store: PromptStore) -> None:
    store.save("p", template="mine")
    write(folder, "p", "theirs")
    store.save("q", template="same")
    write(folder, "q", "same")
    assert told(opened(folder, store).sync()) == {"p": ("conflict", None), "q": ("in step", 1)}


def test_nothing_is_deleted_on_either_side(folder: Path, store: PromptStore, catalog: Catalog) -> None:
    for name in ("p", "q"):
        store.save(name, template=name)
    opened(folder, store).sync()
    (folder / f"p{ENDING}").unlink()
    remove(catalog, "q")
    assert told(opened(folder, store).sync()) == {"p": ("deleted there", None), "q": ("deleted here", None)}
    assert (store.get("p").template, text_of(folder, "q")) == ("p", "q")
    assert told(opened(folder, store).sync(take="workspace", only=["p"])) == {"p": ("written", 1)}
    assert told(opened(folder, store).sync(take="folder")) == {"p": ("in step", 1), "q": ("read", 1)}


def test_what_cannot_be_read_is_told_and_the_rest_goes_on(folder: Path, store: PromptStore, tmp_path: Path) -> None:
    (folder / f"bad{ENDING}").write_text("system: [1]\n")
    (folder / f"empty{ENDING}").write_text("template: ' '\n")
    (folder / f"more{ENDING}").write_text("template: a\ntools: []\n")
    (folder / f"latin{ENDING}").write_bytes(b"template: \xe9\n")
    (folder / f"-name{ENDING}").write_text("template: a\n")
    (folder / "README.md").write_text("not a prompt")
    (tmp_path / "else.yaml").write_text("template: a\n")
    (folder / f"link{ENDING}").symlink_to(tmp_path / "else.yaml")
    os.mkfifo(folder / f"pipe{ENDING}")
    write(folder, "good", "hello")
    store.save("bad", template="of the workspace")
    changes = opened(folder, store).sync()
    assert {change.prompt for change in changes if change.what == "refused"} == {
        "bad", "empty", "more", "latin", "-name", "link", "pipe",
    }  # fmt: skip
    assert told(changes)["good"] == ("read", 1)
    # A prompt whose file cannot be read is not written over.
    assert (folder / f"bad{ENDING}").read_text() == "system: [1]\n"
    with pytest.raises(NotFoundError):
        opened(folder, store).sync(only=["nobody"])
    with pytest.raises(InputRefusedError, match=r"there is no folder .*none"):
        opened(folder / "none", store)


def test_a_folder_that_cannot_be_written_is_told(
    folder: Path, store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save("p", template="a")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llmops_tui.prompts.folder.write_atomic", full)
    with pytest.raises(LlmopsError, match=r"p\.prompt\.yaml cannot be written: No space left"):
        opened(folder, store).sync()
    monkeypatch.undo()
    assert told(opened(folder, store).sync()) == {"p": ("written", 1)}


def test_a_file_that_is_larger_than_any_prompt_is_refused() -> None:
    with pytest.raises(InputRefusedError, match="larger than"):
        parse_file(b"x" * 3_000_000)


class BothSides(RuleBasedStateMachine):
    """Two that write on both sides, in any order: every text is kept as a version or stands in its file, and peace comes."""

    where: Path

    def __init__(self) -> None:
        super().__init__()
        self.root = self.where / str(len(list(self.where.iterdir())))
        self.root.mkdir()
        self.files = self.root / "prompts"
        self.files.mkdir()
        self.store = PromptStore(Catalog(make_workspace(Workspace(self.root / "ws"))))
        self.texts: set[str] = set()

    def folder(self) -> PromptFolder:
        return opened(self.files, self.store)

    @rule(name=st.sampled_from("pq"), text=st.sampled_from(["a", "b", "c", "d"]))
    def save(self, name: str, text: str) -> None:
        self.store.save(name, template=text)
        self.texts.add(name + text)

    @rule(name=st.sampled_from("pq"), text=st.sampled_from(["a", "b", "c", "d"]))
    def edit(self, name: str, text: str) -> None:
        # Whoever writes over a file that was not read loses their own text; that is not ours to keep.
        path = self.files / f"{name}{ENDING}"
        if path.exists() and name + text_of(self.files, name) not in self.kept():
            return
        write(self.files, name, text)
        self.texts.add(name + text)

    @rule(name=st.sampled_from("pq"))
    def remove(self, name: str) -> None:
        path = self.files / f"{name}{ENDING}"
        if path.exists() and name + text_of(self.files, name) in self.kept():
            path.unlink()

    @rule(take=st.sampled_from([None, "folder", "workspace"]))
    def sync(self, take: str | None) -> None:
        self.folder().sync(take=take)  # type: ignore[arg-type]
        again = self.folder().sync()
        expected = {"in step"} if take == "workspace" else {"in step", "conflict", "deleted there"}
        assert {change.what for change in again} <= expected
        for change in again:
            if change.what == "in step":
                version = self.store.get(f"{change.prompt}@{change.version}")
                assert content_hash("", text_of(self.files, change.prompt)) == version.sha256

    def kept(self) -> set[str]:
        return {
            one.name + version.template for one in self.store.summaries() for version in self.store.versions(one.name)
        }

    @invariant()
    def nothing_is_lost(self) -> None:
        there = {path.name[0] + text_of(self.files, path.name[0]) for path in self.files.glob(f"*{ENDING}")}
        assert self.texts <= self.kept() | there


@pytest.mark.slow
def test_whatever_two_sides_do_no_text_is_lost(tmp_path: Path) -> None:
    BothSides.where = tmp_path
    run_state_machine_as_test(
        BothSides,
        settings=settings(
            max_examples=60, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
