"""An answer from inside: tokens with their probabilities, alternatives to go on from, entropy, the exact prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static
from textual.worker import Worker, get_current_worker

from llmops_tui.errors import LlmopsError
from llmops_tui.prompts.inside import ALTERNATIVES, TokenSeen, begun_with, seen
from screens.playground.inside_rendering import alternatives_content, cell_of, prompt_content, summary_content
from screens.shell.shell import Shell
from screens.widgets.dialogs import LineDialog
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll
from screens.widgets.token_map import TokenMap

if TYPE_CHECKING:
    from llmops_tui.inference.client import StreamEnd
    from llmops_tui.models.registry import Model
    from llmops_tui.prompts.runs import RunProgress, RunRequest

# Tokens are drawn so often while they come.
_INTERVAL = 0.2


class InsideScreen(Modal[bool]):
    """Asks once more, token by token; gives whether anything was asked, so that its runs can be read."""

    app = getters.app(Shell)
    CSS_PATH = ["../dialog.tcss", "inside.tcss"]  # noqa: RUF012  declared so by Textual
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "out", "Close"),
        Binding("right,l", "move(1)", "Next token"),
        Binding("left,h", "move(-1)", "Previous token"),
        Binding("down,j", "choose(1)", "Next alternative"),
        Binding("up,k", "choose(-1)", "Previous alternative"),
        Binding("g,home", "ends(0)", "First token"),
        Binding("G,end", "ends(1)", "Last token"),
        Binding("u,f6", "unsure(1)", "Next unsure token"),
        Binding("U,shift+f6", "unsure(-1)", "Previous unsure token"),
        Binding("enter,f4", "go_on", "Go on from here", priority=True),
        Binding("p,f3", "prompt", "Prompt"),
        Binding("s,f7", "structure", "Structure"),
        Binding("S,f8", "schema", "Schema"),
        Binding("f5,ctrl+r", "ask", "Ask again"),
    ]

    def __init__(self, request: RunRequest, model: Model, *, utf8: bool) -> None:
        super().__init__()
        self._request = replace(request, alternatives=ALTERNATIVES)
        self._model = model
        self._utf8 = utf8
        self._map = TokenMap(utf8=utf8, id="inside-map")
        self._tokens: list[TokenSeen] = []
        self._due: list[TokenSeen] = []
        self._chosen = 0
        self._end: StreamEnd | None = None
        self._answer = ""
        self._asking: Worker[None] | None = None
        self._beside = ""

    def compose(self) -> ComposeResult:
        """The answer, the alternatives, the keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static("", id="inside-head", markup=False)
            yield self._map
            with TextScroll(id="inside-prompt"):
                yield Static("", id="inside-prompt-text", markup=False)
            yield Static("", id="inside-alternatives", markup=False)
            yield KeysLine(id="inside-keys")

    def on_mount(self) -> None:
        """Ask at once."""
        self.query_one("#inside-prompt").display = False
        self._map.focus()
        self.query_one(KeysLine).show(
            ("←→", "token"), ("↑↓", "alternative"), ("enter", "go on with it"), ("u", "next unsure"), ("p", "prompt"),
            ("s", "JSON"), ("S", "schema"), ("f5", "again"), ("esc", "close"),
        )  # fmt: skip
        self.set_interval(_INTERVAL, self._draw_due)
        self._ask(())

    # ── asking ──

    def _ask(self, begun: Sequence[TokenSeen]) -> None:
        """Ask, the answer beginning with these tokens."""
        if self._asking is not None:
            self._asking.cancel()
        self._tokens, self._due, self._end = list(begun), [], None
        # What is told comes behind the beginning.
        self._answer = b"".join(token.raw for token in begun).decode("utf-8", "ignore")
        self._map.show([cell_of(token) for token in begun])
        self._map.move_to(len(begun) - 1)
        self._asking = self.run_worker(self._run(begun), group="inside", exclusive=True, exit_on_error=False)
        self._show()

    async def _run(self, begun: Sequence[TokenSeen]) -> None:
        ids = tuple(token.id for token in begun if token.id is not None)
        request = replace(self._request, begun=ids)
        try:
            async with aclosing(self.app.services.runner.run(request, self._model)) as steps:
                async for step in steps:
                    self._take(step)
        except LlmopsError as error:
            self.app.report(error)
        finally:
            # One that was cancelled for another one is not what is waited for.
            if self._asking is get_current_worker():
                self._asking = None
                self._draw_due()
                self._show()

    def _take(self, step: RunProgress) -> None:
        if step.version is not None:
            self._request = replace(self._request, version=step.version)
        self._due += [seen(told) for told in step.tokens]
        self._end = step.end or self._end
        self._answer += step.text if step.stage == "text" else ""

    def _draw_due(self) -> None:
        if self._due:
            due, self._due = self._due, []
            self._tokens += due
            self._map.extend([cell_of(token) for token in due])
            self._show()

    # ── showing ──

    @property
    def _token(self) -> TokenSeen | None:
        return self._tokens[self._map.cursor] if self._map.cursor < len(self._tokens) else None

    @on(TokenMap.Moved)
    def _moved(self) -> None:
        self._chosen = 0
        self._show()

    def _show(self) -> None:
        width = max(20, self.size.width * 94 // 100 - 8)
        head = summary_content(self._model.name, self._tokens, self._map.cursor, self._end, width, utf8=self._utf8)
        self.query_one("#inside-head", Static).update(head)
        waits = "the tokens come as they are generated …" if self._asking is not None else "no tokens were told"
        found = alternatives_content(self._token, self._chosen, waits)
        self.query_one("#inside-alternatives", Static).update(found)

    # ── what can be done ──

    def action_move(self, by: int) -> None:
        """Another token."""
        self._map.move(by)

    def action_ends(self, last: int) -> None:
        """The first or the last token."""
        self._map.move_to(len(self._tokens) - 1 if last else 0)

    def action_unsure(self, by: int) -> None:
        """The next token that was not the likeliest by far."""
        at = self._map.cursor + by
        while 0 <= at < len(self._tokens):
            if cell_of(self._tokens[at]).level >= 2:
                self._map.move_to(at)
                return
            at += by
        self.app.say("No token that way was unsure.")

    def action_choose(self, by: int) -> None:
        """Another alternative."""
        token = self._token
        if token is not None and token.top:
            self._chosen = max(0, min(self._chosen + by, len(token.top) - 1))
            self._show()

    def action_go_on(self) -> None:
        """Go on from the token under the cursor, with the chosen alternative in its place."""
        token = self._token
        if token is None or not token.top:
            self.app.say("There is no alternative to go on with.", severity="warning")
            return
        at, other = self._map.cursor, token.top[self._chosen]
        if begun_with(self._tokens, at, other) is None:
            self.app.say(
                f"{self._model.name} tells no numbers of tokens, so none can be gone on from.", severity="warning"
            )
            return
        self._ask([*self._tokens[:at], replace(other, top=token.top)])

    def action_ask(self) -> None:
        """Ask from the beginning."""
        self._ask(())

    def action_prompt(self) -> None:
        """The exact prompt, and back."""
        self._show_beside("prompt", self._read_prompt)

    def action_structure(self) -> None:
        """The answer as a tree of JSON, with what breaks the schema, and back."""
        self._show_beside("structure", self._read_structure)

    def action_schema(self) -> None:
        """Ask again, held to a schema; an empty path asks without."""
        self.run_worker(self._choose_schema(), group="schema", exclusive=True, exit_on_error=False)

    async def _choose_schema(self) -> None:
        from llmops_tui.prompts.json_tree import read_schema

        hint = "a file with a JSON Schema that the answer is held to; empty: none"
        path = await self.app.ask(LineDialog("Schema", hint))
        if path is None:
            return
        try:
            schema = await asyncio.to_thread(read_schema, path) if path else None
        except LlmopsError as error:
            self.app.report(error)
            return
        self._request = replace(self._request, schema=schema, unheld=schema is None)
        self._ask(())

    def _show_beside(self, what: str, read: Callable[[], Coroutine[Any, Any, Content]]) -> None:
        """Show a text in the place of the tokens, or these again."""
        self._beside = "" if self._beside == what else what
        self.query_one("#inside-prompt").display = bool(self._beside)
        self._map.display = self.query_one("#inside-alternatives").display = not self._beside
        (self.query_one("#inside-prompt") if self._beside else self._map).focus()
        if self._beside:
            self.run_worker(self._fill(read), group="beside", exclusive=True, exit_on_error=False)

    async def _fill(self, read: Callable[[], Coroutine[Any, Any, Content]]) -> None:
        try:
            text = await read()
        except LlmopsError as error:
            text = Content.styled(error.told, "$error")
        self.query_one("#inside-prompt-text", Static).update(text)

    async def _read_structure(self) -> Content:
        from llmops_tui.prompts.json_tree import problems_in, tree_of
        from screens.playground.inside_rendering import tree_content

        answer, schema = self._answer.strip(), self._request.held_to
        problems = await problems_in(answer, schema) if schema is not None else {}
        return tree_content(tree_of(answer, problems), held=schema is not None)

    async def _read_prompt(self) -> Content:
        from llmops_tui.inference.client import ModelClient
        from llmops_tui.prompts.inside import prompt_parts

        runner = self.app.services.runner
        messages = await asyncio.to_thread(runner.render, self._request)
        endpoint = await asyncio.to_thread(runner.open, self._model)
        thinking = self._request.parameters.enable_thinking
        async with ModelClient(endpoint) as client:
            told = await client.tokenize(messages=messages, enable_thinking=thinking)
        return prompt_content(prompt_parts(messages, told.get("pieces", [])), self._end)

    def action_out(self) -> None:
        """Leave what is beside the tokens, stop, close."""
        if self._beside:
            self._show_beside(self._beside, self._read_prompt)
        elif self._asking is not None and self._end is None:
            self._asking.cancel()
        else:
            self.dismiss(result=True)
