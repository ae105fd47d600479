"""Models some of whose layers look through a window: less is kept, and an answer never knows."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.engine.engines import Answer, Bench
from tests.engine.tiny_models import WINDOWED, write_tiny

# A window of 64 tokens and steps of 64 make a cache of 256 cells.
# Computed exactly, so that what is missing from a window cannot be taken for rounding.
SMALL: dict[str, Any] = {"context": 1024, "batch": 64, "micro_batch": 64, "precision": "exact"}
GREEDY = {"max_tokens": 6, "temperature": 0.0}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "gemma3.gguf", "gemma3")


# A family with windows in each other layer, one with sinks, and one that computes as fast as it may; all ways are slow.
_FEW = {("gemma3", False, "exact", 9), ("gpt-oss", False, "exact", 9)}


def ask(bench: Bench, tokens: list[int], count: int = 6, **more: Any) -> Answer:
    return bench.ask(tokens, parameters=GREEDY | {"max_tokens": count}, logprobs=0, ignore_eos=True, **more)


def assert_same(found: Answer, right: Answer, within: float = 1e-3) -> None:
    """The same tokens with the same probabilities; where two tokens are as likely to four digits, up to the first."""
    assert found.error is None
    for (token, _, mine, *_), (other, _, its, *_) in zip(found.tokens, right.tokens, strict=True):
        assert mine == pytest.approx(its, abs=within)
        if token != other:
            return


def prompt(seed: int, length: int) -> list[int]:
    return random.Random(seed).choices(range(300, 2000), k=length)


@pytest.mark.parametrize(
    ("family", "swa_full", "precision", "turns"),
    [
        pytest.param(*way, id="-".join(map(str, way)), marks=() if way in _FEW else pytest.mark.slow)
        for way in product(WINDOWED, (False, True), ("exact", "fast"), (9, 14))
        if way[1:3] != (True, "fast")
    ],
)
def test_an_answer_after_an_edit_is_that_of_the_text_evaluated_anew(
    tmp_path: Path, family: str, swa_full: bool, precision: str, turns: int
) -> None:
    path = write_tiny(tmp_path / "m.gguf", family)
    settings = SMALL | {"precision": precision}
    bench = Bench(path, **settings, parallel=2, swa_full=swa_full)
    fresh = Bench(path, **settings, parallel=1, swa_full=True, cache_bytes=0)
    rng = random.Random(family)
    versions = [prompt(1, 500)]
    reused = 0
    for turn in range(turns):
        old = rng.choice(versions)
        at = rng.choice([len(old), len(old) - 1, len(old) - 40, len(old) - 150, 30, rng.randrange(1, len(old))])
        new = [*old[:at], *prompt(100 + turn, rng.randrange(1, 60))]
        new = [*new, *old[len(new) :]][: rng.choice([len(old), 600])]
        versions.append(new)
        found = ask(bench, new, rng.choice([2, 6]))
        right = ask(fresh, new, len(found.tokens), reuse=False)
        assert_same(found, right, 1e-3 if precision == "exact" else 0.3)
        reused += found.result["reused_tokens"]
    assert reused > 500


def test_the_same_prompt_again_is_not_evaluated_again_after_a_long_answer(model: Path) -> None:
    bench, fresh = Bench(model, **SMALL, parallel=1), Bench(model, **SMALL, parallel=1, cache_bytes=0)
    tokens = prompt(2, 400)
    first = ask(bench, tokens, 400)
    again = ask(bench, tokens, 20)
    assert again.result["reused_tokens"] == len(tokens) - 1
    assert_same(again, ask(fresh, tokens, 20))
    # Going on from the end, and editing the last token of a prompt whose answer pushed it out of the window.
    longer = [*tokens, *[t[0] for t in first.tokens[:200]]]
    assert ask(bench, [*longer, 900]).result["reused_tokens"] >= len(tokens)
    edited = [*tokens[:-1], 1234]
    assert_same(ask(bench, edited), ask(fresh, edited))


def test_a_version_comes_back_from_the_kept_states(model: Path) -> None:
    bench, fresh = Bench(model, **SMALL, parallel=1), Bench(model, **SMALL, parallel=1, cache_bytes=0)
    one, other = prompt(3, 300), prompt(4, 320)
    for tokens in (one, other, one, other):
        found = ask(bench, tokens, 300)
        assert_same(found, ask(fresh, tokens, 300))
    assert found.result["reused_tokens"] == len(other) - 1


def test_without_room_for_kept_windows_the_prompt_is_evaluated_anew_and_right(model: Path) -> None:
    bench, fresh = Bench(model, **SMALL, parallel=1, cache_bytes=0), Bench(model, **SMALL, parallel=1)
    tokens = prompt(5, 400)
    ask(bench, tokens, 400)
    again = ask(bench, tokens)
    assert again.result["reused_tokens"] == 0
    assert_same(again, ask(fresh, tokens))


@pytest.mark.slow
def test_many_streams_and_their_common_beginning_are_answered_right(model: Path) -> None:
    bench, fresh = Bench(model, **SMALL, parallel=4), Bench(model, **SMALL, parallel=1, cache_bytes=0)
    system = prompt(6, 200)
    prompts = [[*system, *prompt(10 + n, 20 + 30 * (n % 3))] for n in range(10)]
    names = [
        bench.submit(p, parameters=GREEDY | {"max_tokens": 150 if n % 2 else 4}, logprobs=0, ignore_eos=True)
        for n, p in enumerate(prompts)
    ]
    found = bench.run()
    for name, tokens in zip(names, prompts, strict=True):
        assert_same(found[name], ask(fresh, tokens, len(found[name].tokens)))


def test_a_step_that_is_broken_off_leaves_the_window_right(model: Path) -> None:
    bench = Bench(model, **(SMALL | {"batch": 256}), parallel=1)
    fresh = Bench(model, **(SMALL | {"batch": 256}), parallel=1, cache_bytes=0)
    tokens = prompt(7, 700)
    name = bench.submit(tokens, parameters=GREEDY, logprobs=0, ignore_eos=True)
    bench.scheduler.step()
    bench.native.abort(on=True)
    bench.scheduler.step()
    assert_same(bench.run()[name], ask(fresh, tokens))


def test_guessed_tokens_change_nothing_with_a_window(model: Path) -> None:
    plain, guessing = Bench(model, **SMALL, parallel=1), Bench(model, **SMALL, parallel=1, speculate=True)
    tokens = prompt(8, 40) * 8
    given = GREEDY | {"max_tokens": 200}
    right = plain.ask(tokens, parameters=given, ignore_eos=True)
    found = guessing.ask(tokens, parameters=given, ignore_eos=True)
    assert found.text[:200] == right.text[:200]
