"""Contexts of chunks: asked once, kept by content, found by and not cited, with their cost said before."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.jobs.worker import JobCancelledError
from llmops_tui.maintenance.model_removal import plan_removal
from llmops_tui.maintenance.model_renaming import _models_of
from llmops_tui.retrieval.build import build_index
from llmops_tui.retrieval.chunking import cut
from llmops_tui.retrieval.context_cost import cost_text, measure_cost
from llmops_tui.retrieval.contexts import (
    PART_TOKENS,
    Contextualizer,
    WrittenContexts,
    context_key,
    one_line,
    parts_of,
    prompt_sha256,
)
from llmops_tui.retrieval.local_writer import LocalWriter, Written, opened_writer
from llmops_tui.retrieval.records import BuildRecord, BuiltRecord, ContextRecord
from llmops_tui.retrieval.removal import remove_documents
from llmops_tui.retrieval.request import with_context
from llmops_tui.retrieval.sources import source_of
from llmops_tui.retrieval.staleness import stale_because
from llmops_tui.retrieval.store import BUILDING, IndexStore
from llmops_tui.retrieval.told import hit_text
from tests.retrieval.conftest import Open
from tests.word_embedder import Words

RECORD: ContextRecord = {"model": "writer", "sha256": "a" * 64, "prompt_sha256": prompt_sha256()}


class Says:
    """A writer that says which words a passage begins with; ``fail_after`` so many it is cancelled."""

    def __init__(self, fail_after: int | None = None, longest: int = 10**9) -> None:
        self.asked: list[str] = []
        self._fail_after = fail_after
        self._longest = longest

    async def write(
        self, messages: Sequence[ChatMessage], most: int, form: Mapping[str, object] | None = None
    ) -> Written:
        said = str(messages[-1]["content"])
        if len(said) > self._longest:
            raise LlmopsError("context_length_exceeded", "too long")
        if self._fail_after is not None and len(self.asked) >= self._fail_after:
            raise JobCancelledError
        self.asked.append(said)
        passage = said.partition("A passage of the document:\n\n")[2]
        assert most > 0
        assert form is None
        return Written(f' "Zebra about {passage.split()[-1][:5]}\n{len(passage)}"', 50, 10, 100.0, 300.0)


def request(store: IndexStore, folder: Path, tokens: int = 20) -> BuildRecord:
    return {
        "source": source_of(store.catalog, str(folder)),
        "tokens": tokens,
        "embedder": Words().spec.as_dict(),
        "take_back": False,
        "context": RECORD,
    }


def built(store: IndexStore, folder: Path, writer: Says, words: Words | None = None) -> BuiltRecord:
    work = build_index(store, "shop", request(store, folder), words or Words(), lambda _s, _t: None, writer=writer)
    return asyncio.run(work)


def test_chunks_are_found_by_their_contexts_and_cited_without(store: IndexStore, shop: Path, opened: Open) -> None:
    words, writer = Words(), Says()
    record = built(store, shop, writer, words)["index"]
    assert (record["context"], len(writer.asked)) == (RECORD, record["chunks"])
    with opened() as retriever:
        hits, _ = retriever.search("zebra", "bm25", 20)
        assert len(hits) == record["chunks"]
        for hit in hits:
            passage = hit["passage"]
            text = retriever.file.text(passage["document"]) or ""
            assert passage["text"] == text[passage["start"] : passage["end"]]
            assert "Zebra" not in passage["text"]
            assert passage["context"].startswith("Zebra about ")
            assert "\n" not in passage["context"]
        # They are embedded, under the headings and above the text.
        assert any(one.startswith("Orders\nZebra about") for one in words.asked)
        assert "\n     context: Zebra about " in hit_text(hits[0])
        assert retriever.file.digest()
    # The document stands first and once for all of its chunks: what comes before a passage is the same.
    of_orders = [one for one in writer.asked if one.startswith("The document orders.md:")]
    assert len({one.partition("A passage of the document:")[0] for one in of_orders}) == 1 < len(of_orders)


def test_only_what_changed_is_asked_again_and_the_same_is_no_other_version(store: IndexStore, shop: Path) -> None:
    built(store, shop, Says())
    again = Says()
    assert built(store, shop, again)["unchanged"]
    assert again.asked == []
    (shop / "card.txt").write_text("My card is lost.")
    changed, words = Says(), Words()
    assert built(store, shop, changed, words)["index"]["number"] == 2
    assert ["My card is lost." in one for one in changed.asked] == [True]
    assert len(words.asked) == 1
    # Without them it is another version again, and nothing is asked.
    plain = {**request(store, shop), "context": None}
    made = asyncio.run(build_index(store, "shop", plain, Words(), lambda _s, _t: None))  # type: ignore[arg-type]
    assert (made["index"]["number"], made["index"]["context"]) == (3, None)
    assert built(store, shop, Says(fail_after=0))["index"]["number"] == 4


def test_a_build_that_is_cancelled_goes_on_with_what_was_written(store: IndexStore, shop: Path) -> None:
    with pytest.raises(JobCancelledError):
        built(store, shop, Says(fail_after=2))
    assert store.newest("shop") is None
    rest = Says()
    record = built(store, shop, rest)["index"]
    assert len(rest.asked) == record["chunks"] - 2
    assert not (store.home("shop") / BUILDING).exists()
    assert not (store.get("shop").folder / "contexts").exists()


def test_a_kill_loses_the_chunk_that_was_being_asked_alone(store: IndexStore, shop: Path) -> None:
    """The process ends, as by SIGKILL, while the third is asked; and once in the middle of a line."""
    source = request(store, shop)

    class Dies(Says):
        async def write(
            self, messages: Sequence[ChatMessage], most: int, form: Mapping[str, object] | None = None
        ) -> Written:
            if len(self.asked) == 2:
                os._exit(9)
            return await super().write(messages, most, form)

    child = os.fork()
    if not child:
        try:
            asyncio.run(build_index(store, "shop", source, Words(), lambda _s, _t: None, writer=Dies()))
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    kept = store.home("shop") / BUILDING / "contexts" / "written.jsonl"
    assert len(kept.read_text().splitlines()) == 2
    kept.write_bytes(kept.read_bytes() + b'{"key": "ab')
    rest = Says()
    assert len(rest.asked) == 0
    record = built(store, shop, rest)["index"]
    assert len(rest.asked) == record["chunks"] - 2


def test_the_cost_is_said_before_and_what_was_asked_for_it_is_kept(store: IndexStore, shop: Path) -> None:
    writer = Says()
    asked = request(store, shop)
    cost = asyncio.run(measure_cost(store, "shop", asked, RECORD, writer, lambda _s, _t: None))
    assert (cost["known"], cost["measured"], len(writer.asked), len(cost["samples"])) == (3, 3, 3, 3)
    left = cost["chunks"] - 3
    assert cost["answer_tokens"] == 10 * left
    # 2 ms a token that is read, 20 ms one that is written.
    assert cost["seconds"] == pytest.approx((cost["prompt_tokens"] * 2 + 10 * left * 20) / 1000)
    assert f"{left} chunks to ask for, 3 known" in cost_text(cost)
    rest = Says()
    record = built(store, shop, rest)["index"]
    assert (record["chunks"], len(rest.asked)) == (cost["chunks"], left)
    done = asyncio.run(measure_cost(store, "shop", asked, RECORD, Says(fail_after=0), lambda _s, _t: None))
    assert (done["known"], done["seconds"]) == (done["chunks"], 0.0)
    assert "none is asked for" in cost_text(done)


def test_what_is_kept_as_another_sign_is_known_by_that(store: IndexStore, tmp_path: Path) -> None:
    path = tmp_path / "zeros.jsonl"
    path.write_text('{"text": "Some \\u0000 program left a zero in it."}\n')
    import_now(DatasetStore(store.catalog), [path], "zeros", "text")
    source = Path("zeros")
    built(store, source, Says())
    writer, asked = Says(), request(store, source)
    cost = asyncio.run(measure_cost(store, "shop", asked, RECORD, writer, lambda _s, _t: None))
    assert (cost["known"], cost["chunks"], writer.asked) == (1, 1, [])


def test_a_document_that_goes_out_takes_its_contexts_along(store: IndexStore, shop: Path, opened: Open) -> None:
    record = built(store, shop, Says())["index"]
    remove_documents(store, "shop", ["card.txt"])
    with opened() as retriever:
        left = retriever.file.contexts()
        assert len(left) == store.get("shop").record["chunks"] < record["chunks"]
        assert retriever.search("zebra", "bm25", 20)[0][0]["passage"]["context"]
    again = Says()
    built(store, shop, again)
    assert again.asked == []


def test_a_document_that_is_too_long_is_asked_in_parts_and_with_less_around(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(60))
    chunks = cut(text, structured=False, tokens=100)
    parts = list(parts_of(text, chunks))
    assert [chunk for part in parts for chunk in part] == chunks
    assert len(parts) == -(-60 * 66 // PART_TOKENS) or len(parts) > 1
    writer = Says(longest=2000)
    told: list[Written] = []
    of = Contextualizer(RECORD, WrittenContexts(tmp_path, {}), writer, told.append)
    found = asyncio.run(of.of("long.txt", text, chunks, lambda c: text[c.start : c.end]))
    assert len(found) == len(chunks) == len(told)
    assert all(
        chunk_text in one for one, chunk_text in zip(writer.asked, (text[c.start : c.end] for c in chunks), strict=True)
    )
    with pytest.raises(LlmopsError):
        asyncio.run(
            Contextualizer(RECORD, WrittenContexts(tmp_path, {}), Says(longest=10), told.append).ask(
                "n", text, chunks[0], 0, 900
            )
        )


def test_what_a_context_is_kept_by_and_how_it_is_written() -> None:
    key = context_key(RECORD, "a.md", "text")
    others = [
        context_key({**RECORD, "sha256": "b"}, "a.md", "text"),
        context_key({**RECORD, "prompt_sha256": "b"}, "a.md", "text"),
        context_key(RECORD, "b.md", "text"),
        context_key(RECORD, "a.md", "other"),
    ]
    assert len({key, *others}) == 5
    assert one_line('  **"It is about\n refunds."** ') == "It is about refunds."
    assert len(one_line("word " * 500)) <= 500


def test_who_writes_belongs_to_the_version_and_is_looked_for(store: IndexStore, shop: Path) -> None:
    built(store, shop, Says())
    kept = store.get("shop")
    assert [why for why in stale_because(store, kept) if "contexts" in why] == [
        "the model writer, which wrote the contexts of it, is gone"
    ]
    assert "writer" in _models_of(kept.record)
    asked = request(store, shop)
    store.catalog.write(
        lambda db: db.execute(
            f"INSERT INTO models VALUES ('writer', 'gguf', '/nowhere/w.gguf', '{'a' * 64}', 1, "
            "'{\"chat_template\": \"x\"}', 0, NULL), ('bare', 'gguf', '/nowhere/bare.gguf', 'cd', 1, '{}', 0, NULL)"
        )
    )
    assert not [why for why in stale_because(store, kept) if "contexts" in why]
    assert "index with its contexts: shop@1" in plan_removal(store.catalog.workspace, "writer").uses
    assert with_context(store, "shop", asked)["context"] == RECORD
    assert with_context(store, "shop", asked, "none")["context"] is None
    assert with_context(store, "other", asked)["context"] is None
    with pytest.raises(InputRefusedError, match="no template of conversations"):
        with_context(store, "shop", asked, "bare")


class Client:
    """A server whose template knows of no thinking."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def generate(self, path: str, body: Mapping[str, object], parameters: object) -> dict[str, object]:
        self.asked.append(parameters.enable_thinking)  # type: ignore[attr-defined]
        if parameters.enable_thinking is not None:  # type: ignore[attr-defined]
            raise InputRefusedError("invalid_request", "enable_thinking: the template knows of no thinking")
        timings = {"prompt_tokens": 100, "reused_tokens": 80, "completion_tokens": 5, "ttft_ms": 4.0, "total_ms": 9.0}
        return {"choices": [{"message": {"content": "A text."}}], "timings": timings}


def test_a_local_model_is_asked_without_thinking_where_its_template_knows_of_it() -> None:
    client = Client()
    writer = LocalWriter(client)  # type: ignore[arg-type]
    for _ in range(2):
        said = asyncio.run(writer.write([{"role": "user", "content": "x"}], 9))
        assert said == Written("A text.", 20, 5, 4.0, 9.0)
    assert client.asked == [False, None, None]


def test_a_model_that_has_nothing_to_write_is_not_started(store: IndexStore) -> None:
    async def work() -> None:
        async with opened_writer(store.catalog, RECORD) as writer:
            # There is none of that name, which nobody notices before it is asked.
            with pytest.raises(NotFoundError):
                await writer.write([{"role": "user", "content": "x"}], 9)

    asyncio.run(work())
