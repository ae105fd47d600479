"""Made-up requests to a server with a real engine behind it: no failure of ours, and the streams beside them are whole.

What :mod:`.test_fuzzed_requests` asks of a stand-in, here with what only the engine does: tokens, samplers, constraints, vectors.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.socket_transport import async_socket_transport
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.engine.engines import write_with_template
from tests.engine.test_fuzzed_requests import TEMPLATE, body_of, doors, sound

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# More, or others, where somebody looks for more: LLMOPS_FUZZ_COUNT and LLMOPS_FUZZ_SEED.
COUNT, SEED = int(os.environ.get("LLMOPS_FUZZ_COUNT", "1000")), int(os.environ.get("LLMOPS_FUZZ_SEED", "7"))
AT_ONCE = 10
# What keeps an answer short, where a request does not say it itself.
SHORT: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"max_tokens": 4},
    "/v1/completions": {"max_tokens": 4},
    "/v1/responses": {"max_output_tokens": 4},
    "/v1/messages": {"max_tokens": 4},
    "/infill": {"n_predict": 4},
    "/api/chat": {"options": {"num_predict": 4}},
    "/api/generate": {"options": {"num_predict": 4}},
}
BESIDE = {
    "messages": [{"role": "user", "content": "When are you open?"}],
    "max_tokens": 12,
    "temperature": 0,
    "stream": True,
    "stream_options": {"include_usage": True},
}


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerHandle]:
    """The sample model with a template that knows tools and thinking."""
    folder = tmp_path_factory.mktemp("fuzzed")
    workspace = make_workspace(Workspace(folder / "ws"))
    model = ModelRegistry(Catalog(workspace)).add(write_with_template(Path(folder) / "m.gguf", TEMPLATE), "m")
    supervisor = ServerSupervisor(workspace)
    yield supervisor.ensure(model, LoadOptions(threads=1, context=256, parallel=8))
    supervisor.stop("m")


async def beside(client: httpx.AsyncClient) -> None:
    """A stream that has to be whole whatever goes on beside it."""
    answer = await client.post("/v1/chat/completions", json=BESIDE)
    assert answer.status_code == 200, answer.text
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert events[-1]["usage"]["completion_tokens"] <= 12
    assert [event for event in events if "error" in event] == []
    ends = [choice["finish_reason"] for event in events for choice in event["choices"] if choice["finish_reason"]]
    assert ends in (["stop"], ["length"])


def broken(answer: httpx.Response) -> str:
    """What is wrong with an answer: as :func:`.sound`, and a stream that ended with a failure of ours."""
    if answer.status_code == 200 and any(f'"{kind}"' in answer.text for kind in ("server_error", "api_error")):
        return f"a failure within the answer: {answer.text[-600:]}"
    return sound(answer)


async def test_made_up_requests_reach_the_engine_and_are_answered_or_refused(handle: ServerHandle) -> None:
    chance = random.Random(SEED)
    described = doors()
    counts: dict[int, int] = {}
    async with httpx.AsyncClient(
        transport=async_socket_transport(handle.socket),
        base_url="http://localhost",
        timeout=300,
        headers={"Authorization": f"Bearer {handle.key}", "Content-Type": "application/json"},
    ) as client:
        for _ in range(COUNT // AT_ONCE):
            asked = []
            for path in chance.choices(sorted(described), k=AT_ONCE):
                body = body_of(chance, path, described[path])
                asked.append((path, SHORT.get(path, {}) | body if isinstance(body, dict) else body))
            posted = [client.post(path, content=json.dumps(body).encode()) for path, body in asked]
            answers, _ = await asyncio.gather(asyncio.gather(*posted), beside(client))
            told = zip(asked, answers, strict=True)
            assert [(request, why) for request, answer in told if (why := broken(answer))] == []
            for answer in answers:
                counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        health = (await client.get("/health")).json()
    # Requests were not all refused before the engine heard of them, and it is the same one as at the beginning.
    assert counts[200] > COUNT // 10, counts
    assert health["status"] == "ok"
