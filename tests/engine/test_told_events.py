"""What the client of a stream is told, of messages that come several at a time."""

from __future__ import annotations

import json
from typing import Any

from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.events import Teller
from llmops_tui.inference.server.records import Record


def text(word: str) -> dict[str, Any]:
    return {"event": "text", "text": word, "tokens": [[1, list(word.encode()), -0.5, []]]}


def test_where_a_token_stands_is_told_however_many_messages_come_at_once() -> None:
    choice = Choice(0, Record("run", {}), {"logprobs": 1})
    teller = Teller("text", "run", "m")
    told = b""
    for batch in ([text("one "), text("two "), text("three ")], [text("four")]):
        # As the generator does before the client is told.
        choice.record.text += [message["text"] for message in batch]
        told += teller.stream(choice, batch)
    events = [json.loads(line.removeprefix("data: ")) for line in told.decode().split("\n\n") if line]
    offsets = [event["choices"][0]["logprobs"]["text_offset"] for event in events]
    assert offsets == [[0], [4], [8], [14]]
