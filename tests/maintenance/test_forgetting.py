"""Forgetting a person: found in all places, gone from every byte, all else as it was, and again after a restore."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.labelling import Labelling, Task
from llmops_tui.datasets.operations.base import apply
from llmops_tui.datasets.privacy.replacement import Key
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.answer_settings import read_settings
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.erasure_ledger import Ledger, ledger_folder
from llmops_tui.maintenance.forgetting import erase
from llmops_tui.maintenance.forgetting.erase import forget, forget_again, resume
from llmops_tui.maintenance.forgetting.plan import find_person
from llmops_tui.maintenance.forgetting.pseudonyms import with_pseudonyms
from llmops_tui.maintenance.forgetting.told import erasure_lines, plan_lines
from llmops_tui.maintenance.lineage import trace_lineage
from llmops_tui.maintenance.privacy_report import as_markdown, make_report
from llmops_tui.maintenance.restore import restore
from llmops_tui.privacy.person import Person
from llmops_tui.prompts.folder import PromptFolder
from llmops_tui.prompts.store import PromptStore
from llmops_tui.prompts.store import content_hash as prompt_hash
from llmops_tui.settings import Settings
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from llmops_tui.workspace.notices import read_notices
from llmops_tui.workspace.trust import trust
from tests.maintenance.person_everywhere import ID, NAMED, PERSON, ROWS, bytes_left, spread


@pytest.fixture(scope="module")
def spread_once(tmp_path_factory: pytest.TempPathFactory, migrated_once: Path) -> Path:
    folder = tmp_path_factory.mktemp("spread")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        workspace = make_workspace(Workspace(folder / "ws"))
        shutil.copy(migrated_once, workspace.catalog)
        spread(workspace, folder)
    return workspace.root


@pytest.fixture
def everywhere(workspace: Workspace, spread_once: Path) -> Workspace:
    shutil.rmtree(workspace.root)
    shutil.copytree(spread_once, workspace.root)
    trust(workspace)
    return workspace


@pytest.mark.slow
def test_all_is_found_and_nothing_is_changed_by_looking(everywhere: Workspace) -> None:
    plan = find_person(everywhere, PERSON)
    assert plan.counts == {
        "traces": 3, "feedback": 1, "prompts": 2, "evaluation suites": 1, "saved views of datasets": 1,
        "reports on datasets": 1, "notes and recipes of datasets": 1, "training recipes": 1, "rows of datasets": 6,
        "rejected records of imports": 1, "drafts and open texts of the app": 2, "records of jobs": 2,
        "cached answers": 1, "history.db, table later": 1, "files": 9,
    }  # fmt: skip
    assert plan.in_the_way == ()


def test_what_is_forgotten_is_in_no_byte_and_all_else_stays(everywhere: Workspace) -> None:
    store = DatasetStore(Catalog(everywhere))
    before = [row for batch in store.get("chats@1").read() for _, row in batch]
    untouched = store.get("without").sha256
    old = store.get("chats@1").sha256
    assert bytes_left(everywhere.root)
    done = forget(everywhere, PERSON, "remove")
    assert done is not None
    assert done["receipt"] is not None
    assert done["receipt"]["searched"]["left"] == []
    assert bytes_left(everywhere.root) == []

    first = store.get("chats@gold")
    assert first.ref == "chats@1"
    assert [row for batch in first.read() for _, row in batch] == [r for n, r in enumerate(before) if n not in NAMED]
    assert (first.rows, first.rejected) == (ROWS - len(NAMED), 0)
    assert store.get("without").sha256 == untouched
    labelling = Labelling(store, first, Task.make("tone", "classify", ("good", "bad")), "me")
    # Rows 1, 2, 6 and 8 were labelled; 2 went, and two or three rows before the others.
    assert labelling.own_labels() == {1: "good", 4: "bad", 5: "good"}
    prompts = PromptStore(Catalog(everywhere))
    assert [v.template for v in prompts.versions("ask")] == [
        "You know nobody. {{ x }}", "You know [EMAIL]. {{ x }}", "You know [NAME]. {{ x }}",
    ]  # fmt: skip
    assert prompts.get("ask@production").number == 1
    left = TraceStore(Catalog(everywhere), EventLog(everywhere)).page(TraceFilter(), 10)[0]
    assert [line.id for line in left] == ["run_000003", "run_000001"]
    run = EvaluationStore(everywhere).get("s-1")
    assert "[PHONE]" in run.results.read_text()
    assert "said [NAME]" in (everywhere.logs / "app.log").read_text()
    uploaded = next(everywhere.root.glob("files/*.jsonl")).read_text()
    assert json.loads(uploaded) == {"custom_id": "[ID]", "body": {"phone": "[PHONE]", "text": "[NAME]"}}

    stones = {stone: one for stone, one in done["remade"].items() if one["kind"] == "dataset"}
    assert {ref for one in stones.values() for ref in one["refs"]} == {"chats@1", "chats@2"}
    assert first.sha256 in {one["now"] for one in stones.values()}
    assert old not in "".join(path.read_text(errors="replace") for path in [everywhere.root / "erasures.json"])
    [(_, pinned)] = RunStore(everywhere).get("tune-1").data
    assert pinned in stones
    assert done["trained"] == ["tune-1"]
    report = check(everywhere)
    assert report.errors == []


@pytest.mark.slow
def test_marks_take_the_place_where_rows_are_to_stay(everywhere: Workspace) -> None:
    store = DatasetStore(Catalog(everywhere))
    done = forget(everywhere, PERSON, "redact")
    assert done is not None
    assert bytes_left(everywhere.root) == []
    rows = [row for batch in store.get("chats@1").read() for _, row in batch]
    assert len(rows) == ROWS
    assert rows[2]["messages"][0]["content"] == "I am [NAME]. 2"
    assert json.loads(rows[2]["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {"who": "[NAME]"}
    assert rows[5]["messages"][0]["content"] == "call [PHONE] 5"
    assert rows[7]["messages"][0]["content"] == "mail [EMAIL] 7"
    labelling = Labelling(store, store.get("chats@1"), Task.make("tone", "classify", ("good", "bad")), "me")
    assert labelling.own_labels() == {1: "good", 2: "good", 6: "bad", 8: "good"}
    assert TraceStore(Catalog(everywhere), EventLog(everywhere)).page(TraceFilter(), 10)[1] == 6
    assert check(everywhere).errors == []


@pytest.mark.slow
def test_who_is_nowhere_leaves_no_trace_in_the_ledger(everywhere: Workspace) -> None:
    forget(everywhere, PERSON, "remove")
    assert forget(everywhere, PERSON, "remove") is None
    assert len(Ledger(everywhere).all()) == 1
    assert resume(everywhere) == []
    assert ID not in (everywhere.root / "erasures.json").read_text()


@pytest.mark.slow
def test_a_restore_forgets_again_before_anybody_sees_it(everywhere: Workspace, tmp_path: Path) -> None:
    backup(everywhere, tmp_path / "old.tar")
    done = forget(everywhere, PERSON, "remove")
    assert done is not None
    restore(tmp_path / "old.tar", everywhere)
    assert bytes_left(everywhere.root) == []
    [erasure] = Ledger(everywhere).all()
    assert erasure["id"] == done["id"]
    assert [again["searched"]["left"] for again in erasure["again"]] == [[]]
    assert DatasetStore(Catalog(everywhere)).get("chats@1").rows == ROWS - len(NAMED)
    assert check(everywhere).errors == []


@pytest.mark.slow
def test_a_restore_without_the_key_says_so(everywhere: Workspace, tmp_path: Path) -> None:
    backup(everywhere, tmp_path / "old.tar")
    forget(everywhere, PERSON, "remove")
    (ledger_folder() / "key").unlink()
    restore(tmp_path / "old.tar", everywhere)
    assert "its key" in read_notices(everywhere)[-1][1]
    assert bytes_left(everywhere.root)


def test_what_is_named_after_the_person_or_at_work_is_told_and_nothing_is_done(everywhere: Workspace) -> None:
    DatasetStore(Catalog(everywhere)).tag("without", "zoe-aergerlich")
    named = Person.read(["Zoe Aergerlich"])
    with pytest.raises(InputRefusedError, match="llmops data tag without zoe-aergerlich --remove"):
        forget(everywhere, named, "remove")
    assert Ledger(everywhere).all() == []


def test_models_that_learned_from_it_are_told_with_remedies_and_cost(everywhere: Workspace) -> None:
    [trained] = find_person(everywhere, PERSON).trained
    assert (trained["run"], trained["rows"], trained["models"]) == ("tune-1", 3, ["tune-1"])
    again = trained["remedies"][0]
    # Sixty seconds for twelve rows, of which nine are left.
    assert (again["command"], again["seconds"], again["exact"]) == ("llmops train start tune", 45.0, True)


@pytest.mark.slow
def test_lineage_leads_to_the_tombstone(everywhere: Workspace) -> None:
    forget(everywhere, PERSON, "remove")
    lineage = trace_lineage(Catalog(everywhere), EventLog(everywhere), "chats@1")
    [stone] = lineage.sources.children
    assert (stone.kind, stone.how, stone.name.startswith("chats@1 as before er_")) == ("erased", "forget", True)


def test_pseudonymised_rows_are_found_with_the_key(workspace: Workspace, catalog: Catalog, tmp_path: Path) -> None:
    store = DatasetStore(catalog)
    (tmp_path / "mail.jsonl").write_text('{"text": "write to anna@kunde.example"}\n{"text": "nothing"}\n')
    import_now(store, [tmp_path / "mail.jsonl"], "mail", "tabular")
    made = apply(store, "pseudonymise", ["mail"], {"key": str(tmp_path / "key")}, name="safe")
    key = Key.load(tmp_path / "key")
    person = with_pseudonyms(workspace, Person.read(["anna@kunde.example"]), key)
    assert [one.kind for one in person.identifiers] == ["email", "pseudonym"]
    without = find_person(workspace, Person.read(["anna@kunde.example"])).staying
    assert [text for text in without if f"pseudonymised with the key {key.id}" in text and "--key" in text]
    assert not any("pseudonymised with" in text for text in find_person(workspace, person).staying)
    forget(workspace, person, "remove")
    assert store.get(made.ref).rows == 1
    [vault] = (workspace.datasets / "vaults" / key.id).glob("*.json")
    assert json.loads(vault.read_text()) == {}


@pytest.mark.slow
def test_lines_for_people_name_nobody(everywhere: Workspace) -> None:
    plan = find_person(everywhere, PERSON).as_dict()
    shown = "\n".join(plan_lines(plan)[1:])
    assert not PERSON.named_in(shown)
    done = forget(everywhere, PERSON, "remove")
    assert done is not None
    assert not PERSON.named_in("\n".join(erasure_lines(done)))
    report = make_report(everywhere, Settings(retention="traces 90d; datasets 2y where is:untagged"))
    text = as_markdown(report)
    assert not PERSON.named_in(text)
    assert "| dataset chats@2 |" in text
    assert f"- {done['id']}, " in text
    assert "`traces 90d`" in text
    traces = next(place for place in report["places"] if place["place"] == "traces")
    assert (traces["things"], traces["retention"]) == (2, "traces 90d")


# ── the same in small ──

SHORT = "Zwiebelinde Turmuhr"


@pytest.fixture
def small(workspace: Workspace, catalog: Catalog, tmp_path: Path) -> Workspace:
    """A dataset and a prompt that name somebody."""
    (tmp_path / "in.jsonl").write_text(f'{{"text": "by {SHORT}"}}\n{{"text": "other"}}\n')
    import_now(DatasetStore(catalog), [tmp_path / "in.jsonl"], "texts", "tabular")
    PromptStore(catalog).save("about", template=f"know {SHORT}")
    return workspace


@pytest.mark.slow
def test_an_erasure_that_was_killed_at_any_step_is_completed(small: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    person = Person.read([SHORT])
    steps = ["put_in_place", "_change_catalog", "_clear", "erase_deleted", "search_all"]
    for number, step in enumerate(steps):
        with monkeypatch.context() as patch:
            patch.setattr(erase, step, _killed)
            with pytest.raises(KeyboardInterrupt):
                forget(small, person, "remove") if not number else resume(small)
        [begun] = Ledger(small).begun()
        if not number:
            assert DatasetStore(Catalog(small)).get("texts").rows == 2
            assert [e.place for e in check(small).errors] == [f"erasure {begun['id']}"]
    [done] = resume(small)
    assert done["receipt"] is not None
    assert (done["receipt"]["counts"], done["receipt"]["searched"]["left"]) == (
        {"rows of datasets": 1, "prompts": 1},
        [],
    )
    assert DatasetStore(Catalog(small)).get("texts").rows == 1
    assert not any(SHORT.encode() in path.read_bytes() for path in small.root.rglob("*") if path.is_file())
    assert check(small).errors == []


def _killed(*_arguments: object, **_options: object) -> None:
    raise KeyboardInterrupt


def test_what_nothing_here_erases_is_told_and_no_erasure_is_begun_for_it(small: Workspace) -> None:
    (small.models / "README.md").write_text("by Somebody Elsewhere\n")
    person = Person.read(["Somebody Elsewhere"])
    plan = find_person(small, person)
    assert (plan.things, plan.counts) == (0, {})
    assert plan.staying == ("models/README.md: it belongs to a model; change it yourself, or remove the model",)
    assert forget(small, person, "remove") is None
    assert Ledger(small).all() == []


def test_what_a_prompt_holds_beside_its_texts_is_redacted_and_hashed_anew(small: Workspace) -> None:
    person, prompts = Person.read(["Somebody Elsewhere"]), PromptStore(Catalog(small))
    turns = [{"question": "Who am I?", "answer": "Somebody Elsewhere"}]
    held = read_settings({"model": "m", "examples": {"turns": turns}}, "here")
    before, _ = prompts.save("hello", template="Hi", settings=held)
    prompts.save("hello", template="Hi", settings=None)
    assert forget(small, person, "remove") is not None
    after, plain = prompts.get("hello@1"), prompts.get("hello@2")
    assert after.settings is not None
    assert after.settings.as_record()["examples"]["turns"] == [{"question": "Who am I?", "answer": "[NAME]"}]
    assert after.sha256 == prompt_hash("", "Hi", after.settings_text) != before.sha256
    assert (plain.settings, plain.sha256) == (None, prompt_hash("", "Hi"))


def test_files_that_prompts_are_kept_in_step_with_are_told_and_follow_at_the_next_sync(
    small: Workspace, tmp_path: Path
) -> None:
    person, prompts = Person.read(["Somebody Elsewhere"]), PromptStore(Catalog(small))
    prompts.save("hello", template="Dear Somebody Elsewhere", system="")
    prompts.save("bye", template="Bye", system="")
    there, gone = tmp_path / "in step", tmp_path / "gone"
    there.mkdir()
    gone.mkdir()
    event_log = EventLog(small)
    for folder in (there, gone):
        PromptFolder(folder, prompts, event_log).sync()
    shutil.rmtree(gone)
    (there / "bye.prompt.yaml").write_text('template: "Bye, Somebody \\x45lsewhere"\n')
    (there / "new.prompt.yaml").write_text("by Somebody Elsewhere: {")
    (there / "notes.md").write_text("Somebody Elsewhere")
    told = find_person(small, person).staying
    assert sorted(text.partition(":")[0] for text in told) == sorted(
        [
            f"{gone}, which prompts were kept in step with, cannot be searched (No such file or directory)",
            f"{there / 'bye.prompt.yaml'}, in a folder that prompts are kept in step with",
            f"{there / 'hello.prompt.yaml'}, kept in step with the prompt hello",
            f"{there / 'new.prompt.yaml'}, in a folder that prompts are kept in step with",
        ]
    )
    assert f"llmops prompt sync '{there}' afterwards" in " ".join(told)
    forget(small, person, "remove")
    for name in ("bye", "new"):
        (there / f"{name}.prompt.yaml").unlink()
    PromptFolder(there, prompts, event_log).sync()
    event_log.close()
    assert "Dear [NAME]" in (there / "hello.prompt.yaml").read_text()
    assert not any("prompt.yaml" in text for text in find_person(small, person).staying)


def test_what_a_killed_writer_left_and_files_that_are_compressed_are_no_end_of_an_erasure(small: Workspace) -> None:
    half = small.datasets / ".staging-x" / "part-00000.parquet"
    half.parent.mkdir()
    half.write_bytes(b"PAR1\xff half a file")
    said = f"by {SHORT}\n".encode()
    old = small.logs / "app.log.1.gz"
    old.write_bytes(gzip.compress(said))
    folder = small.runs / "job"
    folder.mkdir(parents=True)
    (folder / "no-text.gz").write_bytes(gzip.compress(said + b"\xff"))
    (folder / "cut.gz").write_bytes(gzip.compress(said + bytes(range(256)) * 90)[:-60])
    done = forget(small, Person.read([SHORT]), "remove")
    assert done is not None
    assert done["receipt"] is not None
    assert gzip.decompress(old.read_bytes()) == b"by [NAME]\n"
    assert "runs/job/no-text.gz: it is no text; remove what it belongs to" in done["receipt"]["staying"]


def test_a_suite_has_the_hash_afterwards_that_it_would_have(small: Workspace) -> None:
    store = EvaluationStore(small)
    cases = [{"vars": {"x": SHORT}, "expected": "a"}]
    store.save_suite(check_suite({"cases": cases, "prompt": "about", "metrics": ["exact"], "synthetic": True}, "s"))
    forget(small, Person.read([SHORT]), "redact")
    [kept] = store.suites()
    digests = Catalog(small).read(lambda db: db.execute("SELECT sha256 FROM evaluation_suites").fetchall())
    assert digests == [(kept.suite.sha256,)]
    assert SHORT not in str(kept.suite.cases)
    assert check(small).errors == []


@pytest.mark.slow
def test_one_whose_key_is_gone_keeps_nobody_else_from_being_forgotten(
    small: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(erase, "_change_catalog", _killed)
        with pytest.raises(KeyboardInterrupt):
            forget(small, Person.read(["id:900100200", SHORT]), "remove")
    (ledger_folder() / "key").unlink()
    assert forget(small, Person.read([SHORT]), "remove") is not None
    import_now(DatasetStore(Catalog(small)), [small.root.parent / "in.jsonl"], "back", "tabular")
    with pytest.raises(InputRefusedError, match="its key"):
        forget_again(small)
    with pytest.raises(InputRefusedError, match="its key"):
        resume(small)
    assert DatasetStore(Catalog(small)).get("back").rows == 1


def test_the_ledger_does_not_say_in_a_path_who_was_forgotten(small: Workspace) -> None:
    (small.models / f"{SHORT}.md").write_text(f"by {SHORT}\n")
    done = forget(small, Person.read([SHORT]), "remove")
    assert done is not None
    assert done["receipt"] is not None
    assert done["receipt"]["searched"]["left"] == ["models/[NAME].md"]
    assert SHORT not in (small.root / "erasures.json").read_text()


@pytest.mark.slow
def test_an_erasure_that_ended_in_a_restored_copy_is_still_begun_here(
    small: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(small, tmp_path / "old.tar")
    with monkeypatch.context() as patch:
        patch.setattr(erase, "_change_catalog", _killed)
        with pytest.raises(KeyboardInterrupt):
            forget(small, Person.read([SHORT]), "remove")
    restore(tmp_path / "old.tar", Workspace(tmp_path / "elsewhere"))
    assert len(Ledger(small).begun()) == 1
    resume(small)
    assert Ledger(small).begun() == []
    assert PromptStore(Catalog(small)).get("about").template == "know [NAME]"


def test_a_backup_from_before_brings_nobody_back(small: Workspace, tmp_path: Path) -> None:
    backup(small, tmp_path / "old.tar")
    done = forget(small, Person.read([SHORT]), "redact")
    assert done is not None
    restore(tmp_path / "old.tar", small)
    assert PromptStore(Catalog(small)).get("about").template == "know [NAME]"
    assert [again["counts"] for again in Ledger(small).all()[0]["again"]] == [{"prompts": 1, "rows of datasets": 1}]
    assert not any(SHORT.encode() in path.read_bytes() for path in small.root.rglob("*") if path.is_file())
