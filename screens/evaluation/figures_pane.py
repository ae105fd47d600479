"""The figures of a run, alone or against its baseline, one kind at a time; or a suite, in words or as its file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.evaluation.costs_told import card_text, plan_text
from llmops_tui.safe_text import safe_line, safe_text
from screens.evaluation import comparison_rendering, rendering, views
from screens.evaluation.export_run import export_run
from screens.evaluation.grade_runs import grade_runs, vote_between
from screens.evaluation.judge_runs import judge_runs
from screens.evaluation.messages import Changed
from screens.evaluation.model import EvaluationModel, KeptSuite, Opened, pareto
from screens.evaluation.suite_rendering import suite_content
from screens.navigation import ModelInPlayground, PromptPlace
from screens.shell.pane import Pane
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.evaluation.plan_records import PlanRecord
    from llmops_tui.evaluation.run import EvalRun, EvalState


_WIDE = 120


class FiguresPane(Pane):
    """What the open run came to."""

    def __init__(self) -> None:
        super().__init__(title="Figures", jump_key="i", id="evaluation-figures", help_text=rendering.HELP_FIGURES)
        self._view = 0
        # The suite that is shown instead of a run.
        self._suite: KeptSuite | None = None
        self._as_file = False
        self._opened: Opened | None = None
        self._state: EvalState | None = None
        self._model = EvaluationModel()
        # What stands there now, by the name in its title.
        self._shown = ""

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(id="figures-scroll"):
            yield Static("", id="figures-text", markup=False)

    def know(self, opened: Opened | None, state: EvalState | None, model: EvaluationModel) -> None:
        """What the next drawing is of: the run that is open, ``state`` being that of the run under the cursor."""
        self._opened, self._state, self._model = opened, state, model

    def show(self, opened: Opened | None, state: EvalState | None, model: EvaluationModel) -> None:
        """Draw these; nothing changes where no run is open."""
        self.know(opened, state, model)
        self._draw()

    def show_suite(self, kept: KeptSuite | None) -> None:
        """Say what a suite is; nothing changes where there is none."""
        if kept is not None:
            self._suite, self._shown = kept, ""
            self.set_title("Suite", safe_line(kept.ref) + (" · its file" if self._as_file else ""))
            self._text.update(
                Content(safe_text(kept.suite.to_yaml())) if self._as_file else suite_content(kept, self._width)
            )

    def show_plan(self, plan: PlanRecord) -> None:
        """Show what is known before a run."""
        self._suite, self._shown = None, ""
        self.set_title("Before the run", f"{safe_line(plan['suite'])} on {safe_line(plan['model'])}")
        self._text.update(Content(safe_text(plan_text(plan))))

    @property
    def _width(self) -> int:
        """Cells of a line of the text; what is not laid out yet has room for all."""
        return self.query_one("#figures-scroll").scrollable_content_region.width or _WIDE

    @property
    def _text(self) -> Static:
        return self.query_one("#figures-text", Static)

    def _draw(self) -> None:
        opened, state = self._opened, self._state
        if opened is None:
            return
        view = self._view % len(rendering.VIEWS)
        if opened.trouble:
            self._put(rendering.VIEWS[view], Content.styled(opened.trouble, "$error"))
        elif state is not None and state.state in {"starting", "queued", "running"}:
            self._put("Running", rendering.progress(state, utf8=self.shell.profile.utf8))
        else:
            self._put(rendering.VIEWS[view], self._content(view, opened))

    def _content(self, view: int, opened: Opened) -> Content:
        utf8 = self.shell.profile.utf8
        if view == 1:
            return views.slices(opened.comparison)
        if view == 2:
            return views.classes(opened, utf8=utf8)
        if view == 3:
            return views.variations(opened)
        if view == 4:
            rows = pareto(self._model.runs, opened.run, opened.metric)
            return views.cost(rows, opened.metric, opened.run, utf8=utf8)
        if view == 5:
            return views.manifest(opened)
        if view == 6:
            return Content(safe_text(card_text(opened.run)))
        if opened.comparison is not None:
            return comparison_rendering.comparison(opened.comparison, self._width, utf8=utf8)
        return rendering.figures(opened, utf8=utf8)

    def _put(self, title: str, content: Content) -> None:
        opened = self._opened
        note = ""
        if opened is not None:
            note = (
                opened.run.name if opened.baseline is None else f"{opened.run.name} · baseline {opened.baseline.name}"
            )
        self._suite = None
        self._shown = title
        self.set_title(title, note)
        self._text.update(content)

    def on_resize(self) -> None:
        """More of a table fits into a line now, or less."""
        if self._suite is not None:
            self.show_suite(self._suite)
        elif self._shown == rendering.VIEWS[0]:
            self._draw()

    # ── actions ──

    def action_detail(self) -> None:
        """The next kind of figures; of a suite that is shown its file, or again what it says."""
        if self._suite is not None:
            self._as_file = not self._as_file
            self.show_suite(self._suite)
        else:
            self._view += 1
            self._draw()

    def action_gate(self) -> None:
        """Hold the run to its suite's rules."""
        if self._opened is None:
            self.shell.say("Choose a run first.", severity="warning")
        else:
            self.act("gate", self._gate, self._opened)

    async def _gate(self, opened: Opened) -> None:
        from llmops_tui.evaluation.gates import passes
        from llmops_tui.evaluation.run_comparison import gate

        baseline = opened.baseline.name if opened.baseline is not None else None
        found = await asyncio.to_thread(gate, self.services.evaluation, opened.run.name, baseline, [])
        if self._opened is not None and self._opened.run.name == opened.run.name:
            self._put("Gate", views.rulings(found, opens=passes(found)))

    def action_judge(self) -> None:
        """Have a judge decide between the run and its baseline."""
        self._have_judged(fresh=False)

    def action_judge_fresh(self) -> None:
        """Have a judge decide, and take no judgement from the cache."""
        self._have_judged(fresh=True)

    def _have_judged(self, *, fresh: bool) -> None:
        opened = self._opened
        if opened is None or opened.baseline is None or not opened.comparable:
            self.shell.say("Choose a finished run, and another as its baseline with space.", severity="warning")
        else:
            self.ask_by("judge", self._judge, opened.baseline.name, opened.run.name, fresh)

    async def _judge(self, baseline: str, candidate: str, fresh: bool) -> None:
        found = await judge_runs(self.shell, baseline, candidate, self.set_note, fresh=fresh)
        if found is not None:
            self._put("Judged", views.judged(found))

    def action_grade(self) -> None:
        """Grade the answers of the run, and of its baseline where there is one, mixed."""
        if self._opened is None or self._opened.run.summary is None:
            self.shell.say("Choose a finished run first.", severity="warning")
        else:
            self.ask_by("grade", grade_runs, self.shell, [self._opened.run, *self._finished_baseline(self._opened)])

    def action_vote(self) -> None:
        """Choose between the answers of the run and of its baseline."""
        opened = self._opened
        if opened is None or opened.run.summary is None or not self._finished_baseline(opened):
            self.shell.say("Choose a finished run, and another as its baseline with space.", severity="warning")
        else:
            self.ask_by("grade", vote_between, self.shell, [opened.run, *self._finished_baseline(opened)])

    @staticmethod
    def _finished_baseline(opened: Opened) -> list[EvalRun]:
        return [opened.baseline] if opened.baseline is not None and opened.baseline.summary is not None else []

    def action_keep_attacks(self) -> None:
        """Keep the attacks that succeeded as cases."""
        if self._opened is None or self._opened.run.summary is None:
            self.shell.say("Choose a finished run first.", severity="warning")
        else:
            self.act("keep", self._keep_attacks, self._opened.run)

    async def _keep_attacks(self, run: EvalRun) -> None:
        from llmops_tui.evaluation.redteam.making import keep_found

        version, new = await asyncio.to_thread(keep_found, self.services.evaluation, run)
        undoes = " z undoes it." if await asyncio.to_thread(self.services.undo.note_suite, version) else ""
        self.shell.say(f"{version.ref}: {counted(new, 'new attack')}.{undoes}")
        self.post_message(Changed())

    def action_export(self) -> None:
        """Write the run to a file."""
        if self._opened is not None:
            self.ask_by("export", export_run, self.shell, self._opened.run)

    def action_use(self) -> None:
        """Open the prompt of the run in the playground, with its model."""
        if self._opened is not None:
            asked = self._opened.run.asked
            prompt = asked.prompt.partition("@")[0]
            self.shell.open_place(PromptPlace(prompt, asked.model) if prompt else ModelInPlayground(asked.model))
