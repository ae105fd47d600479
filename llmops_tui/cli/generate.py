"""``llmops generate``: one answer from a model, without a saved prompt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, session_of
from llmops_tui.cli.serve import endpoint_of
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError
from llmops_tui.foreign_text import parse_json, text_of

if TYPE_CHECKING:
    from llmops_tui.inference.client import StreamEnd
    from llmops_tui.inference.constraints import Form
    from llmops_tui.inference.endpoints import Endpoint
    from llmops_tui.inference.sampling import SamplingParameters
    from llmops_tui.inference.wire import Timings
    from llmops_tui.prompts.records import Answered, AnswerTokens, Times


def figures_of(timings: Timings) -> tuple[AnswerTokens, Times]:
    """The tokens and the times of an answer, as they are shown."""
    tokens: AnswerTokens = {
        "prompt_tokens": timings.get("prompt_tokens"),
        "completion_tokens": timings.get("completion_tokens"),
        "reused_tokens": timings.get("reused_tokens"),
        "reasoning_tokens": timings.get("reasoning_tokens"),
    }
    times: Times = {
        "ttft_ms": timings.get("ttft_ms"),
        "total_ms": timings.get("total_ms"),
        "tokens_per_s": timings.get("tokens_per_s"),
    }
    return tokens, times


def parameters_from(given: Mapping[str, object]) -> SamplingParameters:
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
    prompt: Annotated[str | None, typer.Option(help="The prompt, sent as one user message.")] = None,
    messages: Annotated[Path | None, typer.Option(help="A JSON file: a list of {role, content}.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue --prompt as plain text, without a template.")] = False,
    stream: Annotated[bool, typer.Option("--stream", help="With --json: stream JSON Lines.")] = False,
    temperature: Annotated[float | None, typer.Option()] = None,
    max_tokens: Annotated[int | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    schema: Annotated[Path | None, typer.Option(help="A JSON Schema that the answer must follow.")] = None,
    adapter: Annotated[str | None, typer.Option(help="A registered LoRA adapter to apply to the model.")] = None,
    thinking: Annotated[
        bool | None, typer.Option("--thinking/--no-thinking", help="Think first or not; default: as the template does.")
    ] = None,
    thinking_budget: Annotated[int | None, typer.Option(help="End the thinking after this many tokens.")] = None,
) -> None:
    """Generate one answer from a model."""
    session = session_of(context)
    if (prompt is None) == (messages is None) or (raw and prompt is None):
        raise LlmopsError("usage", "give either --prompt or --messages", exit_code=ExitCode.USAGE)
    parameters = parameters_from(
        {
            "temperature": temperature,
            "max_tokens": max_tokens,
            "seed": seed,
            "enable_thinking": thinking,
            "thinking_budget": thinking_budget,
        }
    )
    turns = _read_messages(messages) if messages is not None else [{"role": "user", "content": prompt or ""}]
    endpoint = endpoint_of(session, f"{model}+{adapter}" if adapter else model)
    form = _read_schema(schema) if schema is not None else None
    live = not session.options.json or stream
    data = asyncio.run(_generate(session, endpoint, prompt if raw else None, turns, parameters, form, live=live))
    if live and not session.options.json:
        session.stream("\n")
    else:
        session.emit_line(data)


def _read_messages(path: Path) -> list[dict[str, str]]:
    try:
        turns = parse_json(text_of(path))
        return [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in turns]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputRefusedError(
            "bad_messages", f"{path} is not a list of messages: {error}", 'Write [{"role": "user", "content": "…"}].'
        ) from error


def _read_schema(path: Path) -> Form:
    try:
        schema = parse_json(text_of(path))
    except (OSError, ValueError) as error:
        raise InputRefusedError("bad_schema", f"{path} is not a JSON Schema: {error}") from error
    return {"type": "json_schema", "json_schema": {"name": path.stem, "schema": schema}}


async def _generate(
    session: Session,
    endpoint: Endpoint,
    raw: str | None,
    turns: list[dict[str, str]],
    parameters: SamplingParameters,
    form: Form | None,
    *,
    live: bool,
) -> Answered:
    from llmops_tui.inference.client import ModelClient, StreamEnd, Thought

    text: list[str] = []
    thoughts: list[str] = []
    data: Answered = {"model": endpoint.model}
    async with ModelClient(endpoint) as client:
        extra = {"response_format": form} if form is not None else {}
        events = (
            client.stream_chat(turns, parameters, extra=extra)
            if raw is None
            else client.stream_completion(raw, parameters, extra=extra)
        )
        async with contextlib.aclosing(events) as told:
            async for event in told:
                if isinstance(event, Thought):
                    thoughts.append(event.text)
                    if live and session.options.json:
                        session.emit_line({"thinking": event.text})
                elif isinstance(event, StreamEnd):
                    data |= _ended(session, event)
                elif isinstance(event, str):
                    text.append(event)
                    if live and session.options.json:
                        session.emit_line({"text": event})
                    elif live:
                        session.stream(event)
    if thoughts:
        data["thinking"] = "".join(thoughts)
    return {**data, "text": "".join(text)}


def _ended(session: Session, end: StreamEnd) -> Answered:
    """What the end of an answer tells; warnings are said, too."""
    data: Answered = {"finish_reason": end.finish_reason}
    data["usage"], data["timing"] = figures_of(end.timings)
    return {**data, **warnings_said(session, end)}


def warnings_said(session: Session, end: StreamEnd) -> Answered:
    """Say what could not be done as it was asked, and return it; nothing where there is nothing."""
    for warning in end.warnings:
        session.say(f"{warning['param']}: {warning['message']}")
    return {"warnings": end.warnings} if end.warnings else {}
