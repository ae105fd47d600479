"""Queries that a model writes about passages: near-duplicates fall, somebody confirms, measures take the confirmed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.evaluation.retrieval.gold import read_queries
from llmops_tui.evaluation.retrieval.measurement import Contender, Plan, measure
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.jobs.worker import JobCancelledError
from llmops_tui.retrieval import written_queries
from llmops_tui.retrieval.local_writer import Written
from llmops_tui.retrieval.query_writing import likeness, words_of, write_queries
from llmops_tui.retrieval.records import QueriesRecord, WriterRecord
from llmops_tui.retrieval.removal import remove_documents
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.retrieval.written_queries import WrittenQueries, confirmed_queries
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked
from tests.commands import Llmops
from tests.retrieval.conftest import Build, Open

RECORD: WriterRecord = {"model": "writer", "sha256": "a" * 64}


class Asks:
    """A writer that asks about the last word of a passage; ``same`` questions are all alike, and ``cut`` ones are no JSON."""

    def __init__(self, *, same: bool = False, cut: bool = False, says: str = "", fail_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self._says = says
        self._same, self._cut, self._fail_after = same, cut, fail_after

    async def write(
        self, messages: Sequence[ChatMessage], most: int, form: Mapping[str, object] | None = None
    ) -> Written:
        if len(self.asked) >= self._fail_after:
            raise JobCancelledError
        said = str(messages[-1]["content"])
        self.asked.append(said)
        assert form is not None
        assert most > 0
        passage = said.partition("\n\n")[2].partition("\n\nEnd of the passage.")[0]
        question = (
            "What is the matter with this?" if self._same else f"Where would {passage.split()[0]} be {len(self.asked)}?"
        )
        told = json.dumps({"question": self._says or question})
        return Written(told[: len(told) // 2] if self._cut else told)


@pytest.fixture
def corpus(tmp_path: Path, build: Build) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(12):
        (folder / f"{n}.txt").write_text(f"subject{n} is here. " + "Words of it are many and all the same. " * 2)
    (folder / "short.txt").write_text("Too short.")
    build(folder, name="many", words_alone=True)
    return folder


def write(store: IndexStore, count: int, writer: Asks) -> QueriesRecord:
    return asyncio.run(write_queries(store, "many", RECORD, count, writer, lambda _s, _t: None))


@pytest.mark.usefixtures("corpus")
def test_each_query_is_about_a_chunk_of_its_own_and_no_chunk_is_asked_about_twice(
    store: IndexStore, opened: Open
) -> None:
    assert write(store, 5, Asks()) == {
        "index": "many@1", "written": 5, "alike": 0, "empty": 0, "gone": 0, "total": 5,
    }  # fmt: skip
    first = WrittenQueries(store, "many").all()
    with opened("many") as retriever:
        for one in first:
            text = retriever.file.text(one["document"]) or ""
            assert one["query"].startswith(f"Where would {text[one['start'] : one['end']].split()[0]} be")
            assert (one["state"], one["model"], one["of"]) == ("open", "writer", "many@1")
            assert one["copied"] == pytest.approx(1 / 5)
    # What is left of twelve; the short one is none that could be asked about.
    assert write(store, 50, Asks())["written"] == 7
    queries = WrittenQueries(store, "many").all()
    assert len({one["document"] for one in queries}) == len(queries) == 12
    assert queries[:5] == first
    assert write(store, 3, Asks())["written"] == 0


@pytest.mark.usefixtures("corpus")
def test_near_duplicates_and_what_is_no_question_fall_and_a_cancel_keeps_what_was_written(store: IndexStore) -> None:
    assert write(store, 5, Asks(same=True)) == {
        "index": "many@1", "written": 1, "alike": 11, "empty": 0, "gone": 0, "total": 1,
    }  # fmt: skip
    assert write(store, 5, Asks(cut=True))["empty"] == 11
    assert write(store, 5, Asks(says="What does the passage say of it?"))["empty"] == 11
    with pytest.raises(JobCancelledError):
        write(store, 5, Asks(fail_after=2))
    assert len(WrittenQueries(store, "many").all()) == 3
    assert likeness(words_of("What is a PIN?"), words_of("what is a pin")) == 1
    assert likeness(words_of("one two"), words_of("two three")) == pytest.approx(1 / 3)
    with pytest.raises(InputRefusedError, match="cannot be written"):
        write(store, 0, Asks())


def test_measures_take_those_that_were_confirmed_while_their_passages_are_there(
    store: IndexStore, corpus: Path, build: Build, opened: Open
) -> None:
    write(store, 6, Asks())
    kept, index = WrittenQueries(store, "many"), store.get("many")
    with pytest.raises(InputRefusedError, match="no confirmed queries"), confirmed_queries(store, index):
        pass
    ids = [one["id"] for one in kept.all()]
    kept.judge("confirmed", ids[:4])
    kept.judge("rejected", ids[4:5])
    with pytest.raises(NotFoundError):
        kept.judge("confirmed", ["none"])
    with confirmed_queries(store, index) as (path, told), opened("many") as retriever:
        assert [one.id for one in read_queries(path, retriever.file, index.ref)] == ids[:4]
        assert "4 queries that a model wrote" in told[0]
        found = measure(store, [Contender(index, "bm25")], path, Plan((1,)), lambda _s, _t: None)
        assert (found["gold"], found["queries"]) == ("spans", 4)
        assert {f["metric"]: f["mean"] for f in found["retrievers"][0]["figures"]}["hit@1"] == 1
    assert not path.exists()
    changed = kept.all()[0]["document"]
    (corpus / changed).write_text("It is another text now, which nobody has asked about at all, and it is long enough.")
    build(corpus, name="many", words_alone=True)
    with confirmed_queries(store, store.get("many")) as (_, told):
        assert ("3 queries" in told[0], told[-1]) == (True, "1 query is left out: the passage has changed")


@pytest.mark.usefixtures("corpus")
def test_a_query_goes_with_its_document_and_a_damaged_file_is_told(store: IndexStore) -> None:
    write(store, 4, Asks())
    kept = WrittenQueries(store, "many")
    gone = kept.all()[0]["document"]
    remove_documents(store, "many", [gone])
    assert gone not in {one["document"] for one in kept.all()}
    assert len(kept.all()) == 3
    (store.home("many") / "queries.jsonl").write_text("{}\n")
    with pytest.raises(InputRefusedError, match="cannot be read"):
        kept.all()


@pytest.mark.usefixtures("corpus")
def test_what_is_taken_out_while_queries_are_written_does_not_come_back(store: IndexStore) -> None:
    taken: list[str] = []

    class TakesOut(Asks):
        """Meanwhile somebody takes out the first document that is asked about, and two others."""

        async def write(
            self, messages: Sequence[ChatMessage], most: int, form: Mapping[str, object] | None = None
        ) -> Written:
            said = await super().write(messages, most, form)
            if not taken:
                first = str(messages[-1]["content"]).partition(":")[0].removeprefix("A passage of the document ")
                taken.extend([first, *[f"{n}.txt" for n in range(12) if f"{n}.txt" != first][:2]])
                remove_documents(store, "many", taken)
            return said

    writer = TakesOut()
    found = write(store, 50, writer)
    # Of the others nothing is told to the model any more.
    assert (found["gone"], found["written"], found["total"], len(writer.asked)) == (3, 9, 9, 10)
    assert not {one["document"] for one in WrittenQueries(store, "many").all()} & set(taken)


@pytest.mark.usefixtures("corpus")
def test_who_changes_them_is_alone(store: IndexStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, 2, Asks())
    kept = WrittenQueries(store, "many")
    one, other = kept.all()
    monkeypatch.setattr(written_queries, "_WAIT_SECONDS", 0.0)
    for work in (lambda: kept.add(one), lambda: kept.judge("confirmed", [one["id"]]), lambda: kept.forget([])):
        with locked(store.home("many") / "queries.lock"), pytest.raises(LlmopsError) as refused:
            work()
        assert refused.value.code == "queries_busy"
    assert kept.all() == [one, other]


@pytest.mark.usefixtures("corpus")
def test_they_are_listed_and_judged_from_the_command_line(workspace: Workspace, store: IndexStore) -> None:
    write(store, 2, Asks())
    one, other = (query["id"] for query in WrittenQueries(store, "many").all())
    found = Llmops(workspace).run("index", "queries", "many", "--confirm", one, "--reject", other)
    assert [query["state"] for query in found["queries"]] == ["confirmed", "rejected"]
