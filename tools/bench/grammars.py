"""Forms of answers: what a mask costs a token, and how long streams wait beside grammars that mean harm."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from serving import SAMPLE, served

from llmops_tui.inference.server_record import ServerHandle
from tests.engine.constraints import HOSTILE, hostile_form
from tests.engine.engines import Bench

STREAMS = 8
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "address": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 60}, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["city", "zip"],
            "additionalProperties": False,
        },
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 4},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
    },
    "required": ["name", "address", "tags", "age"],
    "additionalProperties": False,
}  # fmt: skip
ANSWER = '{"name": "Ada Lovelace", "address": {"city": "London", "zip": "12345"}, "tags": ["red", "blue"], "age": 36}'


def mask_cost(path: Path, vocabulary: int = 0, rounds: int = 30) -> dict[str, float]:
    """Microseconds of this thread a token of one answer: finding the tokens allowed, and going on by one.

    ``vocabulary`` is the number of tokens, the model's own filled up with pairs of them; 0 is the model's own.
    """
    from llmops_tui.inference.constraints import enforced
    from llmops_tui.inference.engine import grammar as grammars
    from llmops_tui.inference.engine.guidance import Tokenizer

    native = Bench(path, parallel=1).native
    started = time.thread_time()
    tokenizer = grammars.make_tokenizer(native.vocab, ())
    built = time.thread_time() - started
    count = native.n_vocab
    if vocabulary:
        tokens = _filled_up(native, vocabulary)
        started = time.thread_time()
        tokenizer = Tokenizer(tokens, sorted(native.ends))
        built, count = time.thread_time() - started, vocabulary
    text = enforced({"type": "json_schema", "json_schema": {"schema": SCHEMA}}).grammar
    answer = native.tokenize(ANSWER, add_special=False)
    masks, steps, compiles = [], [], []
    for _ in range(rounds):
        at = time.thread_time()
        matcher = grammars.Matcher(tokenizer, text, count)
        compiles.append(time.thread_time() - at)
        for token in answer:
            at = time.thread_time()
            matcher.allowed()
            then = time.thread_time()
            matcher.take(token)
            steps.append((time.thread_time() - then) * 1e6)
            masks.append((then - at) * 1e6)
    return {
        "vocabulary": count,
        "tokenizer_s": built,
        "compile_ms": statistics.median(compiles) * 1e3,
        "mask_us_mean": statistics.mean(masks),
        "mask_us_p95": float(np.percentile(masks, 95)),
        "mask_us_max": max(masks),
        "take_us_mean": statistics.mean(steps),
    }


def _filled_up(native: Any, vocabulary: int) -> list[bytes]:
    rng = random.Random(1)
    tokens = [native.piece(t) or b"\xff" + native.raw_piece(t) for t in range(native.n_vocab)]
    seen = set(tokens)
    plain = [t for t in tokens if not t.startswith(b"\xff")]
    while len(tokens) < vocabulary:
        pair = rng.choice(plain) + rng.choice(plain)
        if pair not in seen:
            seen.add(pair)
            tokens.append(pair)
    return tokens


async def _pieces(handle: ServerHandle, body: dict[str, Any]) -> AsyncIterator[bytes]:
    """The answer to one request, as it comes."""
    raw = json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {handle.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_unix_connection(handle.socket, limit=1 << 24)
    writer.write(head.encode() + raw)
    try:
        while piece := await reader.read(1 << 16):
            yield piece
    finally:
        writer.close()


async def _one_stream(handle: ServerHandle, seed: int, tokens: int) -> float:
    """The longest time between two pieces of one stream, the first counted from the request, in seconds."""
    prompt = [300 + (seed * 7919 + n) % 1000 for n in range(16)]
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True}
    last, longest = time.perf_counter(), 0.0
    async for _ in _pieces(handle, body):
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


async def waits(handle: ServerHandle, forms: list[dict[str, Any]], tokens: int = 400) -> dict[str, float]:
    """The longest wait of eight streams, first with nothing beside them, then beside the forms, one after another."""

    async def stream_until(over: asyncio.Event, seed: int) -> list[float]:
        found = []
        while not over.is_set() or not found:
            found.append(await _one_stream(handle, seed, tokens))
        return found

    async def beside(work: Any) -> tuple[float, float]:
        over = asyncio.Event()
        streams = [asyncio.create_task(stream_until(over, seed)) for seed in range(STREAMS)]
        await work
        over.set()
        each = [wait for found in await asyncio.gather(*streams) for wait in found]
        return max(each), statistics.median(each)

    async def send_all() -> None:
        for form in forms:
            held = {"grammar": form["grammar"]} if form["type"] == "grammar" else {"response_format": form}
            try:
                await _once(handle, held)
            except OSError:
                continue  # turned away before it was read

    await beside(asyncio.sleep(1))  # an engine's first steps are slower than all others
    quiet, quiet_median = await beside(asyncio.sleep(10))
    first, _ = await beside(_once(handle, {"response_format": {"type": "json_object"}}))
    started = time.perf_counter()
    longest, median = await beside(send_all())
    return {
        "forms": len(forms),
        "seconds": time.perf_counter() - started,
        "quiet_longest_s": quiet,
        "quiet_median_s": quiet_median,
        "first_form_longest_s": first,
        "hostile_longest_s": longest,
        "hostile_median_s": median,
    }


async def _once(handle: ServerHandle, held: dict[str, Any]) -> None:
    async for _ in _pieces(handle, {"prompt": "Open?", "max_tokens": 16, "temperature": 1, **held}):
        pass


def main() -> dict[str, Any]:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
    forms = [form for form, _ in HOSTILE.values()] + [hostile_form(seed) for seed in range(200)]
    result: dict[str, Any] = {"masks": mask_cost(path), "masks_of_262144": mask_cost(path, 262_144)}
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as name:
        with served(Path(name), path, context=512, parallel=STREAMS + 1) as handle:
            result["waits"] = asyncio.run(waits(handle, forms))
    return result


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
