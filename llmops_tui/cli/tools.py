"""``llmops tools``: tool servers, and which of their tools models are offered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, session_of
from llmops_tui.errors import ExitCode, LlmopsError, NotFoundError

if TYPE_CHECKING:
    from llmops_tui.mcp_client.messages import Ready
    from llmops_tui.mcp_client.servers import ToolServer

app = typer.Typer(
    help="Tool servers (MCP), and which of their tools are on.", no_args_is_help=True, rich_markup_mode=None
)

_Name = Annotated[str, typer.Argument(help="The server's name.")]
_Tools = Annotated[list[str] | None, typer.Argument(help="The tools.")]
_All = Annotated[bool, typer.Option("--all", help="All tools of the server.")]
_RuleTool = Annotated[str, typer.Argument(help="The tool; * is all of the server.")]
_When = Annotated[
    list[str] | None,
    typer.Option("--when", metavar="NAME=PATTERN", help="Only where this argument fits, as path=/notes/*; repeatable."),
]


@app.command(context_settings={"ignore_unknown_options": True})
def add(
    context: typer.Context,
    name: _Name,
    command: Annotated[list[str], typer.Argument(help="The program and its arguments, behind --.")],
    variables: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME", help="Pass this environment variable to it; repeatable."),
    ] = None,
) -> None:
    """Add a server by its command, and approve the command. It is started when its tools are shown or used."""
    from llmops_tui.mcp_client.servers import add_server

    session = session_of(context)
    made = add_server(session.workspace, name, tuple(command), tuple(variables or ()))
    session.emit(_facts(made), lambda: f"{made.name}: {made.line}\nllmops tools show {made.name} lists its tools")


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the servers."""
    from llmops_tui.mcp_client.servers import tool_servers

    session = session_of(context)
    found = tool_servers(session.workspace)
    rows = [
        (one.name, len(one.tools), "approved" if one.approved else "not approved", _rules(one), one.line)
        for one in found
    ]
    session.emit(
        {"servers": [_facts(one) for one in found]},
        lambda: session.rows(("server", "on", "state", "rules", "command"), rows),
    )


@app.command()
def remove(context: typer.Context, name: _Name) -> None:
    """Remove a server."""
    from llmops_tui.mcp_client.servers import remove_server

    session = session_of(context)
    gone = remove_server(session.workspace, name)
    session.emit(_facts(gone), lambda: f"{gone.name} is removed")


@app.command()
def show(
    context: typer.Context,
    name: _Name,
    model: Annotated[str, typer.Option("--model", help="Count the tokens that each tool takes of this model.")] = "",
) -> None:
    """Start a server, and list its tools and whether each is on."""
    session = session_of(context)
    server, facts = asyncio.run(_connect(session, name))
    tokens = asyncio.run(_tokens(session, model, facts)) if model else {}
    tools = [
        {**tool, "on": server.tools.get(tool["name"]) == tool["digest"]}
        | ({"tokens": tokens[tool["name"]]} if tokens else {})
        for tool in facts["tools"]
    ]
    rows = [
        (
            tool["name"],
            "on" if server.tools.get(tool["name"]) == tool["digest"] else _off(server, tool["name"]),
            ", ".join(tool["parameters"].get("properties", {})),
            *([tokens[tool["name"]]] if tokens else []),
            tool["problem"] or tool["description"].split("\n")[0],
        )
        for tool in facts["tools"]
    ]
    if facts["note"]:
        session.say(facts["note"])
    head = f"{facts['server']} {facts['version']}, protocol {facts['protocol']}"
    columns = ("tool", "", "arguments", *(["tokens"] if tokens else []), "what it says of itself")
    cost = f"\nall {sum(tokens.values()):,} tokens of {model}" if tokens else ""
    session.emit(
        {**_facts(server), "protocol": facts["protocol"], "tools": tools, "note": facts["note"]},
        lambda: f"{head}\n{session.rows(columns, rows)}{cost}",
    )


async def _tokens(session: Session, model: str, facts: Ready) -> dict[str, int]:
    """What each tool takes of a request to a model, which is loaded for it."""
    from llmops_tui.cli.serve import opener
    from llmops_tui.inference.client import ModelClient
    from llmops_tui.mcp_client.toolbox import list_text
    from llmops_tui.models.registry import ModelRegistry

    found = ModelRegistry(session.catalog).get(model)
    endpoint = await asyncio.to_thread(opener(session), found)
    async with ModelClient(endpoint) as client:
        told = [await client.tokenize(content=list_text([tool])) for tool in facts["tools"]]
    return {tool["name"]: len(one["tokens"]) for tool, one in zip(facts["tools"], told, strict=True)}


def _off(server: ToolServer, tool: str) -> str:
    return "changed" if tool in server.tools else "off"


@app.command()
def on(context: typer.Context, name: _Name, tools: _Tools = None, every: _All = False) -> None:
    """Switch tools on: models are offered them in runs with this server. A tool that changes later is off again."""
    from llmops_tui.mcp_client.servers import switch_tools

    session = session_of(context)
    wanted = _wanted(tools, every=every)
    server, facts = asyncio.run(_connect(session, name))
    known = {tool["name"]: tool for tool in facts["tools"] if not tool["problem"]}
    for tool in wanted:
        if tool not in known:
            raise NotFoundError("tool", tool, f"llmops tools show {name} lists those that can be used.")
    changed = switch_tools(session.workspace, server.name, {tool: known[tool]["digest"] for tool in (wanted or known)})
    session.emit(_facts(changed), lambda: f"{name}: {', '.join(changed.tools)}")


@app.command()
def off(context: typer.Context, name: _Name, tools: _Tools = None, every: _All = False) -> None:
    """Switch tools off."""
    from llmops_tui.mcp_client.servers import switch_tools, tool_server

    session = session_of(context)
    known = tool_server(session.workspace, name).tools
    wanted = _wanted(tools, every=every) or list(known)
    for tool in wanted:
        if tool not in known:
            raise NotFoundError("tool", tool, f"It is not on; llmops tools show {name} lists all.")
    changed = switch_tools(session.workspace, name, dict.fromkeys(wanted))
    session.emit(_facts(changed), lambda: f"{name}: {', '.join(changed.tools) or 'no tool is on'}")


@app.command()
def allow(context: typer.Context, name: _Name, tool: _RuleTool, when: _When = None) -> None:
    """Make a rule: calls of the tool that fit are made without asking. A rule that denies a call comes first."""
    _add_rule(context, name, tool, when, allow=True)


@app.command()
def deny(context: typer.Context, name: _Name, tool: _RuleTool, when: _When = None) -> None:
    """Make a rule: calls of the tool that fit are never made, also not with --approve-tools."""
    _add_rule(context, name, tool, when, allow=False)


@app.command()
def ask(context: typer.Context, name: _Name, tool: _RuleTool) -> None:
    """Remove the rules of a tool: each call of it is asked about again."""
    from llmops_tui.mcp_client.servers import set_rules, tool_server

    session = session_of(context)
    server = tool_server(session.workspace, name)
    if all(rule.tool != tool for rule in server.rules):
        raise NotFoundError("rule", tool, f"llmops tools list shows the rules of {name}.")
    # Those of somebody else are not made mine when one of them goes.
    left = [rule for rule in server.followed_rules if rule.tool != tool]
    changed = set_rules(session.workspace, name, left)
    session.emit(_facts(changed), lambda: f"{name}: {_rules(changed) or 'no rules'}")


def _add_rule(context: typer.Context, name: str, tool: str, when: list[str] | None, *, allow: bool) -> None:
    from llmops_tui.mcp_client.rules import ToolRule, read_conditions
    from llmops_tui.mcp_client.servers import set_rules, tool_server

    session = session_of(context)
    server, rule = (
        tool_server(session.workspace, name),
        ToolRule(tool=tool, allow=allow, when=read_conditions(when or ())),
    )
    # Those of somebody else are not made mine by a rule of mine.
    changed = set_rules(session.workspace, name, [*server.followed_rules, rule])
    session.emit(_facts(changed), lambda: f"{name}: {_rules(changed)}")


def _rules(server: ToolServer) -> str:
    told = "; ".join(rule.told for rule in server.rules)
    return told if server.followed_rules or not told else f"{told} (not made by you, and not followed)"


def _wanted(tools: list[str] | None, *, every: bool) -> list[str]:
    if bool(tools) == every:
        raise LlmopsError("usage", "name the tools, or give --all", exit_code=ExitCode.USAGE)
    return list(dict.fromkeys(tools or []))


async def _connect(session: Session, name: str) -> tuple[ToolServer, Ready]:
    from llmops_tui.mcp_client.connection import ToolConnection
    from llmops_tui.mcp_client.servers import tool_server

    server = tool_server(session.workspace, name)
    async with ToolConnection(session.workspace, server) as connection:
        assert connection.facts is not None
        return server, connection.facts


def _facts(server: ToolServer) -> dict[str, object]:
    return {
        "server": server.name,
        "command": list(server.command),
        "variables": list(server.variables),
        "approved": server.approved,
        "tools": list(server.tools),
        "rules": [rule.model_dump() for rule in server.followed_rules],
    }
