"""A real model against what llama.cpp's own tools made of it: tokens, perplexity, greedy text.

tests/data/smollm2_reference.json was recorded once, by tools/record_smollm2.py, which names the tools and their version. Tokens are equal
anywhere. Logits are not: weights and activations are quantized, so the last bits of a sum, which depend on the processor, on how many tokens are
evaluated at once and on whether attention is fused, decide how the next layer's inputs are rounded. On one and the same machine the distance of the two
likeliest tokens then differs by 0.1 nats in the median and by 0.96 at most over 870 tokens, and means over hundreds of tokens by half a per cent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.evaluation.perplexity import perplexity
from llmops_tui.inference.client import ModelClient, StreamEnd
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import sha256_file
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import Bench

pytestmark = pytest.mark.timeout(600)

DATA = Path(__file__).resolve().parents[1] / "data"
REFERENCE: dict[str, Any] = json.loads((DATA / "smollm2_reference.json").read_text(encoding="utf-8"))
CHUNK: int = REFERENCE["chunk"]
ANSWERS: dict[str, dict[str, Any]] = {a["prompt"]: a for a in REFERENCE["answers"]}
# A choice is clear where the second likeliest token is at least so far behind, in nats; those are all the same everywhere. Of the likely ones nearly all are.
CLEAR, LIKELY = 1.0, 0.25
CLEAR_SHARE, LIKELY_SHARE, LIKELY_SAME = 0.6, 0.85, 0.98
# The answers that go on longest before a choice that is not clear.
SURE = ("What does HTTP stand for?", "Summarise: The train was late, so we missed the start of the concert.")
# As much as was seen between ways to compute on one machine, and as much again.
CHUNK_WITHIN, TEXT_WITHIN, ALL_WITHIN = 0.03, 0.015, 0.005


def clear_runs(margins: Sequence[float]) -> Iterator[tuple[int, int]]:
    """The stretches of an answer, as (begin, end), in which every choice is clear."""
    begin = None
    for at, margin in enumerate([*margins, 0.0]):
        if margin >= CLEAR and begin is None:
            begin = at
        elif margin < CLEAR and begin is not None:
            yield begin, at
            begin = None


def clear_beginning(reference: dict[str, Any]) -> int:
    """How many tokens of an answer come before its first choice that is not clear."""
    return next((end for begin, end in clear_runs(reference["margins"]) if begin == 0), 0)


@asynccontextmanager
async def served(workspace: Workspace, path: Path, **options: Any) -> Any:
    model = ModelRegistry(Catalog(workspace)).add(path, "smollm2")
    given = {"threads": 1, "context": 1024, "parallel": 1} | options
    async with ModelClient(ServerSupervisor(workspace).ensure(model, LoadOptions(**given))) as client:
        yield client


def test_the_reference_is_of_this_file(smollm2: Path) -> None:
    assert sha256_file(smollm2) == REFERENCE["model_sha256"]


def test_tokens_are_those_of_llama_tokenize(smollm2: Path) -> None:
    native = Bench(smollm2, context=64, parallel=1).native
    cases = REFERENCE["tokens"]
    assert len(cases) >= 50
    for case in cases:
        ids = native.tokenize(case["text"], add_special=True, parse_special=case["special"])
        assert ids == case["ids"], case
        assert b"".join(map(native.raw_piece, ids)) == case["text"].encode(), case


async def test_conversations_are_rendered_and_answered_as_by_llama_server(smollm2: Path, workspace: Workspace) -> None:
    async with served(workspace, smollm2) as client:
        for prompt, reference in ANSWERS.items():
            told = await client.tokenize(messages=[{"role": "user", "content": prompt}])
            assert told["text"] == reference["rendered"]
        for prompt in SURE:
            reference = ANSWERS[prompt]
            sure = clear_beginning(reference)
            assert sure >= 5
            parameters = SamplingParameters(max_tokens=sure)
            pieces = [e async for e in client.stream_chat([{"role": "user", "content": prompt}], parameters)]
            end = pieces.pop()
            assert isinstance(end, StreamEnd)
            assert end.timings["completion_tokens"] == sure
            assert end.finish_reason == "length"
            text = "".join(map(str, pieces))
            assert text == (await client.complete("/detokenize", {"tokens": reference["ids"][:sure]}))["text"]
            assert reference["text"].startswith(text)


@pytest.mark.slow
async def test_perplexity_of_a_first_chunk_is_that_of_llama_perplexity(smollm2: Path, workspace: Workspace) -> None:
    """llama-perplexity cuts a text into chunks and counts the second half of each; the first chunk of a text is the beginning of ours."""
    text, _, _ = (DATA / "texts" / "prose.txt").read_text(encoding="utf-8").partition(" Then he had asked")
    async with served(workspace, smollm2) as client:
        found = await perplexity(client, text)
    counted = [p for _, p in found.tokens[CHUNK // 2 + 1 : CHUNK] if p is not None]
    assert len(counted) == CHUNK - CHUNK // 2 - 1
    expected = REFERENCE["perplexity"]["prose"]["first_chunk"]
    assert math.exp(-sum(counted) / len(counted)) == pytest.approx(expected, rel=CHUNK_WITHIN)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fast", "exact"])
async def test_perplexity_of_three_texts_is_that_of_llama_perplexity(
    smollm2: Path, workspace: Workspace, precision: str
) -> None:
    """All chunks of all texts, by the log-probabilities that our perplexity is made of."""
    ours = theirs = 0.0
    counted = 0
    async with served(workspace, smollm2, precision=precision) as client:
        for name, expected in REFERENCE["perplexity"].items():
            # The tool leaves the last line's end away.
            text = (DATA / "texts" / f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n")
            ids = (await client.complete("/tokenize", {"content": text, "parse_special": False}))["tokens"]
            assert len(ids) // CHUNK == expected["chunks"]
            values: list[float] = []
            for begin in range(0, expected["chunks"] * CHUNK, CHUNK):
                body = {
                    "prompt": [ids[begin : begin + CHUNK]],
                    "echo": True,
                    "logprobs": 0,
                    "max_tokens": 0,
                    "logprob_start_len": CHUNK // 2 + 1,
                }
                told = (await client.complete("/v1/completions", body))["choices"][0]["logprobs"]["token_logprobs"]
                values += told[CHUNK // 2 + 1 :]
            assert math.exp(-sum(values) / len(values)) == pytest.approx(expected["all_chunks"], rel=TEXT_WITHIN), name
            ours -= sum(values)
            theirs += len(values) * math.log(expected["all_chunks"])
            counted += len(values)
    assert math.exp(ours / counted) == pytest.approx(math.exp(theirs / counted), rel=ALL_WITHIN)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"precision": "exact"}, {"parallel": 4}])
def test_every_clear_choice_of_greedy_answers_is_that_of_llama_server(smollm2: Path, options: dict[str, Any]) -> None:
    """Generated from the reference's own beginning anew after each choice that is not clear, so that none hides what comes after it."""
    bench = Bench(smollm2, **({"context": 256, "parallel": 1} | options))
    asked: dict[str, tuple[dict[str, Any], int, int]] = {}
    for reference in ANSWERS.values():
        prompt = bench.native.tokenize(reference["rendered"], add_special=False)
        for begin, end in clear_runs(reference["margins"]):
            parameters = {"max_tokens": end - begin}
            name = bench.submit([*prompt, *reference["ids"][:begin]], parameters=parameters, logprobs=0)
            asked[name] = (reference, begin, end)
    answers = bench.run()
    compared = 0
    for name, (reference, begin, end) in asked.items():
        expected = reference["ids"][begin:end]
        ended = expected[-1] in bench.native.ends
        got = answers[name]
        assert [t[0] for t in got.tokens] == expected[: len(expected) - ended], (reference["prompt"], begin)
        assert got.result["finish_reason"] == ("stop" if ended else "length")
        compared += end - begin
    assert compared >= CLEAR_SHARE * sum(len(r["ids"]) for r in ANSWERS.values())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fast", "exact"])
def test_likely_choices_of_greedy_answers_are_those_of_llama_server(smollm2: Path, precision: str) -> None:
    """The likeliest token at each place of each answer, as it is given: nothing that differs has a part in what comes after it."""
    bench = Bench(smollm2, context=256, parallel=1, precision=precision)
    likely = same = tokens = 0
    for reference in ANSWERS.values():
        prompt = bench.native.tokenize(reference["rendered"], add_special=False)
        given = [*prompt, *reference["ids"]]
        scored = bench.ask(given, parameters={"max_tokens": 0}, score_from=len(prompt), logprobs=1).scored[
            len(prompt) :
        ]
        for (_, _, _, alternatives), token, margin in zip(scored, reference["ids"], reference["margins"], strict=True):
            tokens += 1
            if margin >= LIKELY:
                likely += 1
                same += alternatives[0][0] == token
                assert margin < CLEAR or alternatives[0][0] == token, reference["prompt"]
    assert likely >= LIKELY_SHARE * tokens
    assert same >= LIKELY_SAME * likely
