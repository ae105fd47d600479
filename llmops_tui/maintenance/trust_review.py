"""What trusting a workspace from elsewhere would allow, and the user's consent."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.approved_keys import approve, host_of, is_approved, variable_of
from llmops_tui.inference.remote import find_key
from llmops_tui.jobs.store import JobState, JobStore
from llmops_tui.maintenance.records import TrustRecord
from llmops_tui.mcp_client.servers import tool_servers
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.monitoring.rules import approve_rules, load_rules, may_run
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksum_scope import links_in
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import read_marker
from llmops_tui.workspace.trust import trust, untrusted_reason

if TYPE_CHECKING:
    import duckdb

_SHOWN = 3


@dataclass(frozen=True)
class RemoteModel:
    """A model that would be asked over a network, and the key that would go along."""

    name: str
    url: str
    variable: str
    key_set: bool
    approved: bool


@dataclass(frozen=True)
class Command:
    """A command that an alert rule would run."""

    rule: str
    command: str
    approved: bool


@dataclass(frozen=True)
class ToolCommand:
    """The command of a tool server, which a run with tools would start."""

    server: str
    command: str
    variables: tuple[str, ...]
    approved: bool


@dataclass(frozen=True)
class Request:
    """What is asked of the user: ``why`` the workspace is not trusted, empty where it is, and what it would be allowed."""

    root: str
    id: str
    owner: int
    why: str
    models: tuple[RemoteModel, ...]
    commands: tuple[Command, ...]
    links: tuple[str, ...]
    jobs: tuple[str, ...] = ()
    tool_servers: tuple[ToolCommand, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether anything here was not approved before."""
        approved = [model.approved for model in self.models] + [command.approved for command in self.commands]
        return bool(self.why) or not all([*approved, *(server.approved for server in self.tool_servers)])

    def as_dict(self) -> TrustRecord:
        """For JSON."""
        return cast("TrustRecord", asdict(self))


def inspect(workspace: Workspace) -> Request:
    """Read what trusting a workspace would allow; changes nothing but that its catalog is opened.

    Raises:
        InputRefusedError: ``planted``: its catalog has what llmops never makes; ``bad_alerts``.
    """
    catalog = Catalog(workspace)
    if objects := catalog.read(planted):
        raise InputRefusedError(
            "planted",
            f"the catalog {workspace.catalog} has objects that llmops does not create: {', '.join(objects)}",
            "It may have been manipulated. Do not trust it; its content can be exported table by table (llmops sql).",
        )
    models = (model for model in ModelRegistry(catalog).all() if model.kind == "remote")
    rules = load_rules(workspace.alert_rules) if workspace.alert_rules.exists() else ()
    may = may_run(workspace.alert_rules)
    return Request(
        str(workspace.root),
        read_marker(workspace).id,
        workspace.root.stat().st_uid,
        untrusted_reason(workspace),
        tuple(
            RemoteModel(
                model.name,
                url := str(model.header["url"]),
                name := variable_of(model),
                bool(find_key(model)),
                is_approved(name, url),
            )
            for model in models
        ),
        tuple(Command(rule.name, rule.command, may) for rule in rules if rule.command),
        tuple(links_in(workspace.root)),
        _unfinished(workspace),
        tuple(ToolCommand(one.name, one.line, one.variables, one.approved) for one in tool_servers(workspace)),
    )


def _unfinished(workspace: Workspace) -> tuple[str, ...]:
    """The titles of jobs that ended before they were done, which can be gone on with as their records say."""
    event_log = EventLog(workspace)
    try:
        jobs = JobStore(event_log).all()
    finally:
        event_log.close()
    return tuple(job.title for job in jobs if job.state.final and job.state != JobState.DONE)


def consent(workspace: Workspace, request: Request) -> Path | None:
    """Allow what was shown; returns where a key of the workspace's servers was put aside.

    Raises:
        InputRefusedError: as :func:`~llmops_tui.workspace.trust.trust`; ``changed``: it is no longer what was shown.
        OSError: the user's own files cannot be written.
    """
    if inspect(workspace) != request:
        raise InputRefusedError(
            "changed", f"{workspace.root} changed in the meantime", "Review it again: llmops trust."
        )
    aside = trust(workspace)
    for model in request.models:
        approve(model.variable, model.url)
    if request.commands:
        approve_rules(workspace.alert_rules)
    shown = {(one.command, one.variables) for one in request.tool_servers}
    for server in tool_servers(workspace):
        if (server.line, server.variables) in shown:
            server.approve()
    return aside


def planted(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """What a catalog has that llmops never makes: views and macros, which decide what a question to the catalog reads."""
    views = connection.execute("SELECT 'the view ' || view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    macros = connection.execute(
        "SELECT DISTINCT 'the macro ' || function_name FROM duckdb_functions() WHERE NOT internal"
    ).fetchall()
    return sorted(str(row[0]) for row in (*views, *macros))


def describe(request: Request) -> list[str]:
    """The request in lines for somebody who decides."""
    lines = [f"workspace  {request.root}", f"id         {request.id}"]
    lines += [f"not trusted: {request.why}"] if request.why else ["trusted already"]
    if request.why and request.owner != os.getuid():
        lines.append(f"its owner is the user {request.owner}")
    lines.append("Once trusted:")
    for model in request.models:
        there = "with the key" if model.key_set else "and the key, once there is one,"
        key = f"{there} in {model.variable} or the keyring"
        lines.append(f"  {model.name} sends requests to {host_of(model.url)}, {key}")
    lines += [f"  the alert {one.rule} runs: {one.command}" for one in request.commands]
    for server in request.tool_servers:
        given = f", with the variables {', '.join(server.variables)}" if server.variables else ""
        lines.append(f"  the tool server {server.server} runs{given}: {server.command}")
    if request.jobs:
        more = f" and {len(request.jobs) - _SHOWN} more" if len(request.jobs) > _SHOWN else ""
        lines.append(f"  its jobs can be resumed: {', '.join(request.jobs[:_SHOWN])}{more}")
    lines += (
        []
        if request.models or request.commands or request.jobs or request.tool_servers
        else ["  nothing: no data is sent and no command is run"]
    )
    lines += [f"  its link is followed: {name}" for name in request.links]
    return lines
