"""The evaluation screen: runs and suites at the left; figures, cases and the case under the cursor at the right."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.evaluation.comparison import Pair
from llmops_tui.safe_text import safe_line, safe_text
from screens.actions import bindings_of
from screens.evaluation import case_drawing, commands, drawing, views
from screens.evaluation.looking import Looking, Opened, Shelf, compare_opened, is_among, open_run, pareto, read_lists
from screens.shell.live_screen import LiveScreen
from screens.shell.removal import offer_removal
from screens.widgets.line_list import LineList
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.evaluation.running.results import Result
    from llmops_tui.evaluation.store import EvalState
    from screens.evaluation.looking import KeptSuite
    from screens.services import Services
    from screens.terminal import TerminalProfile

_NARROWED = ("all", "worse", "better")


def make(services: Services, profile: TerminalProfile) -> EvaluationScreen:
    """Make the screen."""
    return EvaluationScreen(services, profile)


class EvaluationScreen(LiveScreen):
    """Two lists, figures, and cases."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("evaluation")  # type: ignore[assignment]
    AUTO_FOCUS = "#eval-run-list"
    scope = "evaluation"
    about = (
        "Whether it is better, by how much, and how surely. A suite says what is asked and how answers are measured; a run asks "
        "it of one model and prompt. space makes a run the baseline; every other run is then compared with it case by case."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.looking = Looking()
        self.opened: Opened | None = None
        self.baseline = ""
        self.metric = ""
        self.view = 0
        self._narrowed = 0
        self._shelf = Shelf()
        self._shown: list[Pair] | list[Result] = []
        self._drawn: tuple[object, ...] = ()

    def compose_body(self) -> ComposeResult:
        """The lists, the figures, the cases, the case."""
        with Horizontal(id="columns"):
            with Vertical(id="evaluation-side", classes="column"):
                with Panel(title="Runs", jump_key="r", id="evaluation-runs", help_text=drawing.HELP_RUNS):
                    yield OptionList(id="eval-run-list", markup=False, compact=True)
                with Panel(title="Suites", jump_key="s", id="evaluation-suites", help_text=drawing.HELP_SUITES):
                    yield OptionList(id="suite-list", markup=False, compact=True)
            with Vertical(id="evaluation-main", classes="column"):
                with Panel(title="Figures", jump_key="i", id="evaluation-figures", help_text=drawing.HELP_FIGURES):
                    with VerticalScroll(id="figures-scroll"):
                        yield Static("", id="figures-text", markup=False)
                with Panel(title="Cases", jump_key="c", id="evaluation-cases", help_text=drawing.HELP_CASES):
                    yield LineList(id="case-list")
                with Panel(title="Case", jump_key="a", id="evaluation-case", help_text=drawing.HELP_CASE):
                    with VerticalScroll(id="case-scroll"):
                        yield Static("", id="case-text", markup=False)

    def on_mount(self) -> None:
        """What an empty list says."""
        self.query_one(LineList).placeholder = drawing.NO_CASES

    # ── the lists ──

    async def refresh_all(self, select: str = "") -> None:
        """Read suites and runs; with ``select`` put the cursor on a run."""
        before = {s.run.name: s.state for s in self.looking.runs}
        self.looking = await asyncio.to_thread(read_lists, self.services, self.looking)
        facts = self.looking.fingerprint()
        if facts != self._drawn or select:
            self._drawn = facts
            self._fill(select)
        current = self.state
        if current is not None and (
            self.opened is None
            or self.opened.run.name != current.run.name
            or (current.state != before.get(current.run.name) and current.state == "done")
        ):
            self.act("open", self.open_current)
        elif current is not None and current.state == "running":
            self._draw_figures()
        elif current is None and self.opened is not None:
            self._close()

    def _close(self) -> None:
        """Show no run, because the last one was deleted."""
        self.opened, self._shown = None, []
        self.query_one(LineList).show(0, lambda _index, _width: [])
        self.query_one("#evaluation-cases", Panel).set_title("Cases", "")
        self._draw_case()
        self._show_suite()

    def _fill(self, select: str) -> None:
        runs = self.query_one("#eval-run-list", OptionList)
        names = [s.run.name for s in self.looking.runs]
        lines = [drawing.run_line(s, baseline=s.run.name == self.baseline) for s in self.looking.runs]
        if names and not select and [o.id for o in runs.options] == names:
            for index, line in enumerate(lines):
                runs.replace_option_prompt_at_index(index, line)
        else:
            kept = names.index(select) if select in names else runs.highlighted or 0
            runs.clear_options()
            runs.add_options([Option(line, id=name) for line, name in zip(lines, names, strict=True)])
            if not names:
                runs.add_option(Option(Content.styled(drawing.NO_RUNS, "$muted"), disabled=True))
            else:
                runs.highlighted = min(kept, len(names) - 1)
            if select in names:
                runs.focus()
        suites = self.query_one("#suite-list", OptionList)
        refs = [kept_.ref for kept_ in self.looking.suites]
        if [o.id for o in suites.options] != refs:
            at = suites.highlighted or 0
            suites.clear_options()
            suites.add_options([Option(drawing.suite_line(k), id=k.ref) for k in self.looking.suites])
            if refs:
                suites.highlighted = min(at, len(refs) - 1)
            else:
                suites.add_option(Option(Content.styled(drawing.NO_SUITES, "$muted"), disabled=True))

    @property
    def state(self) -> EvalState | None:
        """The run under the cursor."""
        index = self.query_one("#eval-run-list", OptionList).highlighted
        return self.looking.runs[index] if index is not None and index < len(self.looking.runs) else None

    @property
    def suite(self) -> KeptSuite | None:
        """The suite under the cursor."""
        index = self.query_one("#suite-list", OptionList).highlighted
        return self.looking.suites[index] if index is not None and index < len(self.looking.suites) else None

    @on(OptionList.OptionHighlighted, "#eval-run-list")
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.act("open", self.open_current)

    @on(OptionList.OptionSelected, "#eval-run-list")
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.remove_class("-sidebar")
        self.query_one(LineList).focus()

    @on(OptionList.OptionSelected, "#suite-list")
    def _suite_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_run()

    @on(OptionList.OptionHighlighted, "#suite-list")
    def _suite_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if self.opened is None or event.option_list.has_focus:
            self._show_suite()

    def on_descendant_focus(self) -> None:
        """The figures follow the list that has the focus: a suite is shown as its file."""
        if self.focused is not None and self.focused.id == "suite-list":
            self._show_suite()
        elif self.focused is not None and self.focused.id == "eval-run-list":
            self._draw_figures()

    def _show_suite(self) -> None:
        kept = self.suite
        if kept is not None:
            self.query_one("#evaluation-figures", Panel).set_title("Suite", safe_line(kept.ref))
            self.query_one("#figures-text", Static).update(Content(safe_text(kept.suite.to_yaml())))

    # ── what is open ──

    async def open_current(self) -> None:
        """Open the run under the cursor: its cases at once, the comparison when it is computed."""
        state = self.state
        if state is None:
            return
        baseline = next((s.run for s in self.looking.runs if s.run.name == self.baseline), None)
        if baseline is not None and baseline.name == state.run.name:
            baseline = None
        self.opened = opened = await asyncio.to_thread(open_run, self._shelf, state.run, baseline, self.metric)
        self._draw()
        if opened.comparable:
            self.query_one("#evaluation-figures", Panel).set_note("comparing …")
            opened.comparison = await asyncio.to_thread(compare_opened, self.services, self._shelf, opened)
            self.query_one("#evaluation-figures", Panel).set_note("")
            if self.opened is opened:
                self._draw_figures()

    def _draw(self) -> None:
        self._draw_figures()
        self._draw_cases()

    def _draw_figures(self) -> None:
        opened = self.opened
        if opened is None:
            return
        utf8 = self.profile.utf8
        view = self.view % len(drawing.VIEWS)
        title = drawing.VIEWS[view]
        if opened.trouble:
            self.show_figures(title, Content.styled(opened.trouble, "$error"))
            return
        state = self.state
        if state is not None and state.state in {"starting", "queued", "running"}:
            self.show_figures("Running", drawing.progress(state, utf8=utf8))
            return
        if view == 1:
            content = views.slices(opened.comparison)
        elif view == 2:
            content = views.classes(opened, utf8=utf8)
        elif view == 3:
            content = views.variations(opened)
        elif view == 4:
            rows = pareto(self.looking.runs, opened.run, opened.metric)
            content = views.cost(rows, opened.metric, opened.run, utf8=utf8)
        elif view == 5:
            content = views.manifest(opened)
        elif opened.comparison is not None:
            content = drawing.comparison(opened.comparison, utf8=utf8)
        else:
            content = drawing.figures(opened, utf8=utf8)
        self.show_figures(title, content)

    def show_figures(self, title: str, content: Content) -> None:
        """Show something in the pane of the figures."""
        opened = self.opened
        note = ""
        if opened is not None:
            note = opened.run.name if opened.baseline is None else f"{opened.run.name} against {opened.baseline.name}"
        self.query_one("#evaluation-figures", Panel).set_title(title, note)
        self.query_one("#figures-text", Static).update(content)

    def _draw_cases(self) -> None:
        opened = self.opened
        if opened is None:
            return
        cases = self.query_one(LineList)
        utf8, metric = self.profile.utf8, opened.metric
        narrowed = _NARROWED[self._narrowed]
        if opened.pairs:
            pairs = [p for p in opened.pairs if narrowed == "all" or (
                p.change is not None and (p.change < 0 if narrowed == "worse" else p.change > 0))]  # fmt: skip
            self._shown = pairs
            cases.show(len(pairs), lambda i, width: case_drawing.pair_line(pairs[i], metric, width, utf8=utf8))
            total = len(opened.pairs)
        else:
            found = [r for r in opened.results if narrowed == "all" or is_among(r, metric, narrowed)]
            self._shown = found
            cases.show(len(found), lambda i, width: case_drawing.result_line(found[i], metric, width))
            total = len(opened.results)
        what = {
            "all": "",
            "worse": "worse" if opened.pairs else "wrong",
            "better": "better" if opened.pairs else "right",
        }[narrowed]
        panel = self.query_one("#evaluation-cases", Panel)
        panel.set_title(
            "Cases", f"{len(self._shown):,} of {total:,}" + (f" {what}" if what else "") + f" · by {metric or 'place'}"
        )
        self._draw_case()

    @on(LineList.Moved)
    def _moved(self, event: LineList.Moved) -> None:
        event.stop()
        self._draw_case()

    def _draw_case(self) -> None:
        at = self.query_one(LineList).cursor
        text = self.query_one("#case-text", Static)
        if not self._shown or at >= len(self._shown):
            text.update("")
            return
        shown = self._shown[at]
        both = (shown.candidate, shown.baseline) if isinstance(shown, Pair) else (shown, None)
        text.update(case_drawing.case_content(*both))
        self.query_one("#case-scroll", VerticalScroll).scroll_home(animate=False)

    # ── actions ──

    def action_run(self) -> None:
        """Run the suite."""
        commands.run(self)

    def action_mark(self) -> None:
        """Make the run the baseline, or take that back."""
        state = self.state
        if state is None:
            return
        self.baseline = "" if self.baseline == state.run.name else state.run.name
        self._fill("")
        self.act("open", self.open_current)

    def action_detail(self) -> None:
        """The next kind of figures."""
        self.view += 1
        self._draw_figures()

    def action_narrow(self) -> None:
        """All cases, or only some."""
        self._narrowed = (self._narrowed + 1) % len(_NARROWED)
        self._draw_cases()

    def action_metric(self) -> None:
        """Order by the next metric."""
        opened = self.opened
        names = list((opened.run.summary or {}).get("metrics", {})) if opened is not None else []
        if opened is not None and names:
            at = names.index(opened.metric) if opened.metric in names else -1
            self.metric = names[(at + 1) % len(names)]
            self.act("open", self.open_current)

    def action_gate(self) -> None:
        """Hold the run to its suite's rules."""
        commands.gate(self)

    def action_judge(self) -> None:
        """Have a judge decide between two runs."""
        commands.judge(self)

    def action_new(self) -> None:
        """Write a suite."""
        commands.new_suite(self)

    def action_edit(self) -> None:
        """Change the suite."""
        commands.edit_suite(self)

    def action_use(self) -> None:
        """Open the prompt in the playground."""
        commands.use(self)

    def action_export(self) -> None:
        """Write the run to a file."""
        commands.export(self)

    def action_stop(self) -> None:
        """Stop the run."""
        commands.stop(self)

    def action_resume(self) -> None:
        """Go on with the run."""
        commands.resume(self)

    def action_remove(self) -> None:
        """Delete the run."""
        if self.state is not None:
            self.act("removal", offer_removal, self.app, "evaluation run", self.state.run.name, self.refresh_all)

    # ── what the base asks ──

    def reveal(self, panel: Panel) -> None:
        """On a narrow terminal one column is shown at a time."""
        self.set_class(panel.id in {"evaluation-runs", "evaluation-suites"}, "-sidebar")

    def lineage_subject(self) -> str:
        """The run."""
        return f"evaluation:{self.opened.run.name}" if self.opened is not None else ""

    def copy_choices(self) -> list[tuple[str, str]]:
        """The verdict, or the run as a table."""
        opened = self.opened
        if opened is None or opened.run.summary is None:
            return []
        from llmops_tui.evaluation.reports import markdown

        verdict = [("verdict", opened.comparison.sentence)] if opened.comparison is not None else []
        return [*verdict, ("table", markdown(opened.run)), ("name", opened.run.name)]

    def cli_command(self) -> str:
        """The command for what is shown."""
        opened = self.opened
        if opened is None:
            kept = self.suite
            return shlex.join(["llmops", "eval", "run", kept.suite.name]) if kept is not None else "llmops eval suites"
        if opened.baseline is not None:
            return shlex.join(["llmops", "eval", "compare", opened.baseline.name, opened.run.name])
        return shlex.join(["llmops", "eval", "show", opened.run.name])
