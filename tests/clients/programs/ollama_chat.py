"""The ollama package: chats, prompts, vectors and lists through Ollama's API."""

from __future__ import annotations

import asyncio
from typing import Any

import ollama
import pydantic
from harness import QUESTION, TOOLS, Place, serve

ASKED: Any = [{"role": "user", "content": QUESTION}]


class Weather(pydantic.BaseModel):
    city: str
    degrees: int
    rain: bool


def weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: A city
    """
    return f"It rains in {city}."


def _given(place: Place) -> dict[str, Any]:
    return {"host": place.url.removesuffix("/v1"), "headers": {"Authorization": f"Bearer {place.key}"}}


def _client(place: Place) -> ollama.Client:
    return ollama.Client(**_given(place))


def _calls(calls: Any) -> list[list[Any]]:
    return [[call.function.name, dict(call.function.arguments)] for call in calls or ()]


def _told(answer: Any) -> dict[str, Any]:
    said = answer.message
    return {
        "text": said.content or "", "reasoning": said.thinking or "", "calls": _calls(said.tool_calls), "finish": answer.done_reason,
        "counts": [answer.prompt_eval_count > 0, answer.eval_count > 0, answer.total_duration > 0],
    }  # fmt: skip


def _ask(place: Place, **more: Any) -> dict[str, Any]:
    return _told(_client(place).chat(model=place.model, messages=ASKED, **more))


def _gathered(parts: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"text": "", "reasoning": "", "calls": [], "pieces": 0}
    for part in parts:
        told["text"] += part.message.content or ""
        told["reasoning"] += part.message.thinking or ""
        told["calls"] += _calls(part.message.tool_calls)
        told["pieces"] += bool(part.message.content)
        told["finish"] = part.done_reason
    return told


def _stream(place: Place, **more: Any) -> dict[str, Any]:
    return _gathered(_client(place).chat(model=f"{place.model}:latest", messages=ASKED, stream=True, **more))


def _async_stream(place: Place) -> dict[str, Any]:
    async def all_parts() -> list[Any]:
        stream = await ollama.AsyncClient(**_given(place)).chat(model=place.model, messages=ASKED, stream=True)
        return [part async for part in stream]

    return _gathered(asyncio.run(all_parts()))


def _second_turn(place: Place) -> dict[str, Any]:
    """Python functions as tools, called, and their results sent back, as the package's own examples do."""
    client, turns = _client(place), list(ASKED)
    said = client.chat(model=place.model, messages=turns, tools=[weather]).message
    turns.append(said)
    turns += [
        {"role": "tool", "content": weather(**call.function.arguments), "tool_name": call.function.name}
        for call in said.tool_calls or ()
    ]
    return _told(client.chat(model=place.model, messages=turns, tools=[weather]))


def _structured(place: Place) -> list[Any]:
    client = _client(place)
    said = client.chat(model=place.model, messages=ASKED, format=Weather.model_json_schema()).message.content
    streamed = client.generate(model=place.model, prompt=QUESTION, format=Weather.model_json_schema(), stream=True)
    return [
        Weather.model_validate_json(one).model_dump() for one in (said or "", "".join(p.response for p in streamed))
    ]


def _generate(place: Place) -> list[str]:
    client = _client(place)
    asked = client.generate(model=place.model, prompt=QUESTION, system="Be brief.")
    raw = client.generate(model=place.model, prompt="once", raw=True, options={"num_predict": 3, "stop": ["."]})
    return [asked.response, raw.response, raw.done_reason or ""]


def _cancel(place: Place) -> str:
    for part in _client(place).chat(model=place.model, messages=ASKED, stream=True):
        return part.message.content or ""
    return ""


def _facts(place: Place) -> dict[str, Any]:
    client = _client(place)
    shown = client.show(place.model)
    return {
        "list": [m.model for m in client.list().models], "sizes": [int(m.size or 0) for m in client.list().models],
        "ps": [[m.model, m.context_length] for m in client.ps().models], "capabilities": shown.capabilities,
        "family": shown.details.family if shown.details else "", "info": shown.modelinfo["general.architecture"] if shown.modelinfo else "",
    }  # fmt: skip


def _embed(place: Place) -> dict[str, Any]:
    client = _client(place)
    both = client.embed(model=place.model, input=["when are you open", "refund"])
    old = client.embeddings(model=place.model, prompt="refund")
    return {
        "widths": [len(vector) for vector in both.embeddings], "tokens": both.prompt_eval_count,
        "old": list(old.embedding), "new": list(both.embeddings[1]),
    }  # fmt: skip


def _errors(place: Place) -> list[list[Any]]:
    client = _client(place)
    told = []
    for work in (
        lambda: client.chat(model="other", messages=ASKED),
        lambda: client.chat(model=place.model, messages=ASKED, options={"mirostat": 2}),
        lambda: next(iter(client.chat(model=place.model, messages=ASKED, stream=True, think="high"))),
        lambda: client.pull("other"),
        lambda: client.delete("other"),
        lambda: ollama.Client(host=_given(place)["host"]).chat(model=place.model, messages=ASKED),
    ):
        try:
            work()
            told.append(["", 0])
        except ollama.ResponseError as error:
            told.append([error.error, error.status_code])
    return told


if __name__ == "__main__":
    serve(
        {
            "plain": _ask,
            "stream": lambda place: [_stream(place), _async_stream(place)],
            "thinking": lambda place: [_ask(place, think=True), _stream(place, think=True)],
            "not_thinking": lambda place: _ask(place, think=False),
            "auto": lambda place: [_ask(place, tools=TOOLS), _stream(place, tools=TOOLS)],
            "second_turn": _second_turn,
            "structured": _structured,
            "generate": _generate,
            "cancel": _cancel,
            "facts": _facts,
            "embed": _embed,
            "errors": _errors,
        },
        "ollama",
    )
