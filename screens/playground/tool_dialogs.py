"""Dialogs of tools: which tools of a server are on, and whether a call of the model is made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.mcp_client.messages import Ready, ToolRecord
from llmops_tui.mcp_client.rules import ANY_TOOL, ToolRule
from llmops_tui.prompts.tool_rounds import CallStep
from llmops_tui.safe_text import safe_line, safe_text
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal
from screens.widgets.motions import Options, TextScroll

# Parts of what a server or a model wrote, which may be long.
_DESCRIPTION, _SCHEMA, _ARGUMENTS = 4000, 4000, 8000
REMOVE = "remove"
STOP = "stop"


@dataclass(frozen=True)
class ToolsChange:
    """What was switched, by name, and the rules as they are now."""

    switched: Mapping[str, str | None]
    rules: tuple[ToolRule, ...]


class ToolsDialog(Modal["ToolsChange | str | None"]):
    """The tools of a connected server. Gives what was changed; :data:`REMOVE`; or none where all stays."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape", "give_up", "Cancel"),
        Binding("space", "switch", "Switch", priority=True),
        Binding("a", "switch_all", "All"),
        Binding("r", "rule", "Rule"),
        Binding("D", "remove", "Remove"),
        Binding("enter,f5,ctrl+s", "take", "Take", priority=True),
    ]

    def __init__(
        self, server: str, facts: Ready, known: Mapping[str, str], rules: tuple[ToolRule, ...] = (), cost: str = ""
    ) -> None:
        """``known`` are the tools that were switched on, each with the hash of its description then.

        ``cost`` says what the tools take of a model's context.
        """
        super().__init__()
        self._rules = rules
        self._cost = cost
        self._server = server
        self._facts = facts
        self._known = known
        self._on = {tool["name"] for tool in facts["tools"] if known.get(tool["name"]) == tool["digest"]}

    def compose(self) -> ComposeResult:
        """The list, and all that the server says of the tool under the cursor."""
        facts = self._facts
        who = f"{self._server}: {facts['server']} {facts['version']}, protocol {facts['protocol']}"
        with Vertical(classes="dialog dialog-wide"):
            yield Static(Content(safe_line(who)), classes="dialog-title")
            yield Options(id="tools", markup=False, compact=True)
            with TextScroll(id="about"):
                yield Static("", id="tool", markup=False)
            note = f"{facts['note']}. " if facts["note"] else ""
            note += f"{self._cost} " if self._cost else ""
            yield Static(
                Content(safe_line(f"{note}What a server says of its tools is its own word.")), classes="dialog-text"
            )
            yield KeysLine(
                ("space", "on or off"), ("a", "all"), ("r", "ask, always or never"), ("enter", "take"),
                ("D", "remove the server"), ("esc", "cancel"),
            )  # fmt: skip

    def on_mount(self) -> None:
        """Fill the list."""
        self._fill(0)
        self.query_one(OptionList).focus()

    def _fill(self, cursor: int) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(self._line(tool), id=str(n)) for n, tool in enumerate(self._facts["tools"])])
        options.highlighted = cursor if self._facts["tools"] else None

    def _line(self, tool: ToolRecord) -> Content:
        name = tool["name"]
        state = "●" if name in self._on else "✗" if tool["problem"] else "○"
        told = tool["problem"] or tool["description"]
        changed = name not in self._on and name in self._known
        note = "changed since it was switched on  " if changed else ""
        rules = "; ".join(safe_line(rule.told, 80) for rule in self._rules if rule.tool in {name, ANY_TOOL})
        return Content.assemble(
            (f"{state} ", "$accent"), safe_line(name, 60), "  ", (note, "$warning"), (f"{rules}  " if rules else "", "$accent"),
            (safe_line(told, 200), "$muted"),
        )  # fmt: skip

    @on(OptionList.OptionHighlighted)
    def _looked(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        tool = self._facts["tools"][event.option_index]
        schema = json.dumps(tool["parameters"], indent=1, ensure_ascii=False)
        hints = [("only reads", tool["reads_only"]), ("may destroy", tool["destroys"])]
        told = ", ".join(word for word, hint in hints if hint)
        parts = [safe_text(tool["description"][:_DESCRIPTION]), safe_text(schema[:_SCHEMA])]
        self.query_one("#tool", Static).update(
            Content("\n\n".join([*parts, f"It says that it {told}." if told else ""]))
        )

    def action_switch(self) -> None:
        """Switch the tool under the cursor."""
        cursor = self.query_one(OptionList).highlighted
        if cursor is None:
            return
        tool = self._facts["tools"][cursor]
        if tool["problem"]:
            self.notify(f"It cannot be offered: {tool['problem']}.", severity="warning", markup=False)
            return
        self._on ^= {tool["name"]}
        self._fill(cursor)

    def action_rule(self) -> None:
        """Calls of the tool are asked about, always made, never made; rules for some arguments stay as they are."""
        cursor = self.query_one(OptionList).highlighted
        if cursor is None:
            return
        name = self._facts["tools"][cursor]["name"]
        plain = next((rule for rule in self._rules if rule.tool == name and not rule.when), None)
        others = tuple(rule for rule in self._rules if rule is not plain)
        if plain is None:
            self._rules = (*others, ToolRule(tool=name, allow=True))
        else:
            self._rules = (*others, ToolRule(tool=name, allow=False)) if plain.allow else others
        self._fill(cursor)

    def action_switch_all(self) -> None:
        """Switch all on, or off where all are on."""
        able = {tool["name"] for tool in self._facts["tools"] if not tool["problem"]}
        self._on = set() if self._on >= able else able
        self._fill(self.query_one(OptionList).highlighted or 0)

    def action_take(self) -> None:
        """Close with what was switched."""
        digests = {tool["name"]: tool["digest"] for tool in self._facts["tools"]}
        change: dict[str, str | None] = {
            name: digests[name] for name in self._on if self._known.get(name) != digests[name]
        }
        change |= {name: None for name in self._known if name not in self._on}
        self.dismiss(ToolsChange(change, self._rules))

    def action_remove(self) -> None:
        """Close, and have the server removed."""
        self.dismiss(REMOVE)

    def action_give_up(self) -> None:
        """Close without a change."""
        self.dismiss(None)


class CallDialog(Modal[str]):
    """A call that the model makes. Gives a :class:`~llmops_tui.prompts.tool_rounds.Decision` by its value, or :data:`STOP`."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("a", "answer('once')", "Approve once"),
        Binding("A", "answer('run')", "Approve for this run"),
        Binding("d", "answer('deny')", "Deny"),
        Binding("escape,f12", "answer('stop')", "Stop"),
    ]

    def __init__(self, call: CallStep, description: str) -> None:
        super().__init__()
        self._call = call
        self._description = description

    def compose(self) -> ComposeResult:
        """What is called with what, whole, and what its server says of it."""
        call = self._call
        with Vertical(classes="dialog dialog-help"):
            yield Static(Content(safe_line(f"The model calls {call.tool} of {call.server}")), classes="dialog-title")
            with TextScroll():
                yield Static(Content(safe_text(_pretty(call.arguments))), id="arguments", markup=False)
                yield Static(Content(safe_text(self._description[:_DESCRIPTION])), classes="dialog-text", markup=False)
            keys = (("a", "approve once"), ("A", "approve this tool for this run"), ("d", "deny"), ("esc", "stop"))
            yield KeysLine(*keys)

    def action_answer(self, word: str) -> None:
        """Close with a word."""
        self.dismiss(word)


def _pretty(arguments: str) -> str:
    """Arguments as lines; as they are where they are long, since what is approved is to be seen whole."""
    try:
        text = json.dumps(json.loads(arguments or "{}"), indent=1, ensure_ascii=False)
    except ValueError:
        text = arguments
    more = f"\n… and {len(text) - _ARGUMENTS:,} more characters" if len(text) > _ARGUMENTS else ""
    return text[:_ARGUMENTS] + more
