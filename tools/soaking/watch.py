"""What is looked at while the soak goes on: memory, open files, sizes on disk; and whether all that was acknowledged is there."""

from __future__ import annotations

import collections
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from tools.soaking.commands import Llmops
from tools.soaking.ledger import Ledger

_SECONDS = 10.0
_GROWTH = 1.3
# What grows by less than this grows by what any process does: caches of allocators, one more connection.
_SLACK = {"rss_mb": 8.0, "files": 4.0, "threads": 4.0}
_DATABASES = ("journal.db", "history.db", "answers.db")
_LABELLED = (
    "SELECT v.dataset || '@' || v.number, a.annotator, list(DISTINCT a.row) FROM annotations a "
    "JOIN dataset_versions v ON v.sha256 = a.sha256 WHERE a.task = 'mood' AND a.pass = 0 GROUP BY 1, 2"
)
_SIZES = ("workspace.duckdb", "workspace.duckdb.wal", *_DATABASES, *(f"{name}-wal" for name in _DATABASES))


class Gauge(threading.Thread):
    """Looks at processes and files every few seconds."""

    def __init__(self, root: Path, ledger: Ledger, processes: dict[str, int]) -> None:
        super().__init__(name="gauge")
        self.ended = threading.Event()
        self.samples: dict[str, list[tuple[float, float]]] = collections.defaultdict(list)
        self._root = root
        self._ledger = ledger
        self._processes = processes

    def run(self) -> None:
        """Until it is told to end."""
        while not self.ended.wait(_SECONDS):
            self.inspect()

    def inspect(self) -> None:
        """One sample of everything."""
        now = time.time()
        for name, pid in self._processes.items():
            try:
                process = psutil.Process(pid)
                values = {
                    "rss_mb": process.memory_info().rss / 1e6,
                    "files": process.num_fds(),
                    "threads": process.num_threads(),
                    "children": len(process.children(recursive=True)),
                    "cpu_s": sum(process.cpu_times()[:2]),
                }
            except psutil.Error:
                continue
            for key, value in values.items():
                self.samples[f"{name} {key}"].append((now, value))
        for name in _SIZES:
            path = self._root / name
            size = path.stat().st_size if path.exists() else 0
            self.samples[f"size {name}"].append((now, size / 1e6))
        logs = sum(p.stat().st_size for p in (self._root / "logs").glob("*") if p.is_file())
        self.samples["size logs"].append((now, logs / 1e6))

    def growth(self, since: float) -> dict[str, tuple[float, float, float]]:
        """Median of the first and of the last quarter since then, and the largest, of each series."""
        told = {}
        for name, series in self.samples.items():
            values = [value for at, value in series if at >= since]
            if len(values) >= 4:
                quarter = max(1, len(values) // 4)
                told[name] = (statistics.median(values[:quarter]), statistics.median(values[-quarter:]), max(values))
        return told

    def judge(self, since: float) -> None:
        """A process that grows without bound is a finding."""
        for name, (first, last, _most) in self.growth(since).items():
            kind = name.rpartition(" ")[2]
            if kind in _SLACK and last > _GROWTH * first and last - first > _SLACK[kind]:
                self._ledger.find(f"{name} grew from {first:.1f} to {last:.1f}, by more than {_GROWTH} times")


class Auditor:
    """Holds the workspace to what was acknowledged, by its own commands."""

    def __init__(self, llmops: Llmops) -> None:
        self._llmops = llmops
        self._ledger = llmops.ledger

    def audit(self) -> None:
        """Everything that was acknowledged before now is there, once; ``check`` finds nothing."""
        began = time.monotonic()
        facts = {
            kind: list(self._ledger.facts(kind))
            for kind in (
                "version",
                "dataset",
                "run",
                "removed",
                "evaluation",
                "row",
                "label",
                "app run",
                "feedback",
                "backup",
            )
        }
        removing = {fact["run"] for fact in self._ledger.facts("removing")}
        for inspect in (self._versions, self._datasets, self._evaluations, self._rows, self._backups):
            inspect(facts)
        self._runs(facts, removing)
        # What was about to be deleted while this was read is looked at the next time.
        removing |= {fact["run"] for fact in self._ledger.facts("removing")}
        self._feedback(facts, removing)
        found = self._ask("check")
        if not found.get("clean"):
            self._ledger.find(f"check is not clean: {str(found)[:3000]}")
        self._ledger.count("audits")
        self._ledger.counts["seconds of the last audit"] = round(time.monotonic() - began)

    def _ask(self, *arguments: str) -> dict[str, Any]:
        for _ in range(5):
            answer = self._llmops.ask(*arguments)
            if not answer.busy:
                return answer.data
        self._ledger.find(f"{arguments} was busy five times")
        return {}

    def _sql(self, query: str) -> list[list[Any]]:
        found = self._ask("sql", query, "--limit", "1000000")
        if found.get("truncated"):
            self._ledger.find(f"{query} was cut off")
        return list(found.get("rows", []))

    def _once(self, what: str, wanted: set[Any], present: list[Any]) -> None:
        counted = collections.Counter(present)
        missing = sorted(x for x in wanted if counted[x] == 0)
        doubled = sorted(x for x, n in counted.items() if n > 1)
        if missing:
            self._ledger.find(f"{what}: {len(missing)} were acknowledged and are missing: {missing[:20]}")
        if doubled:
            self._ledger.find(f"{what}: {len(doubled)} are there more than once: {doubled[:20]}")
        self._ledger.counts[f"held: {what}"] = len(wanted)

    def _versions(self, facts: dict[str, list[dict[str, Any]]]) -> None:
        wanted = facts["version"]
        present = []
        texts = {}
        labels: dict[tuple[str, str], int] = {}
        for prompt in {fact["prompt"] for fact in wanted}:
            for version in self._ask("prompt", "log", prompt, "--limit", "1000000").get("versions", []):
                key = (prompt, version["version"])
                present.append(key)
                texts[key] = (version["sha256"], version["template"])
                labels |= {(prompt, label): version["version"] for label in version["labels"]}
        self._once("versions of prompts", {(fact["prompt"], fact["version"]) for fact in wanted}, present)
        for fact in wanted:
            sha256, text = texts.get((fact["prompt"], fact["version"]), ("", ""))
            if fact["text"] != text or fact.get("sha256", sha256) != sha256:
                self._ledger.find(f"{fact} is {text!r} in the catalog")
        last: dict[tuple[str, str], int] = {}
        for fact in facts["label"]:
            last[fact["prompt"], fact["label"]] = fact["version"]
        for (prompt, label), number in last.items():
            # A label that moved on since was moved on by whoever told us so before.
            if labels.get((prompt, label), -1) < number:
                self._ledger.find(
                    f"label {label} of {prompt} was put at @{number} and is at @{labels.get((prompt, label))}"
                )

    def _datasets(self, facts: dict[str, list[dict[str, Any]]]) -> None:
        present = []
        for name in {fact["name"] for fact in facts["dataset"]}:
            known = self._ask("data", "log", name).get("versions", [])
            present += [(name, v["version"], v["sha256"], v["rows"]) for v in known]
        wanted = {(f["name"], f["version"], f["sha256"], f["rows"]) for f in facts["dataset"]}
        self._once("versions of datasets", wanted, present)

    def _runs(self, facts: dict[str, list[dict[str, Any]]], removing: set[str]) -> None:
        # Looking ingests what the event log has into the catalog.
        self._ask("traces", "list", "--limit", "1")
        rows = self._sql("SELECT id, prompt, prompt_version, output FROM requests ORDER BY id")
        present = [row[0] for row in rows]
        texts = {row[0]: row[3] for row in rows}
        removing |= {fact["run"] for fact in self._ledger.facts("removing")}
        kept = [fact for fact in facts["run"] if fact["run"] not in removing]
        self._once("runs", {fact["run"] for fact in kept}, present)
        for fact in kept:
            if fact["run"] in texts and texts[fact["run"]] != fact["text"]:
                self._ledger.find(f"{fact} is {texts[fact['run']]!r} in the catalog")
        for fact in facts["removed"]:
            if fact["run"] in texts:
                self._ledger.find(f"trace {fact['run']} was deleted and is there")
        asked = {(row[1], row[2]) for row in rows}
        for fact in facts["app run"]:
            if (fact["prompt"], fact["version"]) not in asked:
                self._ledger.find(f"the run of {fact['prompt']}@{fact['version']} that an app showed is not there")
        self._ledger.counts["held: removals"] = len(facts["removed"])

    def _feedback(self, facts: dict[str, list[dict[str, Any]]], removing: set[str]) -> None:
        last = {fact["run"]: fact["comment"] for fact in facts["feedback"] if fact["run"] not in removing}
        for run in list(last)[-5:]:
            shown = self._llmops.ask("traces", "show", run, fine=("trace_not_found",))
            said = shown.data.get("feedback", {}).get("comment")
            # Or what was said since, be it acknowledged or not yet.
            begun = [fact["comment"] for fact in self._ledger.facts("commenting") if fact["run"] == run]
            if shown.code == 0 and said not in begun[begun.index(last[run]) :]:
                self._ledger.find(f"feedback of {run} was {last[run]!r} and is {said!r}")

    def _evaluations(self, facts: dict[str, list[dict[str, Any]]]) -> None:
        runs = self._ask("eval", "list", "--limit", "100000").get("runs", [])
        self._once("evaluation runs", {fact["run"] for fact in facts["evaluation"]}, [run["run"] for run in runs])
        states = {run["run"]: run["state"] for run in runs}
        for fact in facts["evaluation"]:
            state = states.get(fact["run"])
            if state in {"lost", "killed", "failed"} or (fact["whole"] and state != "done"):
                self._ledger.find(f"evaluation {fact['run']} is {state}")

    def _rows(self, facts: dict[str, list[dict[str, Any]]]) -> None:
        wanted: dict[tuple[str, str], set[int]] = collections.defaultdict(set)
        for fact in facts["row"]:
            wanted[fact.get("ref", "triage-test@1"), fact["annotator"]].add(fact["row"])
        # One question for all: apps label whatever dataset is open, and the more there are the more refs it is.
        said = {(ref, who): set(rows) for ref, who, rows in self._sql(_LABELLED)}
        for (ref, who), rows in wanted.items():
            if missing := rows - said.get((ref, who), set()):
                self._ledger.find(f"{who} labelled rows {sorted(missing)[:20]} of {ref}; they are not there")
        self._ledger.counts["held: labelled rows"] = sum(len(rows) for rows in wanted.values())

    def _backups(self, facts: dict[str, list[dict[str, Any]]]) -> None:
        gone = {Path(name).name for fact in self._ledger.facts("backup") for name in fact["removed"]}
        for fact in facts["backup"]:
            path = Path(fact["file"])
            if path.name not in gone and not path.exists():
                self._ledger.find(f"backup {path.name} was made, not thinned out, and is not there")
