"""``llmops chat``: conversations of many turns, any of which can be said in another way and gone on with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.chat_answer import have_answered
from llmops_tui.cli.output import Session, is_given, session_of
from llmops_tui.cli.tool_calls import ApproveTools, MockTools, Servers, ToolChoice, offering
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.safe_text import safe_line, safe_text

if TYPE_CHECKING:
    from llmops_tui.prompts.chats.store import Chats
    from llmops_tui.prompts.chats.tree import Chat, Turn

app = typer.Typer(no_args_is_help=True, help="Chats with models: many turns, with branches.")

_Name = Annotated[str, typer.Argument(help="The chat.")]
_TURN_HELP = "A turn: its number in the shown branch, from 1, or its id."
_Model = Annotated[str, typer.Option("--model", help="The model that answers; kept for the chat.")]
_Temperature = Annotated[float | None, typer.Option(help="Kept for the chat, as the next ones.")]
_MaxTokens = Annotated[int | None, typer.Option()]
_Seed = Annotated[int | None, typer.Option()]
_Begin = Annotated[str, typer.Option(help="How the answer begins; the model goes on from there.")]
_SHOWN = 60


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the chats, the last changed first."""
    session = session_of(context)
    found, unreadable = _chats(session).listed()
    for error in unreadable:
        session.say(error.message)
    rows = [(c.name, c.model, c.turns, c.branches, _when(c.changed_at), safe_line(c.first, _SHOWN)) for c in found]
    data = {
        "chats": [
            {"chat": c.name, "model": c.model, "turns": c.turns, "branches": c.branches, "changed_at": c.changed_at}
            for c in found
        ]
    }
    session.emit(data, lambda: session.rows(("chat", "model", "turns", "branches", "changed", "first"), rows))


@app.command()
def show(
    context: typer.Context,
    name: _Name,
    tree: Annotated[bool, typer.Option("--tree", help="Show all branches, a line for each turn.")] = False,
) -> None:
    """Show the branch of a chat that was shown last, or all of it."""
    session = session_of(context)
    chat = _chats(session).load(name)
    session.emit({"chat": name, **chat.as_dict()}, lambda: _tree_text(chat) if tree else _branch_text(chat))


@app.command()
def say(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The chat; one that is not there is begun.")],
    text: Annotated[str, typer.Argument(help="What you say.")],
    model: _Model = "",
    system: Annotated[str, typer.Option(help="The system text, for a chat that is begun.")] = "",
    at: Annotated[str, typer.Option("--at", help=f"What it answers; default: the last turn. {_TURN_HELP}")] = "",
    begin: _Begin = "",
    temperature: _Temperature = None,
    max_tokens: _MaxTokens = None,
    seed: _Seed = None,
    mcp: Servers = None,
    tools: MockTools = None,
    approve_tools: ApproveTools = False,
    tool_choice: ToolChoice = "",
) -> None:
    """Say something, and have the model answer."""
    from llmops_tui.cli.generate import parameters_from
    from llmops_tui.prompts.chats.answers import check_said, said

    check_said(text)
    session = session_of(context)
    offer = offering(session, mcp or [], approve=approve_tools, first=tool_choice, mock=tools)
    chats = _chats(session)
    try:
        chat = chats.load(name)
        if is_given(context, "system") and system != chat.system:
            raise InputRefusedError(
                "has_system",
                f"{name} was begun with another system text",
                "llmops chat set changes it; a new name begins another chat.",
            )
    except NotFoundError:
        if at:
            raise
        _check_model(session, model)
        # What is refused begins no chat.
        parameters_from({"temperature": temperature, "max_tokens": max_tokens, "seed": seed})
        chat = chats.begin(name, system=system)
    chat = _set(session, chat, model, temperature, max_tokens, seed)
    chat = said(chats, chat, chat.turn(at).id if at else chat.head, text)
    have_answered(session, chat, chat.head, begin, offer)


@app.command()
def again(
    context: typer.Context,
    name: _Name,
    turn: Annotated[
        str, typer.Argument(help=f"The answer, or what is to be answered; default: the last. {_TURN_HELP}")
    ] = "",
    model: _Model = "",
    begin: _Begin = "",
    temperature: _Temperature = None,
    max_tokens: _MaxTokens = None,
    seed: _Seed = None,
    mcp: Servers = None,
    tools: MockTools = None,
    approve_tools: ApproveTools = False,
    tool_choice: ToolChoice = "",
) -> None:
    """Have a turn answered once more; the new answer stands beside the first. At temperature 0 give another --seed or --model."""
    from llmops_tui.prompts.chats.tree import ASSISTANT

    session = session_of(context)
    offer = offering(session, mcp or [], approve=approve_tools, first=tool_choice, mock=tools)
    chat = _set(session, _chats(session).load(name), model, temperature, max_tokens, seed)
    found = chat.turn(turn) if turn else _last(chat)
    have_answered(session, chat, found.parent if found.role == ASSISTANT else found.id, begin, offer)


@app.command()
def edit(
    context: typer.Context,
    name: _Name,
    turn: Annotated[str, typer.Argument(help=_TURN_HELP)],
    text: Annotated[str, typer.Argument(help="What stands there instead.")],
    answer: Annotated[bool, typer.Option("--answer/--no-answer", help="Have what you said answered.")] = True,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Of an answer: have the model go on from the end of your text.")
    ] = False,
    mcp: Servers = None,
    tools: MockTools = None,
    approve_tools: ApproveTools = False,
    tool_choice: ToolChoice = "",
) -> None:
    """Say a turn in another way, as a new branch; the first one stays with all that was said on it."""
    from llmops_tui.prompts.chats.answers import rewritten
    from llmops_tui.prompts.chats.tree import USER

    session = session_of(context)
    offer = offering(session, mcp or [], approve=approve_tools, first=tool_choice, mock=tools)
    chats = _chats(session)
    chat = chats.load(name)
    found = chat.turn(turn)
    if go_on:
        if found.role == USER:
            raise InputRefusedError("bad_option", "--go-on is for an answer of the model", "Leave it out.")
        have_answered(session, chat, found.parent, text, offer)
        return
    if (mcp or tools is not None) and not (found.role == USER and answer):
        raise InputRefusedError(
            "bad_option", "nothing is answered, so no tool is offered", "Leave out --mcp and --tools."
        )
    chat = rewritten(chats, chat, found, text)
    if found.role == USER and answer:
        have_answered(session, chat, chat.head, "", offer)
        return
    session.emit(
        {"chat": name, "turn": chat.head}, lambda: f"{name} goes on from turn {len(chat.branch())} as you wrote it"
    )


@app.command()
def switch(
    context: typer.Context,
    name: _Name,
    turn: Annotated[str, typer.Argument(help="A turn of another branch by its id, as show --tree has it.")],
) -> None:
    """Show another branch: the newest with this turn."""
    session = session_of(context)
    chat = _chats(session).change(name, lambda now: now.shown_at(now.turn(turn)))
    session.emit({"chat": name, "head": chat.head}, lambda: _branch_text(chat))


@app.command("set")
def set_(
    context: typer.Context,
    name: _Name,
    model: _Model = "",
    system: Annotated[str | None, typer.Option(help="The system text; empty for none.")] = None,
    temperature: _Temperature = None,
    max_tokens: _MaxTokens = None,
    seed: _Seed = None,
) -> None:
    """Change the model, the system text or the parameters of the answers to come."""
    session = session_of(context)
    chat = _set(session, _chats(session).load(name), model, temperature, max_tokens, seed, system)
    session.emit(
        {"chat": name, **chat.as_dict()}, lambda: f"{name}: {chat.model or 'no model'} · {chat.parameters.brief()}"
    )


@app.command()
def export(
    context: typer.Context,
    name: _Name,
    form: Annotated[
        str, typer.Option("--format", help="markdown, messages (JSON), or jsonl: a row for data import.")
    ] = "markdown",
    to: Annotated[Path | None, typer.Option(help="The file to write; default: stdout.")] = None,
) -> None:
    """Write the shown branch as Markdown, as messages, or as a row of training data."""
    from llmops_tui.prompts.chats.texts import as_text
    from llmops_tui.user_files import with_home
    from llmops_tui.workspace.files import write_atomic

    session = session_of(context)
    text = as_text(_chats(session).load(name), form)
    if to is None:
        session.stream(text)
        return
    target = with_home(to).resolve()
    write_atomic(target, text)
    session.emit({"chat": name, "file": str(target)}, lambda: f"written to {target}")


@app.command()
def rename(context: typer.Context, name: _Name, new_name: Annotated[str, typer.Argument(help="Its new name.")]) -> None:
    """Give a chat another name. llmops undo takes it back."""
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    UndoHistory(session.catalog, session.event_log).rename_chat(name, new_name)
    session.emit({"chat": new_name, "before": name}, lambda: f"{name} is {new_name} now")


@app.command()
def remove(
    context: typer.Context,
    name: _Name,
    turn: Annotated[str, typer.Argument(help=f"Only this turn and all that was said on it. {_TURN_HELP}")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete; without it, only a preview is shown.")] = False,
) -> None:
    """Delete a chat, or a branch of it; the traces of its answers stay."""
    from llmops_tui.prompts.chats.tree import Chat

    session = session_of(context)
    chats = _chats(session)
    try:
        chat = chats.load(name)
    except LlmopsError as error:
        if error.code != "chat_unreadable" or turn:
            raise
        session.say(error.message)
        chat = Chat(name)
    found = chat.turn(turn) if turn else None
    count = len(chat.below(found)) if found is not None else len(chat.turns)
    data = {"chat": name, "turns": count, "removed": yes}
    if not yes:
        session.emit(data, lambda: f"{counted(count, 'turn')} of {name} would be deleted; --yes deletes")
        return
    if found is None:
        chats.remove(name)
    else:
        chats.change(name, lambda now: now.without(found))
    session.emit(
        data, lambda: f"{counted(count, 'turn')} of {name} deleted; traces of answers stay (llmops traces remove)"
    )


# ── what the commands share ──


def _chats(session: Session) -> Chats:
    from llmops_tui.prompts.chats.store import Chats

    return Chats(session.event_log)


def _check_model(session: Session, model: str) -> None:
    """A chat is begun with a model that is there, or not at all."""
    from llmops_tui.models.registry import ModelRegistry

    if not model:
        raise LlmopsError("usage", "a new chat needs a model", "Add --model NAME.", exit_code=ExitCode.USAGE)
    ModelRegistry(session.catalog).writing(model)


def _set(
    session: Session,
    chat: Chat,
    model: str,
    temperature: float | None,
    max_tokens: int | None,
    seed: int | None,
    system: str | None = None,
) -> Chat:
    from llmops_tui.cli.generate import parameters_from

    if model:
        _check_model(session, model)
    given = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    given = {name: value for name, value in given.items() if value is not None}

    def work(now: Chat) -> Chat:
        fields: Mapping[str, object] = {**now.parameters.model_dump(exclude_defaults=True), **given}
        return replace(
            now,
            model=model or now.model,
            system=now.system if system is None else system,
            parameters=parameters_from(fields),
        )

    return _chats(session).change(chat.name, work)


def _last(chat: Chat) -> Turn:
    branch = chat.branch()
    if not branch:
        raise InputRefusedError("nothing_said", f"nothing was said in {chat.name}", "llmops chat say begins.")
    return branch[-1]


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _who(turn: Turn) -> str:
    return "you" if turn.role == "user" else safe_line(turn.model or "assistant")


def _branch_text(chat: Chat) -> str:
    parts = [f"system\n{safe_text(chat.system)}"] if chat.system.strip() else []
    answers = chat.answers()
    for number, turn in enumerate(chat.branch(), 1):
        ways = answers[turn.parent]
        way = f"  {ways.index(turn) + 1}/{len(ways)}" if len(ways) > 1 else ""
        ended = f"  {turn.ended}" if turn.ended not in {"", "stop"} else ""
        parts.append(f"{number}  {_who(turn)}{way}{ended}\n{safe_text(turn.text)}")
    return "\n\n".join(parts) or f"nothing was said in {chat.name} yet"


def _tree_text(chat: Chat) -> str:
    """A line for each turn, indented where ways part; the shown branch has stars."""
    shown = {turn.id for turn in chat.branch()}
    answers = chat.answers()
    lines: list[str] = []
    # A list of what is to be told yet, and no recursion: a chat may have thousands of turns in a row.
    left = [(turn, 0) for turn in reversed(answers.get("", []))]
    while left:
        turn, depth = left.pop()
        mark = "*" if turn.id in shown else " "
        lines.append(f"{mark} {'  ' * depth}{turn.id}  {_who(turn)}: {safe_line(turn.text, _SHOWN)}")
        below = answers.get(turn.id, [])
        left += [(one, depth + (len(below) > 1)) for one in reversed(below)]
    return "\n".join(lines) or f"nothing was said in {chat.name} yet"
