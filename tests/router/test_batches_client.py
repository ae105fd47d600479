"""The `openai` package's files and batches, unmodified, with a server that is killed in between: behind one model and behind all."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from typing import Any

import pytest

from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CHAT = "/v1/chat/completions"


def asked(count: int, **body: Any) -> bytes:
    more = {
        "messages": [{"role": "user", "content": "When are you open?"}],
        "max_tokens": 24,
        "ignore_eos": True,
    } | body
    lines = [{"custom_id": f"r{n}", "method": "POST", "url": CHAT, "body": more} for n in range(count)]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def until(client: Any, batch_id: str) -> Any:
    deadline = time.monotonic() + 600
    while (found := client.batches.retrieve(batch_id)).status not in {"completed", "failed", "cancelled"}:
        assert time.monotonic() < deadline, found
        # The client asks for where it stands, as its users do.
        time.sleep(0.5)
    return found


@pytest.mark.parametrize("which", [("serve", "support-base"), ("serve", "--all")])
def test_a_file_is_answered_once_though_the_server_is_killed(sample: Workspace, which: tuple[str, ...]) -> None:
    import openai

    llmops = Llmops(sample)
    start = (*which, "--port", "0", "--detach", "--threads", "1")
    started = llmops.run(*start)
    key = (sample.root / "api-key").read_text().splitlines()[-1].strip()
    try:
        client = openai.OpenAI(base_url=f"{started['url']}", api_key=key, max_retries=0)
        file = client.files.create(file=("in.jsonl", asked(60, model="support-base")), purpose="batch")
        assert client.files.retrieve(file.id).filename == "in.jsonl"
        batch = client.batches.create(
            input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"a": "b"}
        )
        os.kill(started["pid"], signal.SIGKILL)
        # The job may have loaded the model again meanwhile.
        started = llmops.run(*start, "--replace")
        client = openai.OpenAI(base_url=f"{started['url']}", api_key=key, max_retries=0)
        done = until(client, batch.id)
        assert (done.status, done.request_counts.completed, done.metadata) == ("completed", 60, {"a": "b"})
        lines = [json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]
        assert Counter(line["custom_id"] for line in lines) == Counter(f"r{n}" for n in range(60))
        assert all(line["response"]["body"]["usage"]["completion_tokens"] == 24 for line in lines)

        other = client.files.create(file=("in.jsonl", asked(400, model="support-base")), purpose="batch")
        stopped = client.batches.create(input_file_id=other.id, endpoint=CHAT, completion_window="24h")
        client.batches.cancel(stopped.id)
        assert until(client, stopped.id).status == "cancelled"
        bad = client.files.create(file=("in.jsonl", asked(2, model="gpt-9")), purpose="batch")
        failed = until(client, client.batches.create(input_file_id=bad.id, endpoint=CHAT, completion_window="24h").id)
        assert [one.line for one in failed.errors.data] == [1, 2]
        assert {one.id for one in client.batches.list(limit=1)} == {batch.id, stopped.id, failed.id}
        for one in client.files.list(purpose="batch"):
            client.files.delete(one.id)
        assert [one.purpose for one in client.files.list(limit=1)] == ["batch_output"] * len(client.files.list().data)
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(file.id)
    finally:
        llmops.run("model", "stop", *(("--all",) if which[1] == "--all" else (which[1],)))
