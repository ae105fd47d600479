"""The tool servers of a workspace: the command of each, which tools are on, and whether this user let the command run.

A command that stands in a workspace is somebody's text until this user approved it: what is run is what was approved, by
its hash, and in a workspace that is trusted.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import pydantic

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.foreign_text import parse_json, text_of
from llmops_tui.mcp_client.rules import ToolRule
from llmops_tui.user_files import approved_tool_servers_path
from llmops_tui.workspace.approved_digests import approve, is_approved
from llmops_tui.workspace.files import reason, sha256_text
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import locked
from llmops_tui.workspace.trust import require_trust
from llmops_tui.workspace.written import write_noted

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_MOST = 100
_WAIT_SECONDS = 5.0

_Word = Annotated[str, pydantic.Field(max_length=4000)]


class ToolServer(pydantic.BaseModel):
    """One server.

    Attributes:
        command: the program and its arguments, started without a shell.
        variables: names of environment variables that it gets besides the harmless ones; their values are never kept.
        tools: the tools that are on, each with the hash of its description when it was switched on.
        rules: which calls are made or denied without a word.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, pydantic.Field(pattern=f"^{_NAME.pattern}$")]
    command: Annotated[tuple[_Word, ...], pydantic.Field(min_length=1, max_length=200)]
    variables: Annotated[tuple[_Word, ...], pydantic.Field(max_length=50)] = ()
    tools: Annotated[dict[_Word, _Word], pydantic.Field(max_length=1000)] = {}
    rules: Annotated[tuple[ToolRule, ...], pydantic.Field(max_length=1000)] = ()

    @property
    def digest(self) -> str:
        """What is approved: the hash of all that decides what runs."""
        return sha256_text(json.dumps([self.command, self.variables]))

    @property
    def followed_rules(self) -> tuple[ToolRule, ...]:
        """The rules, where this user made them: those that stand in the workspace of somebody else decide nothing."""
        return self.rules if self.rules and is_approved(approved_tool_servers_path(), self._rules_digest) else ()

    @property
    def _rules_digest(self) -> str:
        return sha256_text(json.dumps([self.digest, [rule.model_dump() for rule in self.rules]]))

    def approve_rules(self) -> None:
        """Follow its rules from now on.

        Raises:
            OSError: the user's own files cannot be written.
        """
        approve(approved_tool_servers_path(), self._rules_digest)

    @property
    def line(self) -> str:
        """The command as a shell would have it."""
        return shlex.join(self.command)

    @property
    def approved(self) -> bool:
        """Whether this user let this very command run."""
        return is_approved(approved_tool_servers_path(), self.digest)

    def approve(self) -> None:
        """Let it run from now on.

        Raises:
            OSError: the user's own files cannot be written.
        """
        approve(approved_tool_servers_path(), self.digest)


class _File(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    servers: Annotated[list[ToolServer], pydantic.Field(max_length=_MOST)] = []


def tool_servers(workspace: Workspace) -> list[ToolServer]:
    """The servers of a workspace.

    Raises:
        InputRefusedError: ``bad_tool_servers``: their file cannot be read.
    """
    path = workspace.tool_servers
    try:
        found = _File.model_validate(parse_json(text_of(path))).servers
    except FileNotFoundError:
        return []
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise _bad(workspace, f"{place}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise _bad(workspace, reason(error) if isinstance(error, OSError) else "it is no JSON") from error
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _bad(workspace, f"two servers are named {twice!r}")
    return found


def _bad(workspace: Workspace, why: str) -> InputRefusedError:
    return InputRefusedError(
        "bad_tool_servers", f"{workspace.tool_servers} cannot be read: {why}", "Fix the file, or delete it."
    )


def tool_server(workspace: Workspace, name: str) -> ToolServer:
    """One by name.

    Raises:
        NotFoundError: there is none.
    """
    for one in tool_servers(workspace):
        if one.name == name:
            return one
    raise NotFoundError("tool server", name, "llmops tools list shows them; llmops tools add NAME -- COMMAND adds one.")


def add_server(
    workspace: Workspace, name: str, command: tuple[str, ...], variables: tuple[str, ...] = ()
) -> ToolServer:
    """Keep a server, and approve its command: whoever calls this has it from the user. No tool of it is on yet.

    Raises:
        InputRefusedError: ``bad_name``, ``bad_command``, ``tool_server_exists``, ``workspace_untrusted``.
    """
    if not _NAME.fullmatch(name):
        raise InputRefusedError(
            "bad_name", f"{name!r} is not a valid name of a tool server", "Use letters, digits and _ - (at most 40)."
        )
    if not command or not command[0] or any("\0" in word for word in (*command, *variables)):
        raise InputRefusedError(
            "bad_command", "the command is empty or has a zero byte", "Give a program and its arguments."
        )
    require_trust(workspace, f"the tool server {name} would run a command")
    try:
        made = ToolServer(name=name, command=command, variables=variables)
    except pydantic.ValidationError as error:
        told = error.errors(include_url=False)[0]["msg"]
        raise InputRefusedError(
            "bad_command", f"the command cannot be kept: {told}", "Put it into a script."
        ) from error

    def with_it(known: list[ToolServer]) -> list[ToolServer]:
        if any(one.name == name for one in known):
            raise InputRefusedError(
                "tool_server_exists",
                f"there is a tool server {name!r} already",
                "Remove it first, or choose another name.",
            )
        return [*known, made]

    _change(workspace, with_it)
    made.approve()
    return made


def remove_server(workspace: Workspace, name: str) -> ToolServer:
    """Forget a server.

    Raises:
        NotFoundError: there is none.
    """
    found = tool_server(workspace, name)
    _change(workspace, lambda known: [one for one in known if one.name != name])
    return found


def switch_tools(workspace: Workspace, name: str, change: Mapping[str, str | None]) -> ToolServer:
    """Switch tools of a server on, each by its name with the hash of its description, or off by none.

    Raises:
        NotFoundError: there is no such server.
    """

    def switched(server: ToolServer) -> ToolServer:
        if server.name != name:
            return server
        kept = {tool: digest for tool, digest in server.tools.items() if tool not in change}
        return server.model_copy(update={"tools": kept | {tool: d for tool, d in change.items() if d is not None}})

    tool_server(workspace, name)
    _change(workspace, lambda known: [switched(one) for one in known])
    return tool_server(workspace, name)


def set_rules(workspace: Workspace, name: str, rules: Sequence[ToolRule]) -> ToolServer:
    """Give a server these rules in place of those that it has; whoever calls this has them from the user.

    Raises:
        NotFoundError: there is no such server. InputRefusedError: ``workspace_untrusted``.
    """
    require_trust(workspace, f"rules of the tool server {name} would have calls made without a word")
    tool_server(workspace, name)
    kept = tuple(dict.fromkeys(rules))
    _change(
        workspace, lambda known: [one.model_copy(update={"rules": kept}) if one.name == name else one for one in known]
    )
    made = tool_server(workspace, name)
    if made.rules:
        made.approve_rules()
    return made


def require_may_run(workspace: Workspace, server: ToolServer) -> None:
    """Refuse a command that this user did not approve.

    Raises:
        InputRefusedError: ``workspace_untrusted``; ``tool_server_unapproved``.
    """
    require_trust(workspace, f"the tool server {server.name} would run {server.line[:200]}")
    if not server.approved:
        raise InputRefusedError(
            "tool_server_unapproved",
            f"the command of the tool server {server.name!r} was never approved on this machine: {server.line[:200]}",
            "llmops trust, or T in the app, shows it and asks.",
        )


def _change(workspace: Workspace, work: Callable[[list[ToolServer]], list[ToolServer]]) -> None:
    workspace.refuse_if_read_only()
    path = workspace.tool_servers
    try:
        with locked(path.with_name(path.name + ".lock"), _WAIT_SECONDS) as alone:
            if not alone:
                raise LlmopsError("busy", f"{path} stayed locked by another process", "Try again.")
            changed = _File(servers=work(tool_servers(workspace)))
            write_noted(path, changed.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise LlmopsError(
            "tool_servers_not_kept", f"{path} cannot be written: {reason(error)}", "Check its permissions and the disk."
        ) from error
