"""Embeddings of a version and what rests on them, with vectors that are made of words and no model."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from llmops_tui.cli.data_change import dedup
from llmops_tui.cli.data_inspect import search
from llmops_tui.datasets.assisted_labelling import LabelAssistant
from llmops_tui.datasets.checks.runner import run_checks
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.labelling import Labelling, Task
from llmops_tui.datasets.meaning import active_learning, topics
from llmops_tui.datasets.meaning.active_learning import Proposer, first_rows, learning_curve, may_stop, next_rows
from llmops_tui.datasets.meaning.clustering import fit_clusters, nearest_clusters, place_centres, place_rows
from llmops_tui.datasets.meaning.coverage import measure_coverage
from llmops_tui.datasets.meaning.duplicates import find_outliers, find_semantic_duplicates
from llmops_tui.datasets.meaning.embedding_job import embed_version
from llmops_tui.datasets.meaning.index import MeaningIndex, find_index, require_index, vectors_folder
from llmops_tui.datasets.meaning.row_text import RowText
from llmops_tui.datasets.meaning.rows_filter import rows_for
from llmops_tui.datasets.meaning.search import MeaningSearch, fuse
from llmops_tui.datasets.meaning.topics import find_map, make_map, name_clusters
from llmops_tui.datasets.operations.base import apply, remake
from llmops_tui.datasets.progress import no_report
from llmops_tui.datasets.records import Column
from llmops_tui.datasets.search import SearchIndex
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.datasets.window import RowWindow, View
from llmops_tui.embeddings import known_vectors
from llmops_tui.embeddings.embedder import EmbedderSpec, TextEmbedder, unit
from llmops_tui.embeddings.known_vectors import KnownVectors
from llmops_tui.embeddings.nearest import Nearest, close_pairs, mean_nearest
from llmops_tui.embeddings.vector_file import NO_TEXT, VectorFile, text_key
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError
from llmops_tui.jobs.worker import JobCancelledError
from tests.word_embedder import SPEC, Words, vector

TOPICS = {
    "card": ["where is my card", "my card did not arrive", "the card is late", "card still missing"],
    "rate": ["exchange rate is wrong", "wrong rate of exchange", "the exchange rate looks odd", "bad exchange rate"],
    "pin": ["change the pin", "new pin please", "pin is blocked", "unblock the pin"],
}


def imported(store: DatasetStore, folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> DatasetVersion:
    import orjson

    path = folder / f"{name}.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    import_now(store, [path], name, "tabular")
    return store.get(name)


def embedded(version: DatasetVersion, embedder: Words | None = None) -> MeaningIndex:
    index = MeaningIndex(version, (embedder or Words()).spec)
    asyncio.run(embed_version(index, embedder or Words(), no_report))
    return index


@pytest.fixture
def store(catalog: Any) -> DatasetStore:
    return DatasetStore(catalog)


@pytest.fixture
def version(store: DatasetStore, tmp_path: Path) -> DatasetVersion:
    rows = [{"text": text, "label": topic} for topic, texts in TOPICS.items() for text in texts]
    return imported(store, tmp_path, "bank", rows)


# ── texts ──


def test_labels_and_ids_are_not_embedded() -> None:
    columns = [Column(name, "text") for name in ("id", "title", "body", "label")]
    row = {"id": "7", "title": "a", "body": "b", "label": "secret"}
    assert RowText("tabular", columns).text(row) == "a\nb"
    assert RowText("tabular", columns, "label").text(row) == "secret"
    assert RowText("tabular", columns, "whole").text(row) == "7\na\nb\nsecret"
    with pytest.raises(InputRefusedError, match="no column 'nothing'"):
        RowText("tabular", columns, "nothing")


def test_conversations_are_embedded_by_their_questions() -> None:
    turns = [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": "why?"},
        {"role": "assistant", "content": "so"},
    ]
    columns = [Column("messages", "json")]
    assert RowText("messages", columns).text({"messages": turns}) == "why?"
    assert RowText("messages", columns, "answer").text({"messages": turns}) == "so"
    assert "so" in RowText("messages", columns, "whole").text({"messages": turns})


# ── embedding ──


def test_only_new_texts_are_embedded(store: DatasetStore, version: DatasetVersion, tmp_path: Path) -> None:
    embedded(version)
    more = [{"text": text} for text in ["a new one", *TOPICS["pin"], "a new one", "", "  "]]
    words = Words()
    index = embedded(imported(store, tmp_path, "more", more), words)
    assert dict(words.asked) == {"a new one": 1}
    assert (index.about["computed"], index.about["reused"], index.about["without_text"]) == (1, 5, 2)
    assert index.file.has_text().tolist() == [True] * 6 + [False] * 2
    assert np.allclose(np.asarray(index.file.vectors()[1], np.float32), vector("change the pin"), atol=1e-3)


def test_another_embedder_reuses_nothing(version: DatasetVersion) -> None:
    embedded(version)
    words = Words(EmbedderSpec("words", "1" * 64))
    embedded(version, words)
    assert sum(words.asked.values()) == 12
    found = find_index(version)
    assert found is not None
    assert found.spec.sha256 == "1" * 64


def test_a_killed_job_goes_on_where_it_was(store: DatasetStore, tmp_path: Path) -> None:
    rows = [{"text": f"row {n}"} for n in range(1200)]
    version = imported(store, tmp_path, "long", rows)
    index = MeaningIndex(version, SPEC)
    with pytest.raises(JobCancelledError):
        asyncio.run(embed_version(index, Words(fail_after=600), no_report))
    there = VectorFile(index.folder, 64).rows
    assert 0 < there < 1200
    assert not index.ready
    # What was half written when the process died.
    with (index.folder / "vectors.f16.part").open("ab") as file:
        file.write(b"half")
    words = Words()
    asyncio.run(embed_version(index, words, no_report))
    assert sum(words.asked.values()) == 1200 - there
    assert index.file.rows == 1200
    expected = np.stack([vector(row["text"]) for row in rows])
    assert np.abs(np.asarray(index.file.vectors(), np.float32) - expected).max() < 1e-3
    assert {path.stat().st_mode & 0o777 for path in index.folder.iterdir()} == {0o600}


def test_the_same_rows_as_another_kind_have_vectors_of_their_own(store: DatasetStore, tmp_path: Path) -> None:
    as_table = imported(store, tmp_path, "pairs", [{"prompt": "where is it", "completion": "on its way"}])
    import_now(store, [tmp_path / "pairs.jsonl"], "asked", "prompt-completion")
    as_asked = store.get("asked")
    assert as_asked.sha256 == as_table.sha256
    embedded(as_table)
    assert find_index(as_asked) is None
    words = Words()
    index = embedded(as_asked, words)
    assert list(words.asked) == ["where is it"]
    assert index.folder != require_index(as_table).folder


def test_who_embeds_again_means_that_model_and_its_words_from_then_on(version: DatasetVersion) -> None:
    embedded(version)
    embedded(version, Words(EmbedderSpec("other", "1" * 64)))
    asked = Words(EmbedderSpec("words", "0" * 64, query_prefix="query: "))
    embedded(version, asked)
    assert not asked.asked
    found = require_index(version)
    assert (found.spec.model, found.spec.query_prefix) == ("words", "query: ")


def test_vectors_of_another_length_are_begun_anew(store: DatasetStore, tmp_path: Path) -> None:
    version = imported(store, tmp_path, "long", [{"text": f"row {n}"} for n in range(600)])
    index = MeaningIndex(version, SPEC)
    with pytest.raises(JobCancelledError):
        asyncio.run(embed_version(index, Words(fail_after=512), no_report))

    class Short(Words):
        async def rows(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            return unit((await super().rows(texts))[:, :16])

    asyncio.run(embed_version(index, Short(), no_report))
    expected = unit(np.stack([vector(f"row {n}") for n in range(600)])[:, :16])
    assert np.abs(np.asarray(index.file.vectors(), np.float32) - expected).max() < 1e-3


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"embedder": 5}', "pipe"])
def test_a_record_of_vectors_that_is_damaged_is_named(version: DatasetVersion, damage: str) -> None:
    about = embedded(version).folder / "about.json"
    whole = json.loads(about.read_text())
    about.unlink()
    if damage == "pipe":
        os.mkfifo(about)
    else:
        about.write_text(json.dumps(whole | json.loads(damage)) if "embedder" in damage else damage)
    with pytest.raises(LlmopsError, match=r"cannot be read: about\.json") as refused:
        find_index(version)
    assert "embed again" in refused.value.hint


@pytest.mark.parametrize("name", ["vectors.f16", "keys.bin", "bits.u64", "codes.i8", "scales.f32"])
def test_vectors_that_were_cut_off_are_named(version: DatasetVersion, name: str) -> None:
    os.truncate(embedded(version).folder / name, 16)
    with pytest.raises(LlmopsError, match="does not have the vectors of 12 rows"):
        find_outliers(require_index(version))


def test_two_jobs_do_not_write_the_same_vectors(version: DatasetVersion) -> None:
    index = MeaningIndex(version, SPEC)

    class Slow(Words):
        async def rows(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            with pytest.raises(InputRefusedError, match="is being embedded by another job"):
                await embed_version(MeaningIndex(version, SPEC), Words(), no_report)
            return await super().rows(texts)

    asyncio.run(embed_version(index, Slow(), no_report))
    assert index.file.rows == 12


def test_vectors_go_with_their_version(store: DatasetStore, version: DatasetVersion) -> None:
    from llmops_tui.maintenance.archiving import Kept
    from llmops_tui.maintenance.record_removal import remove_record

    embedded(version)
    assert vectors_folder(version).is_dir()
    remove_record(store.workspace, Kept.DATASET, "bank", force=True)
    assert not vectors_folder(version).exists()


def test_vectors_without_numbers_are_refused() -> None:
    class Odd:
        def __init__(self, value: Any) -> None:
            self._value = value

        async def complete(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
            if path == "/tokenize":
                return {"tokens": [1, 2, 3], "max_model_len": 8}
            return {"data": [{"index": 0, "embedding": self._value}]}

    for value, told in (
        ([float("nan"), 1.0], "without numbers"),
        ([[1.0, 2.0], [3.0, 4.0]], "several vectors"),
        ([], "an empty vector"),
    ):
        with pytest.raises(LlmopsError, match=told):
            asyncio.run(TextEmbedder(Odd(value), SPEC).rows(["a"]))  # type: ignore[arg-type]


def test_long_texts_are_cut_and_counted() -> None:
    sent: list[Any] = []

    class Server:
        async def complete(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
            if path == "/tokenize":
                return {"tokens": [101, *range(len(body["content"].split())), 102], "max_model_len": 10}
            sent.extend(body["input"])
            return {"data": [{"index": n, "embedding": [1.0, 0.0]} for n in range(len(body["input"]))]}

    embedder = TextEmbedder(Server(), SPEC)  # type: ignore[arg-type]
    asyncio.run(embedder.rows(["short", "word " * 30]))
    assert sent == ["short", [101, *range(8), 102]]
    assert embedder.cut == 1


# ── nearest ──


def random_file(folder: Path, rows: int, dimensions: int = 96) -> tuple[VectorFile, npt.NDArray[np.float32]]:
    rng = np.random.default_rng(1)
    # Neighbours that are told apart by their signs, as those of texts are.
    centres = rng.standard_normal((40, dimensions))
    data = unit(centres[rng.integers(0, 40, rows)] + 0.7 * rng.standard_normal((rows, dimensions)))
    file = VectorFile(folder, dimensions)
    file.append([text_key(str(n)) if n % 50 else NO_TEXT for n in range(rows)], data)
    file.finish()
    return file, data


def test_vectors_in_eight_bits_are_the_vectors_to_half_a_step(tmp_path: Path) -> None:
    file, data = random_file(tmp_path / "v", 300)
    given = file.codes()
    assert given is not None
    codes, scales = given
    assert (np.abs(codes * scales[:, None] - data) <= scales[:, None] * 0.51 + 1e-3).all()
    assert np.abs(codes).max() == 127


@pytest.mark.parametrize("codes", [True, False])
def test_the_nearest_are_those_of_the_largest_cosine(tmp_path: Path, codes: bool) -> None:
    file, data = random_file(tmp_path / "v", 3000)
    if not codes:
        # Vectors of an earlier release.
        for name in ("codes.i8", "scales.f32"):
            (file.folder / name).unlink()
    assert file.has(3000)
    exact, candidates = Nearest(file), Nearest(file, exact_rows=100, candidates=600)
    there = np.arange(3000) % 50 != 0
    shared = []
    for query in data[1:60:3]:
        cosines = np.where(there, data.astype(np.float16).astype(np.float32) @ query, -2)
        best = np.argsort(-cosines, kind="stable")[:10]
        assert exact.find(query, 10).rows.tolist() == best.tolist()
        found = candidates.find(query, 10)
        assert found.compared < 1200
        assert there[found.rows].all()
        shared.append(len(set(found.rows.tolist()) & set(best.tolist())) / 10)
    assert np.mean(shared) >= 0.95


def test_rows_without_a_text_take_no_candidates_place(tmp_path: Path) -> None:
    data = unit(-np.abs(np.random.default_rng(6).standard_normal((400, 64))))
    file = VectorFile(tmp_path / "v", 64)
    data[:300] = 0
    file.append([NO_TEXT] * 300 + [text_key(str(n)) for n in range(300, 400)], data)
    file.finish()
    found = Nearest(file, exact_rows=10, candidates=20).find(unit(np.full(64, -1.0)), 20)
    assert len(found.rows) == 20
    assert found.rows.min() >= 300


def test_pairs_and_means_agree_with_all_cosines() -> None:
    rng = np.random.default_rng(2)
    data = unit(rng.standard_normal((300, 8)))
    cosines = data @ data.T
    expected = {(a, b) for a in range(300) for b in range(a + 1, 300) if cosines[a, b] >= 0.9}
    assert {(a, b) for a, b, _ in close_pairs(data, 0.9)} == expected
    np.fill_diagonal(cosines, -2)
    assert np.allclose(mean_nearest(data, 5), np.sort(cosines, axis=1)[:, -5:].mean(axis=1), atol=1e-5)


# ── what rests on it ──


def search_of(index: MeaningIndex) -> MeaningSearch:
    return MeaningSearch(index, vector, lambda: SearchIndex(index.version).make())


def test_search_by_meaning_by_both_and_like(version: DatasetVersion) -> None:
    search = search_of(embedded(version))
    assert search.find("card my is where", 1).rows == [0]
    both = search.find("pin", 5, "both")
    assert {8, 9, 10, 11} <= set(both.rows)
    assert both.hits[0]["words"] is not None
    assert search.like(0, 3).rows[0] != 0
    assert 0 not in search.like(0, 12).rows
    with pytest.raises(InputRefusedError, match="no row 12"):
        search.like(12, 3)
    with pytest.raises(InputRefusedError, match="nothing to search for"):
        search.find(" ", 3)


def test_ranks_are_fused_by_their_reciprocals() -> None:
    assert list(fuse([[1, 2, 3], [3, 4]])) == [3, 1, 2, 4]


def test_semantic_duplicates_differ_in_text(store: DatasetStore, tmp_path: Path) -> None:
    texts = ["the card is late", "late is the card", "the card is late", "change the pin", "pin the change", "odd"]
    version = imported(store, tmp_path, "same", [{"text": text} for text in texts])
    found = find_semantic_duplicates(embedded(version), 0.99)
    assert [(p.left, p.right) for p in found.pairs] == [(0, 1), (3, 4)]
    assert found.groups == ((0, 1), (3, 4))
    assert found.same_text == 1
    assert found.dropped() == [1, 4]
    made = apply(store, "dedup", ["same"], {"method": "meaning", "threshold": 0.99})
    assert [row["text"] for batch in made.read() for _, row in batch] == [texts[0], texts[2], texts[3], texts[5]]
    longest = apply(store, "dedup", ["same@1"], {"method": "meaning", "threshold": 0.99, "keep": "longest"})
    assert longest.rows == 4


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0, 0.01, 1.5, -1, float("nan")])
def test_what_is_no_cosine_of_duplicates_is_refused(
    store: DatasetStore, version: DatasetVersion, threshold: float
) -> None:
    embedded(version)
    with pytest.raises(InputRefusedError, match="is no such cosine"):
        apply(store, "dedup", ["bank"], {"method": "meaning", "threshold": threshold})


@pytest.mark.parametrize(
    ("command", "given"),
    [
        (dedup, {"keep": "longest"}),
        (dedup, {"keep": "longest", "near": True}),
        (dedup, {"same": "row", "meaning": True}),
        (dedup, {"same": "row", "against": "other"}),
        (dedup, {"threshold": 0.9}),
        (search, {"words": "pin", "model": "words"}),
    ],
)
def test_options_that_would_change_nothing_are_refused(command: Callable[..., None], given: dict[str, Any]) -> None:
    with pytest.raises(LlmopsError, match=r"goes with") as refused:
        command(None, "bank", **given)
    assert refused.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [("dedup", {"method": "meaning", "threshold": 0.9}), ("fix", {"check": "semantic-duplicate", "cosine": 0.9})],
)
def test_a_recipe_by_meaning_says_by_which_embeddings(
    store: DatasetStore, tmp_path: Path, operation: str, parameters: dict[str, Any]
) -> None:
    given = imported(
        store, tmp_path, "d", [{"text": text} for text in ("my card is late", "late is my card", "new pin")]
    )
    embedded(given)
    asked = dict(parameters)
    made = apply(store, operation, ["d"], asked)
    assert asked == parameters
    assert made.recipe.parameters == {**parameters, "embedder": SPEC.as_dict(), "of": "question"}

    class Others(Words):
        """Another model of the same name, to which all texts are unlike."""

        async def rows(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            return np.stack([vector(text.replace(" ", "-")) for text in texts])

    embedded(given, Others(EmbedderSpec("words", "1" * 64)))
    # Those are the latest now, by which nothing would go; the recipe means the first.
    assert apply(store, operation, ["d@1"], parameters, name="other").rows == 3
    assert (remake(store, made.ref)[1], made.rows) == (made.sha256, 2)
    shutil.rmtree(MeaningIndex(given, SPEC).folder)
    with pytest.raises(InputRefusedError, match=r"@1 has no embeddings by words with SHA-256 0{12}, of"):
        remake(store, made.ref)
    with pytest.raises(InputRefusedError, match="not the record of an embedder"):
        apply(store, operation, ["d@1"], {**parameters, "embedder": {"model": "words"}})


def test_what_is_known_is_found_by_its_hash_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_vectors, "_RECENT", 4)
    texts = [f"text {n}" for n in range(40)]
    other, own = VectorFile(tmp_path / "other", 64), VectorFile(tmp_path / "own", 64)
    other.append([text_key(text) for text in texts[:10]], np.stack([vector(text) for text in texts[:10]]))
    own.append([text_key(text) for text in texts[8:12]], np.stack([vector(text) for text in texts[8:12]]))
    known = KnownVectors([other], own)
    for begin in range(12, 40, 3):
        keys = [text_key(text) for text in texts[begin : begin + 3]]
        assert [known.get(key) for key in keys] == [None] * len(keys)
        own.append(keys, np.stack([vector(text) for text in texts[begin : begin + 3]]))
        known.note(keys, begin - 8)
        assert len(known._recent) < 4
    for text in texts:
        found = known.get(text_key(text))
        assert found is not None
        assert np.allclose(found, vector(text), atol=1e-3)
    assert known.get(text_key("another")) is None


def test_what_goes_is_like_something_that_stays() -> None:
    from llmops_tui.datasets.meaning.duplicates import SemanticDuplicates
    from llmops_tui.datasets.near_duplicates import Pair

    # 1 is like 2 and 2 like 3, but 1 is not like 3.
    chain = SemanticDuplicates((Pair(1, 2, 0.96), Pair(2, 3, 0.96)), ((1, 2, 3),), 0, by_parts=False)
    assert chain.dropped() == [2]
    assert chain.dropped(lambda row: -row) == [2]


def test_many_rows_are_compared_by_parts(store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmops_tui.datasets.meaning import duplicates

    monkeypatch.setattr(duplicates, "ALL_PAIRS_ROWS", 40)
    monkeypatch.setattr(duplicates, "_PART_ROWS", 20)
    rows = [{"text": f"word{n} about topic{n % 4}"} for n in range(30)]
    rows += [{"text": f"about topic{n % 4} word{n}"} for n in range(30)]
    found = find_semantic_duplicates(embedded(imported(store, tmp_path, "many", rows)), 0.99)
    assert found.by_parts
    assert {(p.left, p.right) for p in found.pairs} == {(n, n + 30) for n in range(30)}
    assert rows_for(store, store.get("many"), "!").told.endswith("Only rows of the same part were compared.")


def test_checks_by_meaning_run_where_a_version_is_embedded(store: DatasetStore, tmp_path: Path) -> None:
    texts = ["the card is late", "late is the card", "change the pin"]
    version = imported(store, tmp_path, "checked", [{"text": text} for text in texts])
    assert not {"semantic-duplicate", "outlier"} & set(run_checks(version))
    with pytest.raises(InputRefusedError, match="has no embeddings"):
        run_checks(version, only=("outlier",))
    embedded(version)
    found = run_checks(version)
    assert found["outlier"].rows == []
    assert found["semantic-duplicate"].rows == [1]
    assert found["semantic-duplicate"].reasons[1] == "like row 0, in other words: cosine 1.000"
    assert apply(store, "fix", ["checked"], {"check": "semantic-duplicate"}).rows == 2


@pytest.mark.parametrize("block", [7, 8192])
def test_labels_are_proposed_and_the_next_rows_are_unsure(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active_learning, "BLOCK", block)
    rng = np.random.default_rng(4)
    centres = unit(rng.standard_normal((3, 16)))
    of = np.arange(300) % 3
    data = unit(centres[of] + 0.3 * rng.standard_normal((300, 16)))
    names = np.array(["a", "b", "c"])[of]
    rows = np.arange(300)
    first = first_rows(data, rows, 12)
    assert len(set(first)) == 12
    assert set(names[first]) == {"a", "b", "c"}
    proposer = Proposer(data, {row: str(names[row]) for row in first})
    rest = np.setdiff1d(rows, first)
    proposals = proposer.propose(rest.tolist())
    assert np.mean([p.label == names[p.row] for p in proposals]) > 0.8
    chosen = next_rows(proposer, data, rest, 10)
    assert len(set(chosen)) == 10
    assert not set(chosen) & set(first)
    margins = {p.row: p.margin for p in proposals}
    assert np.mean([margins[row] for row in chosen]) < np.mean(list(margins.values()))
    assert Proposer(data, {0: "a"}).propose([1]) == []


def test_a_curve_grows_and_says_when_it_is_flat() -> None:
    rng = np.random.default_rng(5)
    of = np.arange(400) % 2
    data = unit(np.eye(8)[of] + 0.2 * rng.standard_normal((400, 8)))
    curve = learning_curve(data, [(row, "xy"[of[row]]) for row in range(400)])
    assert curve[-1][0] == 400
    assert curve[-1][1] > 0.9
    assert may_stop(curve)
    assert not may_stop([(100, 0.5), (400, 0.9)])
    assert not may_stop(curve[:2])


def test_outliers_are_far_from_all(store: DatasetStore, tmp_path: Path) -> None:
    rows = [{"text": f"the card number {n % 7} is late again"} for n in range(60)]
    rows += [{"text": f"{n} the card number {n % 7} is late again"} for n in range(60)]
    rows.append({"text": "zebra quartz violin"})
    found = find_outliers(embedded(imported(store, tmp_path, "far", rows)))
    assert [row for row, _ in found.rows][:1] == [120]


def test_a_map_is_the_same_again_and_names_its_clusters(store: DatasetStore, tmp_path: Path) -> None:
    rows = [
        {"text": f"{text} {n}", "label": topic} for n in range(8) for topic, texts in TOPICS.items() for text in texts
    ]
    version = imported(store, tmp_path, "map", [*rows, {"text": "", "label": "none"}])
    index = embedded(version)
    made = make_map(index, 3)
    assert sum(t["rows"] for t in made.record["topics"]) == 96 == made.record["placed"]
    assert made.clusters[96] == -1
    assert np.isnan(made.points[96]).all()
    assert np.nanmin(made.points) >= 0
    assert np.nanmax(made.points) <= 1
    for topic in made.record["topics"]:
        assert {str(version.rows_at([row])[0]["label"]) for row in topic["examples"]} <= {
            one["label"] for one in topic["labels"]
        }
    points, clusters = np.array(made.points), np.array(made.clusters)
    again = make_map(index, 3)
    assert again.record == made.record
    assert np.array_equal(again.points, points, equal_nan=True)
    assert np.array_equal(again.clusters, clusters)
    assert made.rows_of([0]) == np.flatnonzero(clusters == 0).tolist()
    assert find_map(version) is not None


def test_a_map_that_was_not_finished_is_none(version: DatasetVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    index = embedded(version)
    make_map(index, 3)

    def full(path: Path, _data: str | bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(topics, "write_noted", full)
    with pytest.raises(OSError, match="No space left"):
        make_map(index, 2)
    assert find_map(version) is None
    for count in (-1, 501, 10**9):
        with pytest.raises(InputRefusedError, match="clusters cannot be made"):
            make_map(index, count)


def test_words_that_name_a_cluster_are_commoner_in_it() -> None:
    words = [Counter({"the": 50, "card": 40, "late": 9}), Counter({"the": 50, "pin": 30, "late": 1})]
    first, second = name_clusters(words)
    assert first[0] == "card"
    assert second[0] == "pin"
    assert "the" not in first + second


def test_places_keep_what_is_near_together() -> None:
    rng = np.random.default_rng(3)
    centres = unit(rng.standard_normal((6, 32)))
    data = unit(np.repeat(centres, 30, axis=0) + 0.05 * rng.standard_normal((180, 32)))
    rows = np.arange(180)
    found = fit_clusters(data, rows, 6)
    of = nearest_clusters(data, rows, found)
    assert all(len(set(of[n * 30 : n * 30 + 30].tolist())) == 1 for n in range(6))
    points = place_rows(data, rows, found, place_centres(found))
    inside = max(np.ptp(points[of == c], axis=0).max() for c in range(6))
    assert inside < np.ptp(points, axis=0).max() / 4


def test_coverage_finds_what_was_not_trained(store: DatasetStore, version: DatasetVersion, tmp_path: Path) -> None:
    trained = embedded(version)
    make_map(trained, 3)
    tests = embedded(
        imported(store, tmp_path, "test", [{"text": "my card is where"}, {"text": "zebra"}, {"text": "the pin change"}])
    )
    found = measure_coverage(tests, trained, find_map(version))
    assert next(one["row"] for one in found["farthest"]) == 1
    assert found["levels"][2]["rows"] == 2
    assert [len(measure_coverage(tests, trained, farthest=n)["farthest"]) for n in (1, 3)] == [1, 3]
    assert (found["farthest"][-1]["row"], found["farthest"][-1]["nearest"]) in {(0, 0), (2, 8)}
    assert sum(topic["evaluated"] for topic in found["topics"]) == 3
    with pytest.raises(InputRefusedError, match="cannot be compared"):
        measure_coverage(embedded(tests.version, Words(EmbedderSpec("other", "2" * 64))), trained)


# ── filters ──


def test_filters_by_meaning(store: DatasetStore, version: DatasetVersion) -> None:
    with pytest.raises(InputRefusedError, match="has no embeddings"):
        rows_for(store, version, "!")
    embedded(version)
    make_map(require_index(version), 3)
    assert rows_for(store, version, "#8").rows[0] == 8
    assert sorted(rows_for(store, version, "@0,1,2").rows) == list(range(12))
    assert rows_for(store, version, "~0.999").told.startswith("No two rows")
    assert "covers" not in rows_for(store, version, "-bank").told
    for bad in ("#x", "#inf", "#nan", "#1.5", "@1,b", "@3", "@-1", "@1e400", "~high", "~7", "~nan"):
        with pytest.raises(InputRefusedError):
            rows_for(store, version, bad)


def test_a_window_shows_the_nearest_first(version: DatasetVersion) -> None:
    window = RowWindow(version)
    try:
        window.select(View("?? pin"), meaning=lambda asked: [9, 2, 4] if asked == "pin" else [])
        assert [line.row for line in window.lines(0, 3)] == [9, 2, 4]
        assert window.numbers() == [9, 2, 4]
        window.select(View("?? pin", sort="text"), meaning=lambda _: [9, 2, 4])
        assert [line.row for line in window.lines(0, 3)] == [4, 9, 2]
        assert window.view.filter == "?? pin"
        window.select(View("?? nothing", sort="text"), meaning=lambda _: [])
        assert window.count == 0
        with pytest.raises(InputRefusedError):
            window.select(View("?? pin"))
    finally:
        window.close()


# ── labelling with help ──


def test_proposals_are_kept_beside_labels_and_never_counted(store: DatasetStore, version: DatasetVersion) -> None:
    index = embedded(version)
    truth = dict(enumerate(t for t, texts in TOPICS.items() for _ in texts))
    work = Labelling(store, version, Task.make("topic", "classify", tuple(TOPICS)), "ann")
    helper = LabelAssistant(work, index)
    queue = helper.order(work.queue())
    assert sorted(queue) == sorted(work.queue())
    assert helper.propose(queue[0][0]) is None
    for row, turn in queue[:6]:
        work.say(row, truth[row], turn)
    helper = LabelAssistant(work, index)
    rest = helper.order(work.queue())
    proposal = helper.propose(rest[0][0])
    assert proposal is not None
    assert proposal.label in TOPICS
    work.say(rest[0][0], truth[rest[0][0]], 0, proposed=proposal.label)
    again = Labelling(store, version, work.task, "ann")
    assert again.own()[-1].proposed == proposal.label
    helped = LabelAssistant(again, index).helped()
    assert (helped.labels, helped.compared) == (7, 1)
    made = work.finish()
    labelled = [row for batch in made.read() for _, row in batch if row.get("topic")]
    assert len(labelled) == 7


def test_only_classifications_are_helped(store: DatasetStore, version: DatasetVersion) -> None:
    work = Labelling(store, version, Task.make("good", "review"), "ann")
    with pytest.raises(InputRefusedError, match="only labels of a classification"):
        LabelAssistant(work, embedded(version))
