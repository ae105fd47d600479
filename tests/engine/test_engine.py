from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.engine.engines import MODEL, Bench, questions, write_adapter, write_mamba


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    return Bench()


def greedy(bench: Bench, prompt: str | list[int], **parameters: object) -> str:
    return bench.ask(prompt, parameters=parameters).text


# Each precision against the library with the same attention and the same cache.
PRECISIONS = {"fast": {"flash_attn": True}, "exact": {"type_k": 0, "type_v": 0}}


@pytest.mark.parametrize("count", [8, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_greedy_text_equals_that_of_the_library_and_batches_agree_with_it(precision: str, count: int) -> None:
    import llama_cpp

    prompts = questions(count)
    library = llama_cpp.Llama(str(MODEL), n_ctx=512, n_threads=1, verbose=False, **PRECISIONS[precision])
    expected = [library.create_completion(p, max_tokens=24, temperature=0.0)["choices"][0]["text"] for p in prompts]
    single = Bench(precision=precision)
    assert [greedy(single, p) for p in prompts] == expected
    wide = Bench(parallel=16, precision=precision)
    names = [wide.submit(p) for p in prompts]
    answers = wide.run()
    same = sum(answers[n].text == e for n, e in zip(names, expected, strict=True))
    # A batch adds its products in another order; a near tie may then fall the other way.
    assert same >= len(prompts) - max(1, len(prompts) // 100)


def test_text_does_not_depend_on_what_was_generated_before(bench: Bench) -> None:
    for prompt in questions(6):
        assert greedy(bench, prompt) == greedy(Bench(), prompt)


def test_tokens_are_those_of_the_tokenizer_file(bench: Bench) -> None:
    from tokenizers import Tokenizer

    reference = Tokenizer.from_file(str(MODEL.parent / "support-base" / "tokenizer.json"))
    for text in [*questions(30), "Grüße 日本 👍\n\n  x", "it's 12345 days", "\t\x00<|im_end|>a"]:
        ids = bench.native.tokenize(text, add_special=False)
        assert ids == reference.encode(text, add_special_tokens=False).ids
        assert b"".join(bench.native.raw_piece(i) for i in ids).decode() == text


def test_the_same_seed_gives_the_same_text(bench: Bench) -> None:
    hot = {"temperature": 1.5, "seed": 7, "max_tokens": 40}
    prompt = questions(1)[0]
    assert greedy(bench, prompt, **hot) == greedy(bench, prompt, **hot) != greedy(bench, prompt, **(hot | {"seed": 8}))


def test_a_cancel_ends_a_request_whether_it_runs_or_waits() -> None:
    bench = Bench(parallel=1)
    first = bench.submit(questions(1)[0], parameters={"max_tokens": 300}, ignore_eos=True)
    second = bench.submit(questions(2)[1])
    for _ in range(5):
        bench.scheduler.step()
    bench.scheduler.cancel(second)
    bench.scheduler.cancel(first)
    assert not bench.scheduler.busy
    answers = bench.answers()
    assert answers[first].result["finish_reason"] == answers[second].result["finish_reason"] == "cancelled"
    assert answers[first].result["completion_tokens"] == 5
    assert answers[second].result["completion_tokens"] == 0
    assert bench.ask(questions(3)[2]).result["finish_reason"] == "stop"


def test_a_step_that_is_broken_off_leaves_nothing_behind() -> None:
    bench, fresh = Bench(parallel=2, context=1024), Bench(parallel=2, context=1024)
    prompt = bench.native.tokenize("kettle " * 700, add_special=False)
    name = bench.submit(prompt)
    bench.native.abort(on=True)
    bench.scheduler.step()
    assert bench.scheduler.busy
    assert bench.run()[name].text == fresh.ask(prompt).text


def test_only_what_changed_of_a_prompt_is_evaluated_and_versions_are_kept() -> None:
    bench = Bench(parallel=2, context=1024)
    tokens = bench.native.tokenize("kettle rug lamp " * 100, add_special=False)
    one = {"max_tokens": 1}
    assert bench.ask(tokens, parameters=one).result["reused_tokens"] == 0
    edited = [*tokens[:-3], 300, 301, 302]
    assert bench.ask(edited, parameters=one).result["reused_tokens"] == len(tokens) - 3
    versions = [[v + 400, *tokens[1:]] for v in range(4)]
    for version in versions:
        assert bench.ask(version, parameters=one).result["reused_tokens"] == 0
    for version in versions * 2:
        assert bench.ask(version, parameters=one).result["reused_tokens"] == len(tokens) - 1
    assert bench.ask(versions[0], parameters=one, reuse=False).result["reused_tokens"] == 0


def test_what_comes_from_the_cache_is_answered_as_if_it_did_not() -> None:
    # Exactly, since beside another request sums are added in another order and a near tie may fall the other way.
    cached = Bench(parallel=2, precision="exact")
    cold = Bench(parallel=1, cache_bytes=0, precision="exact")
    system = "<|im_start|>system\n" + "Answer politely. " * 20 + "<|im_end|>\n"
    prompts = [system + q for q in questions(24)]
    names = [cached.submit(p) for p in prompts]
    answers = cached.run()
    assert [answers[n].text for n in names] == [cold.ask(p, reuse=False).text for p in prompts]
    assert sum(a.result["reused_tokens"] for a in answers.values()) > 1000


def test_requests_that_begin_alike_evaluate_their_beginning_once() -> None:
    bench = Bench(parallel=8, context=1024)
    shared = bench.native.tokenize("kettle rug lamp " * 80, add_special=False)
    names = [bench.submit([*shared, 400 + n, 500 + n]) for n in range(8)]
    answers = bench.run()
    reused = sorted(answers[n].result["reused_tokens"] for n in names)
    assert reused[0] == 0
    assert reused[1] >= len(shared)


def test_the_kept_states_never_pass_their_limit() -> None:
    bench = Bench(parallel=1, cache_bytes=3_000_000)
    for n in range(12):
        bench.ask([400 + n, *range(300, 500)], parameters={"max_tokens": 1})
        assert bench.scheduler.cache.used_bytes <= 3_000_000
    assert len(bench.scheduler.cache) > 1


def test_a_short_prompt_is_not_stuck_behind_a_long_one_and_the_long_one_is_not_starved() -> None:
    bench = Bench(parallel=2, context=4096 // 4)
    streaming = bench.submit(questions(1)[0], parameters={"max_tokens": 400}, ignore_eos=True)
    bench.scheduler.step()
    bench.scheduler._sharing._rate = 1.0  # the slowest machine: 16 tokens a step beside running streams
    long = bench.submit([300 + n % 50 for n in range(600)], parameters={"max_tokens": 1})
    made = 0
    for step in range(600):
        bench.scheduler.step()
        bench.scheduler._sharing._rate = 1.0
        if bench.answers().get(long) and bench.answers()[long].result:
            break
        made = step
    # 600 tokens at 16 a step, one token of the stream in each.
    assert 30 <= made <= 60
    bench.scheduler.cancel(streaming)

    wide = Bench(parallel=3, context=1024)
    long = wide.submit([300 + n % 50 for n in range(900)], parameters={"max_tokens": 1})
    shorts = [wide.submit(q, parameters={"max_tokens": 1}) for q in questions(12)]
    ends = [e["id"] for e in wide.events]
    while wide.scheduler.busy:
        wide.scheduler.step()
        ends = [e["id"] for e in wide.events if e["event"] == "done"]
    assert ends.index(shorts[0]) < ends.index(long) < ends.index(shorts[-1])


def test_streams_that_are_scattered_are_moved_together() -> None:
    bench = Bench(parallel=4)
    names = [
        bench.submit(q, parameters={"max_tokens": 5 if n in {0, 2} else 200}, ignore_eos=True)
        for n, q in enumerate(questions(4))
    ]
    while sum(s.running is not None for s in bench.scheduler._slots) != 2 or bench.scheduler._waiting:
        bench.scheduler.step()
    bench.scheduler.step()
    busy = [s.id for s in bench.scheduler._slots if s.running is not None]
    assert busy[1] - busy[0] == 1
    answers, alone = bench.run(), Bench(parallel=1)
    for n, prompt in enumerate(questions(4)):
        expected = alone.ask(prompt, parameters={"max_tokens": 5 if n in {0, 2} else 200}, ignore_eos=True)
        assert answers[names[n]].text == expected.text


def test_adapters_take_turns_and_are_never_mixed(tmp_path: Path) -> None:
    paths = {name: write_adapter(tmp_path / f"{name}.gguf", seed=seed) for name, seed in (("a", 1), ("b", 2))}
    prompts = questions(12)

    def load(bench: Bench) -> Bench:
        for name, path in paths.items():
            bench.native.add_adapter(name, str(path))
        return bench

    alone, together = load(Bench(parallel=1)), load(Bench(parallel=6))
    choice = ["", "a", "b"]
    expected = [alone.ask(p, adapter=choice[n % 3]).text for n, p in enumerate(prompts)]
    names = [together.submit(p, adapter=choice[n % 3]) for n, p in enumerate(prompts)]
    answers = together.run()
    assert [answers[n].text for n in names] == expected
    same_prompt = {alone.ask(prompts[0], adapter=name).text for name in choice}
    assert len(same_prompt) == 3


def test_a_recurrent_model_is_evaluated_whole_and_right(tmp_path: Path) -> None:
    import llama_cpp

    path = write_mamba(tmp_path / "mamba.gguf")
    library = llama_cpp.Llama(str(path), n_ctx=512, n_threads=1, verbose=False)
    bench = Bench(path, parallel=2)
    assert not bench.native.can_trim
    tokens = list(range(300, 380))
    for prompt in (tokens, [*tokens[:-5], 1, 2, 3], tokens, tokens[:40]):
        library.reset()
        expected = list(itertools.islice(library.generate(prompt, temp=0.0), 12))
        answer = bench.ask(prompt, parameters={"max_tokens": 12}, logprobs=0, ignore_eos=True)
        assert [t[0] for t in answer.tokens] == expected
        assert answer.result["reused_tokens"] == 0
    # A conversation that only grows goes on from its state; whatever else is evaluated whole.
    made = bench.ask(tokens, parameters={"max_tokens": 4}, logprobs=0, ignore_eos=True)
    grown = [*tokens, *(t[0] for t in made.tokens), 400, 401]
    answer = bench.ask(grown, parameters={"max_tokens": 4}, logprobs=0, ignore_eos=True)
    library.reset()
    assert [t[0] for t in answer.tokens] == list(itertools.islice(library.generate(grown, temp=0.0), 4))
    assert answer.result["reused_tokens"] == len(tokens) + 3


def test_log_probabilities_of_given_and_generated_text_are_those_of_full_logits() -> None:
    import llama_cpp

    bench = Bench(precision="exact")
    library = llama_cpp.Llama(str(MODEL), n_ctx=512, n_threads=1, verbose=False, logits_all=True, type_k=0, type_v=0)
    prompt = questions(3)[2]
    tokens = bench.native.tokenize(prompt, add_special=False)
    answer = bench.ask(tokens, logprobs=3, score_from=0, parameters={"max_tokens": 6})
    made = [t[0] for t in answer.tokens]
    library.reset()
    library.eval([*tokens, *made])
    logits = library.scores[: len(tokens) + len(made)].astype(np.float64)
    reference = (
        logits
        - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
        - logits.max(1, keepdims=True)
    )
    told = answer.scored + answer.tokens
    assert [t[0] for t in told] == tokens + made
    assert told[0][2] is None
    for place in range(1, len(told)):
        assert told[place][2] == pytest.approx(reference[place - 1][told[place][0]], abs=1e-4)
        best = [t[0] for t in told[place][3]]
        assert told[place][3][0][2] == pytest.approx(reference[place - 1].max(), abs=1e-4)
        assert len(best) == 3
    partly = bench.ask(tokens, logprobs=0, score_from=5, parameters={"max_tokens": 0})
    assert [t[2] is None for t in partly.scored] == [True] * 5 + [False] * (len(tokens) - 5)
    assert [t[2] for t in partly.scored[5:]] == pytest.approx([t[2] for t in answer.scored[5:]], abs=1e-4)
    assert partly.result["completion_tokens"] == 0


def test_scored_tokens_are_told_in_parts_as_they_are_evaluated_and_each_once() -> None:
    from llmops_tui.inference.engine.sequence import SCORED_PART

    tokens = [300 + n % 50 for n in range(900)]
    whole = Bench(context=1024, batch=1024).ask(tokens, logprobs=2, score_from=0, parameters={"max_tokens": 2})
    bench = Bench(context=1024, batch=64, micro_batch=64)
    name = bench.submit(tokens, logprobs=2, score_from=300, parameters={"max_tokens": 2})
    while not bench.events:
        bench.scheduler.step()
    # A step that is broken off, after which this model's state would have to be evaluated from its beginning.
    (slot,) = [s for s in bench.scheduler._slots if s.running is not None]
    assert slot.evaluated < len(tokens)
    bench.native.trim(slot.id, 0)
    slot.evaluated = 0
    answer = bench.run()[name]
    parts = [e for e in bench.events if e["event"] == "scored"]
    assert [t[0] for t in answer.scored] == tokens
    assert [t[2] for t in answer.scored[:300]] == [None] * 300
    assert [t[2] for t in answer.scored[300:]] == pytest.approx([t[2] for t in whole.scored[300:]], abs=0.05)
    assert [e["last"] for e in parts] == [False] * (len(parts) - 1) + [True]
    assert max(len(e["tokens"]) for e in parts) <= SCORED_PART
    assert len(parts) > 600 // 64
    assert bench.events[-1]["event"] == "done"


def test_an_echo_in_parts_is_the_text_though_a_character_lies_across_them() -> None:
    from llmops_tui.inference.server.events import Teller
    from llmops_tui.inference.server.generation import Choice
    from llmops_tui.inference.server.records import Record

    text = "Grüße, 日本 👍"
    tokens = [[n, [byte], -1.0, []] for n, byte in enumerate(text.encode())]
    choice = Choice(0, Record("run", {}), {"score_from": 0})
    teller, told = Teller("text", "id", "m"), b""
    for at in range(0, len(tokens), 4):
        part = {"event": "scored", "tokens": tokens[at : at + 4], "last": at + 4 >= len(tokens)}
        told += teller.stream(choice, [part])
    events = [json.loads(line[6:])["choices"][0] for line in told.decode().splitlines() if line]
    assert "".join(e["text"] for e in events) == text
    assert [i for e in events for i in e["logprobs"]["token_ids"]] == list(range(len(tokens)))
    offsets = [e["logprobs"]["text_offset"][0] for e in events]
    assert offsets == [sum(len(e["text"]) for e in events[:n]) for n in range(len(events))]


def test_stop_strings_cut_text_and_log_probabilities_alike(bench: Bench) -> None:
    prompt = "<|im_start|>user\nWhen are you open?<|im_end|>\n<|im_start|>assistant\n"
    answer = bench.ask(prompt, logprobs=0, parameters={"stop": ("Saturday",)})
    assert answer.text == "We are open Monday to "
    # The token in which the cut falls is told; none after it.
    assert [bytes(t[1]).decode() for t in answer.tokens][-2:] == [" to", " Saturday"]
    assert answer.result["finish_reason"] == "stop"


def test_a_prompt_that_is_too_long_is_refused_or_cut_as_named(bench: Bench) -> None:
    tokens = [300 + n % 50 for n in range(600)]
    error = bench.refused(tokens)
    assert error.code == "context_length_exceeded"
    assert "600 tokens, 89 too many for the context of 512" in error.message
    left = bench.ask(tokens, truncate="left", parameters={"max_tokens": 10}, score_from=0, logprobs=0)
    assert left.result["truncated_tokens"] == 98
    assert [t[0] for t in left.scored] == tokens[98:]
    middle = bench.ask(tokens, truncate="middle", parameters={"max_tokens": 10}, score_from=0, logprobs=0)
    assert [t[0] for t in middle.scored] == tokens[:251] + tokens[-251:]
    full = bench.ask(tokens[:500], parameters={"max_tokens": 100}, ignore_eos=True)
    assert (full.result["finish_reason"], full.result["completion_tokens"]) == ("length", 12)
    assert bench.refused([5000]).code == "bad_token"
    assert bench.refused([]).code == "empty_prompt"


def test_guessed_tokens_change_nothing_but_speed() -> None:
    plain, guessing = Bench(parallel=2), Bench(parallel=2, speculate=True)
    prompt = "<|im_start|>user\n" + "kettle rug kettle rug lamp " * 12 + "<|im_end|>\n<|im_start|>assistant\n"
    for parameters in ({"max_tokens": 120}, {"max_tokens": 80, "temperature": 0.7, "seed": 3}):
        expected = plain.ask(prompt, parameters=parameters, ignore_eos=True)
        got = guessing.ask(prompt, parameters=parameters, ignore_eos=True)
        assert got.text == expected.text
    counters = guessing.scheduler.counters
    assert counters.drafted_tokens > 0
    assert 0 < counters.accepted_tokens <= counters.drafted_tokens
    # Beside another request nothing is guessed: a wider step is then put to better use.
    before = counters.drafted_tokens
    names = [guessing.submit(q, parameters={"max_tokens": 20}, ignore_eos=True) for q in questions(2)]
    for _ in range(10):
        guessing.scheduler.step()
    assert guessing.scheduler.counters.drafted_tokens == before
    guessing.run()
    assert len(names) == 2


def test_a_guesser_that_is_mostly_wrong_gives_up() -> None:
    from llmops_tui.inference.engine.prompt_lookup import NgramDraft

    draft = NgramDraft()
    tokens = [1, 2, 3, 4, 5, 1, 2, 3]
    assert draft.propose(tokens, 10) == [4, 5, 1, 2]
    assert draft.propose(tokens, 1) == [4]
    draft.learn(40, 10)
    assert draft.off
    assert draft.propose(tokens, 10) == []


def test_embeddings_are_near_for_near_texts(bench: Bench) -> None:
    from llmops_tui.inference.engine.embedding import Embedder

    embedder = Embedder(bench.native, bench.options)
    texts = ("I want my money back for the rug", "money back for the rug please", "When are you open?")
    vectors = embedder.embed([bench.native.tokenize(t, add_special=False) for t in texts])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_prompts_that_were_of_use_outlast_a_stream_of_strangers() -> None:
    from llmops_tui.inference.engine.prefix_cache import MAX_SNAPSHOTS, PrefixCache, Snapshot

    def snapshot(first: int) -> Snapshot:
        return Snapshot([first, *range(50)], "", np.zeros(1000, np.uint8))

    cache = PrefixCache(10**9)
    kept = [snapshot(n) for n in range(4)]
    for one in kept:
        cache.add(one)
        cache.touch(one)
    for n in range(100, 100 + 3 * MAX_SNAPSHOTS):
        cache.add(snapshot(n))
    assert len(cache) == MAX_SNAPSHOTS
    assert cache.used_bytes == 1000 * MAX_SNAPSHOTS
    for one in kept:
        assert cache.best([*one.tokens, 7], "", 100, lambda found, common: common * (common == len(found.tokens))) == (
            51,
            one,
        )
    assert cache.best(kept[0].tokens, "other", 100, lambda _found, common: common) == (0, None)
    longer = Snapshot([*kept[0].tokens, 8, 9], "", np.zeros(2000, np.uint8))
    cache.add(longer)
    assert longer.used
    assert cache.best(kept[0].tokens, "", 100, lambda _found, common: common)[1] is longer
