"""What prompts cost where there are many: 5,000 versions and 100,000 runs. Listing, searching, opening, saving, ingest.

``python tools/bench/many_prompts.py [RUNS] [ROUNDS]``. Of the app and of commands the processor time of all their threads is told
beside the time by the clock, which says something on a calm machine only.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from llmops_tui.prompts.store import PromptStore, content_hash  # noqa: E402
from llmops_tui.sample import fill  # noqa: E402
from llmops_tui.workspace.bulk import insert_rows  # noqa: E402
from llmops_tui.workspace.catalog import Catalog  # noqa: E402
from llmops_tui.workspace.event_log import EventLog  # noqa: E402
from llmops_tui.workspace.ids import new_id  # noqa: E402
from llmops_tui.workspace.ingest import ingest  # noqa: E402
from llmops_tui.workspace.kept_engines import close_kept  # noqa: E402
from llmops_tui.workspace.layout import Workspace  # noqa: E402
from llmops_tui.workspace.marker import make_workspace  # noqa: E402
from tests.e2e.terminal import Terminal  # noqa: E402

# One prompt with a long history, and many with short ones.
LONG, PROMPTS, SHORT = 1_000, 400, 10
RUNS, FIRST = 100_000, 50_000
ROUNDS = 7
# A word of one version in the middle.
NEEDLE = "zwetschgenknoedel"
_WORDS = (
    "order", "refund", "kettle", "lamp", "please", "delivery", "money", "customer", "service", "return", "exchange", "answer",
)  # fmt: skip
_VERSIONS = {
    "id": "VARCHAR", "prompt": "VARCHAR", "number": "INTEGER", "sha256": "VARCHAR", "parent": "INTEGER", "system": "VARCHAR",
    "template": "VARCHAR", "note": "VARCHAR", "created_at": "DOUBLE",
}  # fmt: skip
COMMANDS = {
    "llmops --version": ("--version",),
    "llmops prompt list": ("prompt", "list"),
    "llmops prompt log": ("prompt", "log", "long"),
    "llmops prompt show": ("prompt", "show", "long@500"),
    "llmops prompt search": ("prompt", "search", NEEDLE),
    "llmops prompt runs": ("prompt", "runs", "long@500"),
    "llmops prompt save": ("prompt", "save", "saved", "--text", "Answer briefly. {{ question }}"),
    "llmops prompt tag": ("prompt", "tag", "long@500", "staging"),
    "llmops traces list": ("traces", "list"),
}  # fmt: skip


def make_versions(catalog: Catalog) -> None:
    """5,000 versions of 401 prompts, written at once."""
    chance = random.Random(21)
    now = time.time() - 1_000_000
    rows: list[list[Any]] = []
    for name, count in [("long", LONG), *((f"short-{n:03}", SHORT) for n in range(PROMPTS))]:
        for number in range(1, count + 1):
            system = " ".join(chance.choices(_WORDS, k=60))
            template = " ".join(chance.choices(_WORDS, k=60)) + f" {number} {{{{ question }}}}"
            if (name, number) == ("short-200", 5):
                template += f" {NEEDLE}"
            digest = content_hash(system, template)
            parent = number - 1 or None
            rows.append(
                [new_id("pv"), name, number, digest, parent, system, template, f"note {number}", now + len(rows)]
            )
    names = dict.fromkeys(row[1] for row in rows)

    def work(connection: Any) -> None:
        connection.executemany("INSERT INTO prompts VALUES (?, ?)", [[name, now] for name in names])
        insert_rows(connection, "prompt_versions", _VERSIONS, iter(rows))

    catalog.write(work)


def run_events(first: int, count: int) -> list[tuple[str, str, dict[str, object]]]:
    """Finished requests as a server records them: a fifth is of the long prompt."""
    made = []
    for number in range(first, first + count):
        prompt, versions = ("long", LONG) if number % 5 == 0 else (f"short-{number % PROMPTS:03}", SHORT)
        body: dict[str, object] = {
            "started_at": 1_780_000_000.0 + number,
            "model": "support-base",
            "model_sha256": "a" * 64,
            "prompt": prompt,
            "prompt_version": number // 5 % versions + 1,
            "variables": {"question": f"Where is order {number}?"},
            "messages": [
                {"role": "system", "content": "Answer briefly and kindly, please. " * 10},
                {"role": "user", "content": f"Where is order {number}? " * 5},
            ],
            "parameters": {"temperature": 0.0, "max_tokens": 256},
            "output": f"Order {number} is on its way. " * 10,
            "finish_reason": "stop",
            "prompt_tokens": 120,
            "completion_tokens": 60,
            "reused_tokens": 20,
            "ttft_ms": 12.0,
            "total_ms": 300.0,
            "tokens_per_s": 200.0,
        }
        made.append(("request", f"run_{number:07}", body))
    return made


def record(event_log: EventLog, first: int, count: int) -> None:
    for start in range(first, first + count, 1_000):
        event_log.append_many(run_events(start, min(1_000, first + count - start)))


def timed(work: Callable[[], object]) -> dict[str, float]:
    begun, spent = time.perf_counter(), time.process_time()
    work()
    return {"cpu_ms": (time.process_time() - spent) * 1000, "ms": (time.perf_counter() - begun) * 1000}


def middle(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(one[name] for one in found), 1) for name in found[0]}


def in_process(store: PromptStore, rounds: int) -> dict[str, Any]:
    """What a process that is at work already needs, such as the app."""
    works: dict[str, Callable[[int], object]] = {
        "list": lambda _: store.summaries(),
        "search": lambda _: store.search(NEEDLE),
        "open, 10 versions": lambda n: store.versions(f"short-{n:03}"),
        "open, 1,000 versions": lambda _: store.versions("long"),
        "save": lambda n: store.save("saved", template=f"Answer briefly, number {n}. {{{{ question }}}}"),
        "save of the 1,001st": lambda n: store.save("long", template=f"Answer briefly, number {n}. {{{{ question }}}}"),
    }
    found = {}
    for name, work in works.items():
        work(rounds)
        found[name] = middle([timed(partial(work, number)) for number in range(rounds)])
    return found


def command(workspace: Workspace, arguments: tuple[str, ...]) -> dict[str, float]:
    """A command from the start of its process to its end."""
    begun = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "llmops_tui", "--workspace", str(workspace.root), *arguments], stdout=subprocess.DEVNULL
    )
    _pid, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{arguments} ended with {child.returncode}")
    return {"cpu_ms": (usage.ru_utime + usage.ru_stime) * 1000, "ms": (time.perf_counter() - begun) * 1000}


def thread_seconds(pid: int) -> float:
    """Processor time of all threads that a process has, to the nanosecond."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def pressed(app: Terminal, keys: str, sign: Callable[[str], bool]) -> dict[str, float]:
    """From the last key until the screen shows what it leads to; processor time until nothing is written any more."""
    for key in keys[:-1]:
        app.press(key)
    quiet(app)
    spent, begun = thread_seconds(app.child.pid), time.perf_counter()
    app.child.send(keys[-1])
    # The screen is read where something was written alone: that takes a while, in which the app could write.
    read = 0
    while read == len(app.raw) or not sign(app.text):
        read = len(app.raw)
        if not app.pump(0.02) or time.perf_counter() - begun > 60:
            raise RuntimeError(f"not seen after {keys!r}; the screen:\n{app.text}")
    ms = (time.perf_counter() - begun) * 1000
    quiet(app)
    return {"cpu_ms": (thread_seconds(app.child.pid) - spent) * 1000, "ms": ms}


def quiet(app: Terminal) -> None:
    """Until nothing was written for half a second."""
    known = -1
    while known != len(app.raw):
        known = len(app.raw)
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            app.pump(0.1)


def many(text: str) -> bool:
    """Whether the list shows all prompts, wherever it is, and not only what a search found."""
    return text.count("short-") > 3


def on_screen(workspace: Workspace, rounds: int) -> dict[str, Any]:
    """The playground: its list, a search, prompts that are opened."""
    app = Terminal("--workspace", str(workspace.root), size=(160, 45))
    found: dict[str, list[dict[str, float]]] = {"list": [], "search": [], "open": [], "open the long one": []}
    try:
        app.wait("support-base")
        quiet(app)
        for _ in range(rounds):
            app.go("8", "No jobs yet")
            app.press("f9")
            app.wait("1  playground")
            found["list"].append(pressed(app, "1", lambda text: "Versions" in text and many(text)))
            app.jump("p", "Prompts")
            app.press("/")
            app.wait("find in names")
            # No other version has its first letter.
            found["search"].append(pressed(app, NEEDLE[:1], lambda text: "short-200" in text and not many(text)))
            app.press("enter")
            found["open"].append(pressed(app, "\r", lambda text: "short-200 @" in text))
            app.press("escape")
            app.wait(many)
            app.press("/")
            app.wait("find in names")
            app.press("note 999")
            app.wait(lambda text: not many(text))
            app.press("enter")
            found["open the long one"].append(pressed(app, "\r", lambda text: "long @" in text))
            app.press("escape")
            app.wait(many)
    finally:
        app.close()
    return {name: middle(times) for name, times in found.items()}


def main(runs: int = RUNS, rounds: int = ROUNDS) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="llmops-bench-", ignore_cleanup_errors=True) as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        for name in ("SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "NO_COLOR"):
            os.environ.pop(name, None)
        os.environ["LC_ALL"], os.environ["TERM"] = "C.UTF-8", "xterm-256color"
        workspace = make_workspace(Workspace(Path(folder) / "ws"))
        fill(workspace)
        catalog, event_log = Catalog(workspace), EventLog(workspace)
        make_versions(catalog)
        first = min(FIRST, runs)
        record(event_log, 0, first)
        found: dict[str, Any] = {}

        def tell(name: str, what: dict[str, Any]) -> None:
            # On standard error as it comes: the whole takes minutes.
            found[name] = what
            print(json.dumps({name: what}), file=sys.stderr, flush=True)

        tell(f"first ingest of {first:,} runs", timed(lambda: ingest(catalog, event_log)))
        record(event_log, first, runs - first)
        ingest(catalog, event_log)
        event_log.close()
        tell("in a process", in_process(PromptStore(catalog), rounds))
        close_kept()
        times = {name: middle([command(workspace, words) for _ in range(rounds)]) for name, words in COMMANDS.items()}
        tell("commands", times)
        tell("on the screen", on_screen(workspace, rounds))
        return found


if __name__ == "__main__":
    print(json.dumps(main(*(int(word) for word in sys.argv[1:])), indent=2))
