"""The base of screens and panes: services, shell, and background work with error reporting."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from textual import getters, on
from textual.dom import DOMNode
from textual.worker import Worker

from llmops_tui.errors import LlmopsError
from screens.services import Services
from screens.shell.shell import Shell

Work = Callable[..., Coroutine[Any, Any, None]]


class ShellNode(DOMNode):
    """A part of the app that does things.

    Name it last among the bases: styles, and what is asked for by type, follow the first base that is a node.
    """

    app = getters.app(Shell)

    @property
    def shell(self) -> Shell:
        """The app."""
        return self.app

    @property
    def services(self) -> Services:
        """The engine."""
        return self.app.services

    def act(self, group: str, work: Work, *arguments: object) -> None:
        """Do something that takes time; a newer one of the same group replaces it; failures are shown in one place.

        What shows a dialog on its way is begun by :meth:`ask_by`.
        """
        self._begin(group, work, *arguments)

    def ask_by(self, group: str, flow: Work, *arguments: object) -> None:
        """As :meth:`act`, for what asks something: keys that are typed before its dialog is there wait for it."""
        self.app.keys.expect(self._begin(group, flow, *arguments))

    def _begin(self, group: str, work: Work, *arguments: object) -> Worker[None]:
        worker: Worker[None] = self.run_worker(
            partial(self.guarded, work, *arguments), group=group, exclusive=True, exit_on_error=False
        )
        worker.name = group
        return worker

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        self.shell.worker_failed(event)

    async def guarded(self, work: Work, *arguments: object) -> None:
        """Do something, and show its failure; where memory is short, ask what to do and try again."""
        while True:
            try:
                await work(*arguments)
            except LlmopsError as error:
                from screens.shell.memory_choice import make_room

                if await make_room(self.shell, error):
                    continue
                self.shell.report(error)
            return
