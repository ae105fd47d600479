"""``llmops generate``: one answer from a model, without a saved prompt."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.output import Session, session_of
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.inference.sampling import SamplingParameters
    from llmops_tui.inference.supervisor import ServerHandle


def parameters_from(given: dict[str, Any]) -> SamplingParameters:
    """Sampling parameters from options, those not given left at their defaults.

    Raises:
        LlmopsError: a value is out of its bounds; the message names it.
    """
    import pydantic

    from llmops_tui.inference.sampling import SamplingParameters

    try:
        return SamplingParameters.model_validate({k: v for k, v in given.items() if v is not None})
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise LlmopsError("usage", f"{option}: {first['msg']}", exit_code=ExitCode.USAGE) from error


def generate(
    context: typer.Context,
    model: Annotated[str, typer.Option("--model", help="A registered model.")],
    prompt: Annotated[str | None, typer.Option(help="A text to answer, as one user message.")] = None,
    messages: Annotated[Path | None, typer.Option(help="A JSON file: a list of {role, content}.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue --prompt as plain text, without a template.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="With --json: JSON Lines as the text comes.")] = False,
    temperature: Annotated[float | None, typer.Option()] = None,
    max_tokens: Annotated[int | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
) -> None:
    """One answer from a model."""
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    if (prompt is None) == (messages is None) or (raw and prompt is None):
        raise LlmopsError("usage", "give either --prompt or --messages", exit_code=ExitCode.USAGE)
    parameters = parameters_from({"temperature": temperature, "max_tokens": max_tokens, "seed": seed})
    turns = _read_messages(messages) if messages is not None else [{"role": "user", "content": prompt or ""}]
    catalogue = session.catalogue
    handle = ServerSupervisor(catalogue.workspace).ensure(ModelRegistry(catalogue).get(model))
    live = not session.options.json or stream
    data = asyncio.run(_generate(session, handle, prompt if raw else None, turns, parameters, live=live))
    if live and not session.options.json:
        session.stream("\n")
    else:
        session.emit_line(data)


def _read_messages(path: Path) -> list[dict[str, str]]:
    try:
        turns = json.loads(path.read_text(encoding="utf-8"))
        return [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in turns]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputRefusedError(
            "bad_messages", f"{path} is not a list of messages: {error}", 'Write [{"role": "user", "content": "…"}].'
        ) from error


async def _generate(
    session: Session,
    handle: ServerHandle,
    raw: str | None,
    turns: list[dict[str, str]],
    parameters: SamplingParameters,
    *,
    live: bool,
) -> dict[str, Any]:
    from llmops_tui.inference.client import ModelClient

    text: list[str] = []
    data: dict[str, Any] = {"model": handle.model}
    async with ModelClient(handle) as client:
        events = client.stream_chat(turns, parameters) if raw is None else client.stream_completion(raw, parameters)
        async for event in events:
            if not isinstance(event, str):
                figures = event.timings
                data["finish_reason"] = event.finish_reason
                data["usage"] = {n: figures.get(n) for n in ("prompt_tokens", "completion_tokens", "reused_tokens")}
                data["timing"] = {n: figures.get(n) for n in ("ttft_ms", "total_ms", "tokens_per_s")}
                continue
            text.append(event)
            if live and session.options.json:
                session.emit_line({"text": event})
            elif live:
                session.stream(event)
    return data | {"text": "".join(text)}
