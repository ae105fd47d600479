"""Embeddings: many texts in a step, beside streams and not in their way, refused by name where they cannot be."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.models.bert_gguf import CLS, MEAN, write_bert
from llmops_tui.models.embedding_memory import LONGEST, embedding_memory, embedding_shape
from llmops_tui.models.encoders import RANK
from llmops_tui.models.engine_settings import EngineSettings
from llmops_tui.models.gguf import read_header
from llmops_tui.models.memory import estimate
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import MODEL, Bench, questions, rewrite_gguf, write_adapter, write_mamba
from tests.representatives import representatives
from tests.waiting import wait_for

LENGTHS = (5, 300, 1, 40, 700, 260, 12, 511, 9, 100)


def token_lists(lengths: tuple[int, ...], vocabulary: int, seed: int = 1) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [[int(t) for t in rng.integers(min(300, vocabulary // 2), vocabulary, n)] for n in lengths]


def write_tiny_bert(
    path: Path, *, pooling: int | None = MEAN, context: int = 512, labels: tuple[str, ...] = ()
) -> Path:
    """A random encoder of two layers, with a handful of words; with ``labels`` it classifies."""
    width, forward, layers = 64, 128, 2
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"##{c}" for c in "abcdefghij"),
    ]
    rng = np.random.default_rng(4)
    config = {
        "max_position_embeddings": context,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "type_vocab_size": 2,
        "intermediate_size": forward,
        "num_attention_heads": 4,
        "layer_norm_eps": 1e-12,
    }
    tensors: dict[str, Any] = {
        "embeddings.word_embeddings.weight": rng.normal(size=(len(words), width)),
        "embeddings.token_type_embeddings.weight": rng.normal(size=(2, width)),
        "embeddings.position_embeddings.weight": rng.normal(size=(context, width)) / 4,
        "embeddings.LayerNorm.weight": np.ones(width),
        "embeddings.LayerNorm.bias": np.zeros(width),
    }
    for n in range(layers):
        head = f"encoder.layer.{n}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            tensors |= {
                f"{head}{name}.weight": rng.normal(size=(width, width)) / 6,
                f"{head}{name}.bias": np.zeros(width),
            }
        for name, out, inner in (("intermediate.dense", forward, width), ("output.dense", width, forward)):
            tensors |= {f"{head}{name}.weight": rng.normal(size=(out, inner)) / 8, f"{head}{name}.bias": np.zeros(out)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            tensors |= {f"{head}{name}.weight": np.ones(width), f"{head}{name}.bias": np.zeros(width)}
    if pooling == RANK:
        for name, out in (("pooler.dense", width), ("classifier", max(1, len(labels)))):
            tensors |= {f"{name}.weight": rng.normal(size=(out, width)) / 4, f"{name}.bias": rng.normal(size=out)}
        # As drawn, it would rank what is absurd before what is obvious, and be refused.
        tensors |= {name: -tensors[name] for name in ("classifier.weight", "classifier.bias")}
    return write_bert(path, config, tensors, words, pooling=pooling, exact=True, labels=labels)


@dataclass
class Heard:
    """What a queue told, by request."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, events: list[dict[str, Any]]) -> None:
        self.events.extend(events)

    def of(self, request: str, event: str) -> list[dict[str, Any]]:
        return [e for e in list(self.events) if e["id"] == request and e["event"] == event]

    def ended(self, request: str) -> bool:
        return bool(self.of(request, "done") or self.of(request, "error"))

    def vectors(self, request: str) -> list[np.ndarray]:
        found = {e["index"]: np.frombuffer(base64.b64decode(e["embedding"]), "<f4") for e in self.of(request, "vector")}
        assert sorted(found) == list(range(len(found)))
        return [found[n] for n in range(len(found))]


@dataclass
class Setup:
    """A model, something that embeds with it, and a queue before another such."""

    bench: Bench
    embedder: Any
    queue: Any
    heard: Heard


def set_up(path: Path, **options: Any) -> Setup:
    from llmops_tui.inference.engine.embedding import Embedder
    from llmops_tui.inference.engine.embedding_queue import EmbeddingQueue

    bench, heard = Bench(path, **options), Heard()
    native, given = bench.native, bench.options
    queue = EmbeddingQueue(Embedder(native, given), 1, heard, lambda: bench.scheduler.busy)
    return Setup(bench, Embedder(native, given), queue, heard)


@pytest.fixture(scope="module")
def sample() -> Setup:
    return set_up(MODEL, context=1024)


def whole(setup: Setup, tokens: list[int]) -> np.ndarray:
    """What llama.cpp itself makes of one text, in a context of its own with all of the text in one step."""
    import ctypes

    import llama_cpp

    native = setup.bench.native
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 1024
    params.n_threads = params.n_threads_batch = 1
    params.embeddings = True
    params.pooling_type = setup.embedder._pooling
    context = llama_cpp.llama_init_from_model(native.model, params)
    array = (llama_cpp.llama_token * len(tokens))(*tokens)
    assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens))) == 0
    pointer = ctypes.cast(llama_cpp.llama_get_embeddings_seq(context, 0), ctypes.POINTER(ctypes.c_float))
    found = np.ctypeslib.as_array(pointer, (setup.embedder.dimensions,)).astype(np.float64)
    llama_cpp.llama_free(context)
    return found / np.linalg.norm(found)


def made_to_embed(pooling: int) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        return rewrite_gguf(MODEL, path, set(), lambda writer: writer.add_uint32("llama.pooling_type", pooling))

    return write


MODELS: dict[str, Callable[[Path], Path]] = {
    "generates": lambda _path: MODEL, "first token": made_to_embed(2), "last token": made_to_embed(3),
    "recurrent": write_mamba, "encoder": write_tiny_bert, "encoder, first token": lambda p: write_tiny_bert(p, pooling=CLS),
}  # fmt: skip


@pytest.mark.parametrize("kind", representatives(MODELS, "generates", "encoder"))
def test_vectors_are_those_of_llama_cpp_alone_whatever_shares_their_steps(kind: str, tmp_path: Path) -> None:
    setup = set_up(MODELS[kind](tmp_path / "m.gguf"), context=1024)
    longest = setup.embedder.shape.longest
    texts = token_lists(tuple(min(n, longest) for n in LENGTHS), setup.bench.native.n_vocab)
    setup.queue.submit("a", texts)
    setup.queue.submit("b", texts[::-1])
    wait_for(lambda: setup.heard.ended("a") and setup.heard.ended("b"))
    expected = [whole(setup, tokens) for tokens in texts]
    for name, reference in (("a", expected), ("b", expected[::-1])):
        got = setup.heard.vectors(name)
        assert [float(x @ y) for x, y in zip(got, reference, strict=True)] == pytest.approx(
            [1.0] * len(texts), abs=1e-4
        )
        assert [float(np.linalg.norm(x)) for x in got] == pytest.approx([1.0] * len(texts), abs=1e-5)
        (done,) = setup.heard.of(name, "done")
        assert done["result"]["tokens"] == sum(map(len, texts))
        assert done["result"]["dimensions"] == len(got[0])


def test_short_texts_of_all_requests_share_steps_and_long_ones_are_cut_evenly() -> None:
    from llmops_tui.inference.engine.embedding import Text

    setup = set_up(MODEL, context=1024)
    texts = token_lists((5,) * 40, setup.bench.native.n_vocab)
    with setup.queue._changed:
        for name in ("a", "b", "c"):
            setup.queue.submit(name, texts)
    wait_for(lambda: all(setup.heard.ended(name) for name in ("a", "b", "c")))
    assert setup.queue.steps == 3
    long, cuts = Text(list(range(520))), []
    while long.done < 520:
        cuts.append(setup.embedder.piece(long))
        long.done += cuts[-1]
    assert cuts == [174, 173, 173]


def test_the_output_layer_is_left_out_where_it_makes_no_difference(sample: Setup, tmp_path: Path) -> None:
    sample.embedder.embed([[300, 301]])
    assert sample.embedder._rows.ends_there
    encoder = set_up(write_tiny_bert(tmp_path / "bert.gguf"))
    encoder.embedder.embed([[7, 8]])
    assert encoder.embedder._rows is None


@pytest.mark.slow
def test_streams_go_on_beside_a_long_text_and_say_what_they_say_without_it(sample: Setup) -> None:
    bench, parameters = sample.bench, {"max_tokens": 400}
    prompts = questions(3)
    alone = [bench.submit(q, parameters=parameters, ignore_eos=True) for q in prompts]
    expected = [bench.run()[name].text for name in alone]
    names = [bench.submit(q, parameters=parameters, ignore_eos=True) for q in prompts]
    bench.scheduler.step()
    sample.queue.submit("long", token_lists((1000, 1000, 1000), bench.native.n_vocab))
    before = bench.scheduler.counters.steps
    beside = 0
    while bench.scheduler.busy:
        bench.scheduler.step()
        if not sample.heard.ended("long"):
            beside = bench.scheduler.counters.steps - before
    wait_for(lambda: sample.heard.ended("long"))
    assert beside > 0
    assert [bench.answers()[name].text for name in names] == expected


@pytest.mark.slow
def test_a_short_text_does_not_wait_for_a_long_one_nor_a_long_one_for_ever(sample: Setup) -> None:
    """One thread chooses the steps; what it chose is read off the order in which texts end."""
    first, second = token_lists((1000, 5), sample.bench.native.n_vocab)
    with sample.queue._changed:
        sample.queue.submit("many", [second] * 1000)
        sample.queue.submit("patient", [first] * 2)
        sample.queue.submit("quick", [second])
    wait_for(lambda: all(sample.heard.ended(name) for name in ("patient", "quick", "many")))
    ends = [e["id"] for e in sample.heard.events if e["event"] == "done" and e["id"] in {"patient", "quick", "many"}]
    assert ends == ["quick", "patient", "many"]


class Pretender:
    """What a queue needs of an embedder; it evaluates nothing."""

    pack, dimensions, pooling = 256, 1, "mean"

    def __init__(self, together: int) -> None:
        self.together = together

    def check(self, *_texts: Any, **_how: Any) -> None: ...

    def abort(self, *, on: bool) -> None: ...

    def piece(self, text: Any) -> int:
        return min(256, len(text.tokens) - text.done)

    def evaluate(self, pieces: Any, **_how: Any) -> None:
        for text, count in pieces:
            text.done += count

    def vector(self, text: Any) -> np.ndarray:
        return np.array([len(text.tokens)])


@pytest.mark.parametrize("together", [1, 64])
@pytest.mark.parametrize("pieces", [1, 2, 3, 4])
def test_long_texts_take_turns_with_short_ones_and_with_each_other(together: int, pieces: int) -> None:
    """A model that keeps a state evaluates one sequence at a time: there a long text keeps the short ones waiting."""
    from llmops_tui.inference.engine.embedding_queue import EmbeddingQueue

    heard = Heard()
    queue = EmbeddingQueue(Pretender(together), 1, heard, lambda: False)  # type: ignore[arg-type]
    long = [300] * (256 * pieces + (pieces == 1))
    with queue._changed:
        queue.submit("short", [[300] * 200] * 100)
        for name in ("a", "b"):
            queue.submit(name, [long] * 10)
        queue.submit("mixed", [long, *[[300]] * 2])
    wait_for(lambda: all(heard.ended(name) for name in ("short", "a", "b", "mixed")))
    told = [e["id"] for e in heard.events if e["event"] == "vector"]
    longs = [name for name in told if name in {"a", "b"}]
    assert longs[:10] in (["a", "b"] * 5, ["b", "a"] * 5)
    assert "short" in told[:4]
    assert {"a", "b", "mixed"} <= set(told[:20])
    assert [float(v[0]) for v in heard.vectors("mixed")] == [len(long), 1, 1]
    assert len(heard.vectors("short")) == 100


@pytest.mark.parametrize("moment", [1, 2])
def test_a_client_that_leaves_during_the_trial_does_not_decide_the_way_of_embedding(moment: int) -> None:
    from llmops_tui.inference.engine.embedding import Text
    from llmops_tui.inference.engine.evaluation import DecodeAbortedError

    embedder = set_up(MODEL).embedder
    decode, calls = embedder._decode, 0

    def leaving(pieces: Any) -> Any:
        nonlocal calls
        calls += 1
        embedder.abort(on=calls == moment)
        return decode(pieces)

    embedder._decode = leaving
    with pytest.raises(DecodeAbortedError):
        embedder.evaluate([(Text([300, 301]), 2)])
    assert not embedder._rows.ends_there
    embedder.abort(on=False)
    embedder.embed([[300, 301]])
    assert embedder._rows.ends_there
    # Two trials once more, and the text; the next is evaluated at once.
    assert calls == moment + 3
    embedder.embed([[300, 301]])
    assert calls == moment + 4
    assert len(embedder._free) == embedder.together


def test_a_request_that_nobody_waits_for_ends_at_once_and_others_do_not_notice(sample: Setup) -> None:
    texts = token_lists((900, 30), sample.bench.native.n_vocab)
    expected = sample.embedder.embed(texts)
    steps = sample.queue.steps
    sample.queue.submit("left", [texts[0]] * 50)
    sample.queue.submit("stays", texts)
    sample.queue.cancel("left")
    sample.queue.cancel("unknown")
    wait_for(lambda: sample.heard.ended("stays"))
    assert not sample.heard.ended("left")
    assert sample.queue.steps - steps < 50
    got = sample.heard.vectors("stays")
    assert all(float(x @ y) > 0.9999 for x, y in zip(got, expected, strict=True))


def test_an_evaluation_that_is_broken_off_counts_for_nothing(sample: Setup) -> None:
    from llmops_tui.inference.engine.embedding import Text
    from llmops_tui.inference.engine.evaluation import DecodeAbortedError

    embedder = sample.embedder
    (tokens,) = token_lists((600,), sample.bench.native.n_vocab)
    expected = embedder.embed([tokens])[0]
    text = Text(tokens)
    embedder.evaluate([(text, embedder.piece(text))])
    done = text.done
    embedder.abort(on=True)
    with pytest.raises(DecodeAbortedError):
        embedder.evaluate([(text, embedder.piece(text))])
    embedder.abort(on=False)
    assert text.done == done > 0
    while text.done < len(tokens):
        embedder.evaluate([(text, embedder.piece(text))])
    assert float(embedder.vector(text) @ expected) == pytest.approx(1, abs=1e-5)
    assert len(embedder._free) == embedder.together


def test_an_adapter_changes_the_vectors_of_its_own_requests_alone(tmp_path: Path) -> None:
    setup = set_up(MODEL)
    setup.bench.native.add_adapter("x", str(write_adapter(tmp_path / "x.gguf", seed=2)))
    texts = token_lists((20, 30), setup.bench.native.n_vocab)
    for name, adapter in (("plain", ""), ("with", "x"), ("again", "")):
        setup.queue.submit(name, texts, adapter=adapter)
    wait_for(lambda: all(setup.heard.ended(name) for name in ("plain", "with", "again")))
    plain, other, again = (setup.heard.vectors(name) for name in ("plain", "with", "again"))
    assert all(float(x @ y) == pytest.approx(1, abs=1e-5) for x, y in zip(plain, again, strict=True))
    assert all(float(x @ y) < 0.999 for x, y in zip(plain, other, strict=True))


@pytest.mark.parametrize("pooling", [3, RANK])
def test_a_model_that_embeds_or_ranks_is_not_asked_for_text_whatever_it_is_built_as(
    workspace: Workspace, tmp_path: Path, pooling: int
) -> None:
    registry = ModelRegistry(Catalog(workspace))
    registry.add(MODEL, "writes")
    registry.add(made_to_embed(pooling)(tmp_path / "made.gguf"), "made")
    assert [model.name for model in registry.runnable()] == ["writes"]
    assert registry.writing("writes").writes
    with pytest.raises(InputRefusedError) as caught:
        registry.writing("made")
    assert caught.value.code == "no_generation"


def test_what_cannot_be_embedded_is_refused_by_its_place(sample: Setup, tmp_path: Path) -> None:
    def refused(setup: Setup, texts: list[list[int]], dimensions: int | None = None) -> InputRefusedError:
        with pytest.raises(InputRefusedError) as caught:
            setup.queue.submit("refused", texts, dimensions=dimensions)
        return caught.value

    assert refused(sample, [[300], []]).message == "input[1]: the text is empty"
    assert refused(sample, [[]]).message == "the text is empty"
    assert refused(sample, [[300], [300], [10**6]]).message.startswith(
        "input[2]: the token id 1,000,000 is not in the vocabulary"
    )
    long = refused(sample, [[300], [300] * 1030])
    assert long.code == "context_length_exceeded"
    assert "input[1]: the text has 1,030 tokens, 6 too many: this model embeds up to 1,024" in long.message
    assert refused(sample, [[300]], dimensions=3).code == "bad_dimensions"
    ranks = set_up(made_to_embed(RANK)(tmp_path / "rank.gguf"))
    error = refused(ranks, [[300]])
    assert (error.code, "ranks pairs" in error.message) == ("no_embeddings", True)
    encoder = set_up(write_tiny_bert(tmp_path / "bert.gguf"), context=512)
    assert "this model embeds up to 512" in refused(encoder, [[7] * 513]).message
    assert encoder.bench.refused([7, 8]).code == "no_generation"
    encoder.bench.native.check()


class PanicError(BaseException):
    """As a library written in Rust ends a call, which is no Exception."""


@pytest.mark.parametrize(
    ("error", "code"), [(LlmopsError("context_failed", "no memory"), "context_failed"), (PanicError(), "engine_failed")]
)
def test_a_failure_is_told_to_all_whose_texts_it_was(
    error: BaseException, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = set_up(MODEL)
    begun = threading.Event()

    def fail(*_pieces: Any, **_how: Any) -> None:
        begun.wait(120)
        raise error

    monkeypatch.setattr(setup.queue._embedder, "evaluate", fail)
    setup.queue.submit("a", [[300]])
    setup.queue.submit("b", [[301]])
    begun.set()
    wait_for(lambda: setup.heard.ended("a") and setup.heard.ended("b"))
    assert setup.heard.of("a", "error")[0]["error"]["code"] == code
    monkeypatch.undo()
    setup.queue.submit("c", [[300]])
    wait_for(lambda: bool(setup.heard.of("c", "done")))


def test_its_memory_is_what_llama_cpp_allocates_and_part_of_the_estimate() -> None:
    setup = set_up(MODEL, context=1024)
    setup.embedder.embed([[300]])
    header, settings = read_header(MODEL), EngineSettings(context=1024, parallel=4)
    found = embedding_memory(header, settings, 1024)
    shape = setup.embedder.shape
    assert (shape.longest, shape.step, shape.cells) == (1024, 256, 1280)
    # Five layers, two heads of 64 wide keys and values of 16 bits each.
    assert sum(found.cache) == 5 * 2 * 2 * 64 * 2 * shape.cells
    whole = estimate(header, settings)
    assert whole.embedding == found.total
    assert whole.host == pytest.approx(
        whole.weights + whole.kv_cache + whole.compute + whole.embedding + 180_000_000, rel=1e-9
    )
    on_gpu = estimate(header, settings, (6,))
    assert on_gpu.host - (header.tensor_bytes - sum(header.layer_bytes.values()) - header.output_bytes) > found.outputs


def test_long_contexts_of_models_that_generate_do_not_make_embedding_dear() -> None:
    generates = embedding_shape(context=131_072, vocabulary=128_000, causal=True, pooling=-1)
    assert (generates.longest, generates.step) == (LONGEST, 131)
    assert generates.cells < LONGEST + 512
    embeds = embedding_shape(context=32_768, vocabulary=151_000, causal=True, pooling=3)
    assert embeds.longest == 32_768
    encoder = embedding_shape(context=512, vocabulary=30_522, causal=False, pooling=1)
    assert (encoder.longest, encoder.step) == (512, 512)
