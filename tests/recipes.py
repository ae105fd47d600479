"""The recipes of CONTRIBUTING.md as a stranger would follow them: new files, lines behind lines, and a proof each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Attributes:
        title: the beginning of its heading in CONTRIBUTING.md.
        new: new files by path, as text.
        lines: for each file what is put behind a line that stands there once.
        proof: statements that fail where it does not work; run where the changed tree is, with ``workspace`` at hand.
    """

    title: str
    new: dict[str, str]
    lines: tuple[tuple[str, str, str], ...]
    proof: str

    def apply(self, root: Path) -> None:
        """Do it in a tree."""
        for path, text in self.new.items():
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_text(text.lstrip("\n"), encoding="utf-8")
        for path, behind, added in self.lines:
            text = (root / path).read_text(encoding="utf-8")
            assert text.count(behind) == 1, f"{path}: {behind!r} stands there {text.count(behind)} times"
            (root / path).write_text(text.replace(behind, behind + added), encoding="utf-8")

    @property
    def paths(self) -> set[str]:
        """All files that it touches."""
        return {*self.new, *(path for path, _, _ in self.lines)}


_APP = """
import asyncio
from screens.app import LlmopsApp
async def walk(steps):
    app = LlmopsApp(workspace)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await pilot.pause()
        await steps(app, pilot)
async def until(pilot, condition):
    for _ in range(3000):
        if condition():
            return
        await pilot.pause(0.01)
    raise AssertionError("it never happened")
"""

RECIPES = (
    Recipe(
        "A metric",
        {"llmops_tui/evaluation/metrics/palindrome.py": '''
"""A metric of palindromes."""

from __future__ import annotations

from typing import ClassVar, Literal

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score, right_or_wrong


class Palindrome(Metric):
    """The answer reads the same from both ends; blanks and capital letters do not count."""

    type: Literal["palindrome"] = "palindrome"
    binary: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it does."""
        del case
        bare = "".join(answer.text.lower().split())
        return right_or_wrong(bare == bare[::-1], "it does not")
'''},
        (
            ("llmops_tui/evaluation/metrics/built_in.py",
             "from llmops_tui.evaluation.metrics.likelihood import Choice, PairPreference\n",
             "from llmops_tui.evaluation.metrics.palindrome import Palindrome\n"),
            ("llmops_tui/evaluation/metrics/built_in.py", "Latency, TokensPerSecond, Tokens,", " Palindrome,"),
        ),
        """
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.evaluation.suite import check_suite
(metric,) = check_suite({"cases": [{"x": "a"}], "metrics": ["palindrome"]}, "s").made_metrics()
assert metric.score(Case(0, "k"), Answer(text="Never odd or even")).value == 1
assert metric.score(Case(0, "k"), Answer(text="No")).value == 0
assert "palindrome" in command("eval", "metrics")
""",
    ),
    Recipe(
        "A dataset format",
        {"llmops_tui/datasets/formats/quiz.py": '''
"""Questions of a quiz."""

from __future__ import annotations

from llmops_tui.datasets.formats.base import Format, RowRefusedError, has
from llmops_tui.datasets.records import Row


class Quiz(Format):
    """``{"clue": …, "response": …}``."""

    name = "quiz"
    kind = "prompt-completion"
    columns = frozenset({"clue", "response"})
    sign = "have 'clue' and 'response'"

    def recognises(self, row: Row) -> bool:
        """By both columns."""
        return has(row, "clue", "response")

    def read(self, row: Row) -> Row:
        """The clue is the prompt."""
        if not has(row, "clue", "response"):
            raise RowRefusedError("a clue or a response is missing")
        return {"prompt": row.pop("clue"), "completion": row.pop("response"), **row}

    def write(self, row: Row) -> Row:
        """And back."""
        return {"clue": row.pop("prompt"), "response": row.pop("completion"), **row}
'''},
        (
            ("llmops_tui/datasets/formats/registry.py",
             "from llmops_tui.datasets.formats.prompt_completion import PromptCompletion\n",
             "from llmops_tui.datasets.formats.quiz import Quiz\n"),
            ("llmops_tui/datasets/formats/registry.py", "PromptCompletion(), PlainText(),", " Quiz(),"),
        ),
        """
from pathlib import Path
Path("quiz.jsonl").write_text('{"clue": "a", "response": "b", "id": 1}\\n' * 3)
assert "have 'clue' and 'response'" in command("data", "import", "quiz.jsonl", "--name", "quiz", "--yes")
assert "as quiz in jsonl; reading it again" in command("data", "export", "quiz", "--format", "quiz", "--to", "out.jsonl")
""",
    ),
    Recipe(
        "A file type",
        {},
        (
            ("llmops_tui/datasets/sources/base.py", '"csv": "", "tsv": "\\t"', ', "psv": "|"'),
            ("llmops_tui/datasets/sources/folders.py", '".tsv": "tsv", ".tab": "tsv",', ' ".psv": "psv",'),
            ("llmops_tui/datasets/file_types.py", '".csv": "csv", ".tsv": "tsv",', ' ".psv": "psv",'),
            ("llmops_tui/datasets/file_types.py", '"csv": _delimited(","),', '\n    "psv": _delimited("|"),'),
        ),
        """
from pathlib import Path
Path("bars.psv").write_text('n|a, b\\n1|"two|bars"\\n2|x, y\\n')
command("data", "import", "bars.psv", "--name", "bars", "--yes")
assert '{"n":1,"a, b":"two|bars"}' in command("data", "head", "bars")
assert "as tabular in psv; reading it again gives the same rows" in command("data", "export", "bars", "--to", "out.psv.gz")
""",
    ),
    Recipe(
        "A check of datasets",
        {"llmops_tui/datasets/checks/questions.py": '''
"""A check of answers that ask."""

from __future__ import annotations

from llmops_tui.datasets.checks.base import CONVERSATIONS, Check
from llmops_tui.datasets.records import Row, answer_text


class AskingBack(Check):
    """Answers that are questions."""

    id = "asking-back"
    title = "Answers that ask back"
    why = "The model would learn to ask instead of to answer."
    kinds = CONVERSATIONS

    def inspect(self, number: int, row: Row) -> None:
        """By their last character."""
        if answer_text(self.kind, row).rstrip().endswith("?"):
            self.hit(number, "the answer ends with a question mark")
'''},
        (
            ("llmops_tui/datasets/checks/registry.py",
             "    Unanswered,\n)\n",
             "from llmops_tui.datasets.checks.questions import AskingBack\n"),
            ("llmops_tui/datasets/checks/registry.py", "Offensive, Injections, PersonalData,", " AskingBack,"),
        ),
        """
from pathlib import Path
Path("asking.jsonl").write_text('{"prompt": "a", "completion": "Why?"}\\n{"prompt": "a", "completion": "So."}\\n')
command("data", "import", "asking.jsonl", "--name", "asking", "--yes")
assert "row 0: the answer ends with a question mark" in command("data", "check", "asking", "--only", "asking-back")
""",
    ),
    Recipe(
        "A screen",
        {"screens/notebook/__init__.py": '"""Notes about the workspace."""\n', "screens/notebook/screen.py": '''
"""The notebook: a screen with one pane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.widgets import Input

from screens.shell.base import BaseScreen
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> NotebookScreen:
    """Make the screen."""
    return NotebookScreen(services, profile)


class NotebookScreen(BaseScreen):
    """One pane."""

    scope = "notebook"
    about = "What one wants to remember of this workspace."
    AUTO_FOCUS = "Input"

    def compose_body(self) -> ComposeResult:
        """A line to write in."""
        with Panel(title="Notes", jump_key="n", id="notebook", help_text="Write what you want to remember."):
            yield Input()
'''},
        (
            ("screens/actions.py",
             """    Action("app.screen_9", "9,f9 9", "Settings", "Go to the settings.", call="app.go('settings')"),\n""",
             """    Action("app.screen_n", "N,f9 N", "Notebook", "Go to the notebook.", call="app.go('notebook')"),\n"""),
        ),
        _APP + """
async def steps(app, pilot):
    await pilot.press("f9", "N")
    await until(pilot, lambda: app.current_mode == "notebook" and app.screen.focused is not None)
    assert app.screen.focused_panel().id == "notebook"
    await pilot.press("f1")
    await until(pilot, lambda: any("What one wants to remember" in str(s.content) for s in app.screen.query("Static")))
asyncio.run(walk(steps))
""",
    ),
    Recipe(
        "A pane",
        {"screens/jobs/counts_pane.py": '''
"""How many jobs there are of each state."""

from __future__ import annotations

import asyncio
from collections import Counter

from textual.app import ComposeResult
from textual.widgets import Static

from screens.shell.pane import Pane
from screens.widgets.motions import TextScroll


class CountsPane(Pane):
    """A line a state, counted anew by its action."""

    def __init__(self) -> None:
        super().__init__(title="Counts", jump_key="k", id="jobs-counts", help_text="Jobs by state; n counts again.")

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll():
            yield Static("not counted yet", markup=False)

    def action_count(self) -> None:
        """Count."""
        self.act("count", self._count)

    async def _count(self) -> None:
        jobs = await asyncio.to_thread(lambda: self.services.jobs.store.all(1000))
        counts = Counter(job.state.value for job in jobs)
        self.query_one(Static).update("\\n".join(f"{n} {state}" for state, n in counts.items()) or "no jobs")
'''},
        (
            ("screens/jobs/screen.py", "from screens.actions import bindings_of\n",
             "from screens.jobs.counts_pane import CountsPane\n"),
            ("screens/jobs/screen.py", "            yield LogPane()\n", "            yield CountsPane()\n"),
            ("screens/side_actions.py",
             """    Action("jobs.refresh_jobs", "f5,ctrl+r", "Refresh", "Reload the jobs.", show=True),\n""",
             """    Action("jobs.count", "n,f3", "Count", "Count jobs by state.", show=True, pane="counts"),\n"""),
        ),
        _APP + """
async def steps(app, pilot):
    await app.switch_mode("jobs")
    await until(pilot, lambda: app.screen.query("#jobs-counts") and app.screen.query_one("#jobs-counts").region.area)
    await pilot.press("f3")
    await until(pilot, lambda: str(app.screen.query_one("#jobs-counts Static").content) == "no jobs")
    await pilot.press("f9", "k")
    await until(pilot, lambda: app.screen.query("#jobs-counts") and app.screen.focused_panel().id == "jobs-counts")
asyncio.run(walk(steps))
""",
    ),
    Recipe(
        "A training method",
        {},
        (
            ("llmops_tui/training/methods.py", 'Literal["sft", "dpo", "orpo", "kto", "pretrain"', ', "ipo"'),
            ("llmops_tui/training/methods.py", '    "dpo": MethodFacts(("preference",), "pairs"),\n',
             '    "ipo": MethodFacts(("preference",), "pairs"),\n'),
            ("llmops_tui/training/worker/trainers.py", '    "dpo": lambda options: (PairTrainer, DPOConfig(**options)),\n',
             '    "ipo": lambda options: (PairTrainer, DPOConfig(**options, loss_type="ipo")),\n'),
        ),
        """
from llmops_tui.training.recipe import Recipe
recipe = Recipe(name="r", base="b", data=[{"dataset": "d"}], method="ipo")
assert recipe.facts.kinds == ("preference",)
from llmops_tui.training.worker.trainers import _kind
kind, config = _kind(recipe, {"output_dir": "out", "use_cpu": True, "bf16": False})
assert (kind.__name__, config.loss_type) in {("PairTrainer", "ipo"), ("PairTrainer", ["ipo"])}, config.loss_type
""",
    ),
    Recipe(
        "A model family",
        {},
        (
            ("llmops_tui/training/families.py", '    "phi3": Layout(gguf.MODEL_ARCH.PHI3),\n',
             '    "starcoder2": Layout(gguf.MODEL_ARCH.STARCODER2),\n'),
        ),
        """
from llmops_tui.training.families import Family
family = Family("starcoder2", {"num_hidden_layers": 2, "num_attention_heads": 4})
assert family.tensor_name("model.layers.1.self_attn.q_proj.weight") == "blk.1.attn_q.weight"
""",
    ),
    Recipe(
        "A monitored series",
        {},
        (
            ("llmops_tui/monitoring/series.py", '    "failed": "jobs", "xid": "errors",', ' "memory_free": "B",'),
            ("llmops_tui/monitoring/series.py", '        "host.swap": host.swap_used,\n',
             '        "host.memory_free": host.memory_total - host.memory_used,\n'),
            ("screens/monitor/groups.py",
             '    found.append(Group("Network", (("host.received", "received"), ("host.sent", "sent"))))\n',
             '    found.append(Group("Free memory", (("host.memory_free", "free"),)))\n'),
        ),
        """
from llmops_tui.hardware.host import HostLoad
from llmops_tui.monitoring.series import of_host
from screens.monitor.groups import groups_of
values = of_host(HostLoad(cpu=1.0, memory_used=3, memory_total=10))
assert values["host.memory_free"] == 7
assert [(g.title, g.unit) for g in groups_of(list(values)) if g.title == "Free memory"] == [("Free memory", "B")]
""",
    ),
    Recipe(
        "A noun of the command line",
        {"llmops_tui/cli/folder.py": '''
"""``llmops folder``: where things lie."""

from __future__ import annotations

import typer

from llmops_tui.cli.output import session_of

app = typer.Typer(help="Where things of the workspace lie.")


@app.command()
def show(context: typer.Context) -> None:
    """The workspace's folder."""
    session = session_of(context)
    root = str(session.workspace.root)
    session.emit({"root": root}, lambda: root)
'''},
        (
            ("llmops_tui/cli/commands.py",
             """    "plugin": Entry("Plugins from installed packages", "llmops_tui.cli.plugin:app"),\n""",
             """    "folder": Entry("Where things of the workspace lie", "llmops_tui.cli.folder:app"),\n"""),
        ),
        """
assert command("folder", "show").strip() == str(workspace.root)
""",
    ),
)  # fmt: skip
