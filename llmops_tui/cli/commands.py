"""All commands of ``llmops`` by name, with their summary and the module that is loaded on use.

A command loads its own module only, a verb is made when it is asked for, and ``llmops --help`` loads none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_name

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter
    from typer.models import CommandInfo


class Entry(NamedTuple):
    """A command, or a noun with its verbs."""

    help: str
    where: str  # MODULE:NAME of a function, or of a Typer app with the verbs
    verbs: Mapping[str, str] = MappingProxyType({})  # verbs of a noun that have a module of their own: MODULE:NAME


COMMANDS = {
    "data": Entry(
        "Datasets and their versions",
        "llmops_tui.cli.data:app",
        {
            "remove": "llmops_tui.cli.record_remove:dataset",
            "rename": "llmops_tui.cli.record_rename:rename_dataset",
            "copy": "llmops_tui.cli.record_rename:copy_dataset",
        },
    ),
    "prompt": Entry(
        "Prompts and their versions",
        "llmops_tui.cli.prompt:app",
        {
            "save": "llmops_tui.cli.prompt_save:save",
            "remove": "llmops_tui.cli.record_remove:prompt",
            "rename": "llmops_tui.cli.record_rename:rename_prompt",
            "copy": "llmops_tui.cli.record_rename:copy_prompt",
            "compare": "llmops_tui.cli.prompt_compare:compare",
            "board": "llmops_tui.cli.prompt_compare:board",
            "blame": "llmops_tui.cli.prompt_history:blame",
            "bisect": "llmops_tui.cli.prompt_history:bisect",
            "partials": "llmops_tui.cli.prompt_partials:partials",
            "improve": "llmops_tui.cli.prompt_improve:improve",
            "improvements": "llmops_tui.cli.prompt_improve:improvements",
            "improvement": "llmops_tui.cli.prompt_improve:improvement",
            "promote": "llmops_tui.cli.prompt_improve:promote",
            "sync": "llmops_tui.cli.prompt_sync:sync",
            "export": "llmops_tui.cli.prompt_exchange:export",
            "import": "llmops_tui.cli.prompt_exchange:import_",
        },
    ),
    "chain": Entry(
        "Chains of steps: prompts, searches, branches, maps",
        "llmops_tui.cli.chain:app",
        {
            "run": "llmops_tui.cli.chain_run:run",
            "again": "llmops_tui.cli.chain_run:again",
            "runs": "llmops_tui.cli.chain_run:runs",
            "steps": "llmops_tui.cli.chain_run:steps",
        },
    ),
    "index": Entry(
        "Indexes of documents: build, search, explain, measure",
        "llmops_tui.cli.index:app",
        {
            "measure": "llmops_tui.cli.index_measure:measure",
            "tune": "llmops_tui.cli.index_tune:tune",
            "queries": "llmops_tui.cli.index_queries:queries",
        },
    ),
    "model": Entry(
        "Models: register, fetch, verify, quantize, stop",
        "llmops_tui.cli.model:app",
        {
            "get": "llmops_tui.cli.model_get:get",
            "remove": "llmops_tui.cli.model_remove:remove",
            "rename": "llmops_tui.cli.record_rename:rename_model",
            "copy": "llmops_tui.cli.record_rename:copy_model",
            "alias": "llmops_tui.cli.model_alias:alias",
            "bom": "llmops_tui.cli.model_bom:bom",
        },
    ),
    "train": Entry(
        "Fine-tuning",
        "llmops_tui.cli.train:app",
        {
            "remove": "llmops_tui.cli.work_remove:training",
            "remove-recipe": "llmops_tui.cli.record_remove:recipe",
            "copy": "llmops_tui.cli.record_rename:copy_recipe",
        },
    ),
    "eval": Entry(
        "Evaluation",
        "llmops_tui.cli.evaluate:app",
        {
            "remove": "llmops_tui.cli.work_remove:evaluation",
            "remove-suite": "llmops_tui.cli.record_remove:suite",
            "copy": "llmops_tui.cli.record_rename:copy_suite",
        },
    ),
    "monitor": Entry("The machine, GPUs and engines; alerts; Prometheus metrics", "llmops_tui.cli.monitor:app"),
    "traces": Entry(
        "Requests with their answers, and feedback",
        "llmops_tui.cli.traces:app",
        {"remove": "llmops_tui.cli.record_remove:traces"},
    ),
    "experiment": Entry("Which of two models is better on served traffic", "llmops_tui.cli.experiment:app"),
    "stage": Entry("Prompts served by label: policy, promotion, rollback", "llmops_tui.cli.stage:app"),
    "guard": Entry("Guards for requests and answers of served models", "llmops_tui.cli.guard:app"),
    "drift": Entry("Whether what users ask changed, and what is new in it", "llmops_tui.cli.drift:app"),
    "quality": Entry("How good the answers in use are, by checks and your labels", "llmops_tui.cli.quality:app"),
    "loop": Entry("From feedback to a retrained model: state and next step", "llmops_tui.cli.loop:app"),
    "job": Entry("Background jobs", "llmops_tui.cli.job:app", {"remove": "llmops_tui.cli.work_remove:job"}),
    "batch": Entry("Files of requests, answered as jobs", "llmops_tui.cli.batch:app"),
    "archive": Entry("Put things away, so that lists leave them out", "llmops_tui.cli.archive:app"),
    "snippet": Entry("Texts and macros that the app has by name", "llmops_tui.cli.snippet:app"),
    "plugin": Entry("Plugins from installed packages", "llmops_tui.cli.plugin:app"),
    "tools": Entry("Tool servers whose tools models may call, once you approve", "llmops_tui.cli.tools:app"),
    "chat": Entry("Chats with a model: many turns, with branches", "llmops_tui.cli.chat:app"),
    "generate": Entry("Get one answer from a model", "llmops_tui.cli.generate:generate"),
    "serve": Entry("Serve a model, or all of them, behind an OpenAI-compatible address", "llmops_tui.cli.serve:serve"),
    "audit": Entry("Who changed what others rely on; what served when", "llmops_tui.cli.audit:app"),
    "key": Entry("Access keys for clients of the served models", "llmops_tui.cli.key:app"),
    "mcp": Entry("Serve the workspace to an agent, as an MCP server", "llmops_tui.cli.mcp:mcp"),
    "embed": Entry("Compute the embeddings of texts, as JSON", "llmops_tui.cli.serve:embed"),
    "rerank": Entry("Rank texts by how well they answer a query", "llmops_tui.cli.rerank:rerank"),
    "classify": Entry("Give texts labels, with the probability of each", "llmops_tui.cli.classify:classify"),
    "doctor": Entry("Diagnose this machine", "llmops_tui.cli.doctor:doctor"),
    "sql": Entry("Run one SELECT over the workspace", "llmops_tui.cli.sql:sql"),
    "undo": Entry("Take back the last change, do it again, or list the history", "llmops_tui.cli.undo:undo"),
    "lineage": Entry("Show the inputs of an object and what was derived from it", "llmops_tui.cli.maintenance:lineage"),
    "privacy": Entry("Find and forget a person; report on personal data", "llmops_tui.cli.privacy:app"),
    "retention": Entry("Show and apply the rules by which things are deleted with age", "llmops_tui.cli.retention:app"),
    "backup": Entry("Back up the workspace while it is in use", "llmops_tui.cli.maintenance:backup"),
    "restore": Entry("Replace the workspace with a backup", "llmops_tui.cli.maintenance:restore"),
    "trust": Entry("Show or change the trust in a workspace from another machine", "llmops_tui.cli.trust:trust"),
    "check": Entry("Verify every file, row, checksum and reference", "llmops_tui.cli.maintenance:check"),
    "gc": Entry("Delete unreferenced files", "llmops_tui.cli.maintenance:gc"),
    "init": Entry("Create a workspace", "llmops_tui.cli.init:init"),
    "tour": Entry("Show the app in two minutes", "llmops_tui.cli.init:tour"),
    "demo": Entry("Open the app on a workspace filled with sample data", "llmops_tui.cli.init:demo"),
}


class LazyGroup(TyperGroup):
    """A group whose commands are loaded by name."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        # Names alone: what is listed, and proposed where one is misspelt.
        self.commands = dict.fromkeys(COMMANDS, TyperCommand(None))

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002  click's signature
        """The command of this name, or None."""
        return loaded(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002  click's signature
        """Write the table of commands without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


class Verbs(Mapping[str, "Command"]):
    """The verbs of a noun by name, each made, and loaded where it has a module of its own, when it is looked up."""

    def __init__(self, verbs: Mapping[str, CommandInfo | str]) -> None:
        self._verbs = verbs
        self._made: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in self._made:
            verb, holder = self._verbs[name], _holder()
            if isinstance(verb, str):
                holder.command(name)(_found(verb))
            else:
                holder.registered_commands.append(verb)
            self._made[name] = typer.main.get_group(holder).commands[name]
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._verbs)

    def __len__(self) -> int:
        return len(self._verbs)


@cache
def loaded(name: str) -> Command:
    """The command of this name, with its module; of a noun only those verbs that are looked up."""
    entry, holder = COMMANDS[name], _holder()
    found = _found(entry.where)
    if not isinstance(found, typer.Typer):
        holder.command(name)(found)
        return typer.main.get_group(holder).commands[name]
    own = {
        verb.name or get_command_name(verb.callback.__name__): verb
        for verb in found.registered_commands
        if verb.callback
    }
    bare = copy(found)
    bare.registered_commands = []
    holder.add_typer(bare, name=name)
    group: Any = typer.main.get_group(holder).commands[name]
    group.commands = Verbs(own | dict(entry.verbs))
    return cast("Command", group)


def _holder() -> typer.Typer:
    holder = typer.Typer(rich_markup_mode=None)
    holder.callback()(lambda: None)
    return holder


def _found(where: str) -> typer.Typer:
    module, _, name = where.partition(":")
    found: typer.Typer = getattr(import_module(module), name)
    return found
