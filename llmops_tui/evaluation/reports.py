"""Results in formats of other programs: lm-eval JSON, CSV, Parquet, Markdown and JUnit, and those of plugins."""

from __future__ import annotations

import csv
import io
import json
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.facts_told import facts_told
from llmops_tui.evaluation.gates import Ruling
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.run_comparison import results_so_far
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.plugins import Plugins, made_of, only_one
from llmops_tui.safe_text import safe_line
from llmops_tui.spreadsheet_text import inert
from llmops_tui.workspace.bulk import insert_rows
from llmops_tui.workspace.catalog_file import connect_memory
from llmops_tui.workspace.files import sha256_text, write_atomic
from llmops_tui.workspace.sandbox import quote_name, quote_text

FORMS = {
    ".json": "lm-eval",
    ".csv": "CSV",
    ".parquet": "Parquet",
    ".md": "Markdown",
    ".xml": "JUnit",
    ".jsonl": "samples",
}


class Report:
    """A form of report that a package brings; its entry point names a subclass, and is what the form is called.

    Attributes:
        suffix: what files of this form end in, such as ``.html``.
    """

    suffix: ClassVar[str] = ""

    def make(self, run: EvalRun, results: Sequence[Result]) -> str | bytes:
        """The file of a finished run, whose ``summary`` has the figures; ``results`` are its answers with their scores."""
        raise NotImplementedError


def _accept(name: str, given: object) -> Report:
    report = made_of(Report)(name, given)
    if not re.fullmatch(r"\.[A-Za-z0-9]{1,20}", report.suffix):
        raise ValueError(f"{report.suffix!r} is not a suffix, such as .html")
    if report.suffix in FORMS:
        raise ValueError(f"files that end in {report.suffix} are written by the built-in report")
    return report


PLUGINS: Plugins[Report] = Plugins("reports", _accept, FORMS.values)


def _find_form(suffix: str) -> str:
    """What files with a suffix are; empty where nothing writes such files."""
    theirs = [name for name, report in PLUGINS.all().items() if report.suffix == suffix] if suffix not in FORMS else []
    return FORMS.get(suffix) or only_one(theirs, f"files that end in {suffix}") or ""


def export(run: EvalRun, target: Path, *, rulings: Sequence[Ruling] = ()) -> str:
    """Write a finished run to a file; its suffix says how. Returns the form.

    Raises:
        InputRefusedError: the run is not finished, or nothing writes files with this suffix.
        LlmopsError: ``plugin_failed``: a package's form could not be made.
    """
    if run.summary is None:
        raise InputRefusedError("run_unfinished", f"run {run.name} is not finished", "llmops eval resume continues it.")
    form = _find_form(target.suffix)
    if not form:
        known = [*FORMS, *(report.suffix for report in PLUGINS.all().values())]
        broken = "".join(f" {plugin.told}." for plugin in PLUGINS.listed() if plugin.problem)
        raise InputRefusedError(
            "bad_suffix", f"{target.name}: the suffix determines the format", f"Use one of {', '.join(known)}.{broken}"
        )
    results = results_so_far(run)
    if form == "Parquet":
        _parquet(run, results, target)
        return form
    if (report := PLUGINS.get(form) if target.suffix not in FORMS else None) is not None:
        with PLUGINS.at_work(form):
            made = report.make(run, results)
            if not isinstance(made, (str, bytes)):
                raise TypeError(f"it made a {type(made).__name__}, not text or bytes")
        write_atomic(target, made)
        return form
    writers = {
        "lm-eval": lambda: json.dumps(_lm_eval(run), indent=2),
        "CSV": lambda: _csv(run, results),
        "Markdown": lambda: markdown(run),
        "JUnit": lambda: junit(run, results, rulings),
        "samples": lambda: _samples(run, results),
    }
    write_atomic(target, writers[form]())
    return form


def _lm_eval(run: EvalRun) -> dict[str, Any]:
    """The result file of the LM Evaluation Harness, as far as its keys have a meaning here."""
    summary, manifest = run.summary or {}, run.manifest
    parameters = manifest.get("parameters") or {}
    figures: dict[str, Any] = {"alias": run.suite}
    better = {}
    for name, figure in summary["metrics"].items():
        figures[f"{name},none"] = figure["mean"]
        if figure["low"] is not None and figure["high"] is not None:
            # Half the interval over the normal quantile: what a standard error would have to be.
            figures[f"{name}_stderr,none"] = (figure["high"] - figure["low"]) / (2 * 1.959964)
        better[name] = figure["better"] > 0
    return {
        "results": {run.suite: figures},
        "group_subtasks": {run.suite: []},
        "versions": {run.suite: run.suite_number},
        "n-shot": {run.suite: 0},
        "higher_is_better": {run.suite: better},
        "n-samples": {run.suite: {"original": summary.get("of"), "effective": summary["cases"]}},
        "config": {"model": run.asked.model, "gen_kwargs": parameters, "random_seed": parameters.get("seed")},
        "date": run.finished_at,
        "task_hashes": {run.suite: manifest.get("cases_sha256")},
        "model_name": run.asked.model,
        "chat_template_sha": manifest.get("template_sha256"),
        "total_evaluation_time_seconds": summary["costs"]["seconds"],
        "llmops": {"run": run.name, "manifest": manifest, "metrics": summary["metrics"]},
    }


def _samples(run: EvalRun, results: Sequence[Result]) -> str:
    """A line for each answer, with the keys of lm-eval's samples."""
    del run
    lines = []
    for r in results:
        given = json.dumps(r.case.variables or [dict(m) for m in r.case.messages], default=str)
        lines.append(
            json.dumps(
                {
                    "doc_id": r.case.index,
                    "doc": r.case.variables or {"messages": list(r.case.messages)},
                    "target": r.case.expected,
                    "resps": [[r.answer.text]],
                    "filtered_resps": [r.answer.text],
                    "repeat": r.repeat,
                    "metrics": list(r.scores),
                    "doc_hash": r.case.key,
                    "prompt_hash": sha256_text(given),
                    "target_hash": sha256_text(str(r.case.expected)),
                    **{name: s.value for name, s in r.scores.items()},
                },
                default=str,
            )
        )
    return "\n".join(lines) + "\n"


def _flat(results: Sequence[Result]) -> tuple[list[str], list[list[Any]]]:
    names = list(dict.fromkeys(name for r in results for name in r.scores))
    slices = list(dict.fromkeys(name for r in results for name in r.case.slices))
    headers = [
        "case",
        "row",
        "variation",
        "repeat",
        *(f"slice.{s}" for s in slices),
        "input",
        "expected",
        "output",
        "thinking",
        "thinking_tokens",
        "error",
        "finish_reason",
        "cached",
        *names,
        "reason",
    ]
    rows = []
    for r in results:
        asked = (
            json.dumps(r.case.variables, default=str)
            if r.case.variables
            else "\n".join(str(m.get("content")) for m in r.case.messages)
        )
        reasons = "; ".join(f"{n}: {s.reason}" for n, s in r.scores.items() if s.reason)
        rows.append(
            [
                r.case.index,
                r.case.row,
                r.case.variation,
                r.repeat,
                *(r.case.slices.get(s) for s in slices),
                asked,
                None if r.case.expected is None else r.case.expected_text,
                r.answer.text,
                r.answer.thinking,
                r.answer.reasoning_tokens,
                r.answer.error,
                r.answer.finish_reason,
                r.answer.cached,
                *(r.scores[n].value if n in r.scores else None for n in names),
                reasons,
            ]
        )
    return headers, rows


def _csv(run: EvalRun, results: Sequence[Result]) -> str:
    del run
    headers, rows = _flat(results)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([inert(header) for header in headers])
    writer.writerows([inert(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return out.getvalue()


def _parquet(run: EvalRun, results: Sequence[Result], target: Path) -> None:
    del run
    headers, rows = _flat(results)
    whole = {"case", "row", "repeat", "thinking_tokens"}
    texts = {"variation", "input", "expected", "output", "thinking", "error", "finish_reason", "reason"}
    kinds = [
        "BIGINT"
        if h in whole
        else "VARCHAR"
        if h in texts or h.startswith("slice.")
        else "BOOLEAN"
        if h == "cached"
        else "DOUBLE"
        for h in headers
    ]
    connection = connect_memory()
    scratch = target.with_name(f".{target.name}.part")
    try:
        columns = ", ".join(f"{quote_name(h)} {k}" for h, k in zip(headers, kinds, strict=True))
        connection.execute(f"CREATE TABLE results ({columns})")
        insert_rows(connection, "results", dict(zip(headers, kinds, strict=True)), rows)
        connection.execute(f"COPY results TO {quote_text(str(scratch))} (FORMAT parquet, COMPRESSION zstd)")
        scratch.rename(target)
    finally:
        connection.close()
        scratch.unlink(missing_ok=True)


def markdown(run: EvalRun) -> str:
    """A table that can be pasted."""
    summary = run.summary or {}
    lines = [
        f"# {safe_line(run.name)}",
        "",
        f"{counted(summary['cases'], 'case')} of {run.suite_ref}, asked of {safe_line(run.asked.model)}"
        + (f" with {run.asked.prompt}" if run.asked.prompt else "")
        + ".",
        "",
        "| metric | figure | 95 % interval | n | unusable |",
        "| --- | ---: | --- | ---: | ---: |",
    ]
    for name, f in summary["metrics"].items():
        value = "–" if f["mean"] is None else f"{f['mean']:.4g} {f['unit']}".strip()
        ends = "–" if f["low"] is None else f"{f['low']:.4g} to {f['high']:.4g}"
        lines.append(f"| {safe_line(name)} | {value} | {ends} | {f['n']:,} | {f['unusable']:,} |")
    beside = [f"- {safe_line(name)}: {line}" for name, f in summary["metrics"].items() for line in facts_told(f)]
    lines += ["", *beside] if beside else []
    measured = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.finished_at or 0))
    # A manifest that another program wrote may lack anything.
    cases, engine = (safe_line(str(run.manifest.get(name, "unknown"))) for name in ("cases_sha256", "engine"))
    lines += ["", f"Measured {measured}; cases {cases[:12]}, engine {engine}."]
    return "\n".join(lines) + "\n"


def junit(run: EvalRun, results: Sequence[Result], rulings: Sequence[Ruling]) -> str:
    """JUnit: a test case for each ruling of a gate; without a gate, for each answer, failed where a 0-or-1 score is 0."""
    summary = run.summary or {}
    suite = ET.Element("testsuite", name=run.suite_ref)
    failures = 0
    if rulings:
        for ruling in rulings:
            case = ET.SubElement(suite, "testcase", classname=run.suite, name=ruling.rule)
            if ruling.outcome == "fail":
                failures += 1
                ET.SubElement(case, "failure", message=ruling.why)
            else:
                ET.SubElement(case, "system-out").text = f"{ruling.outcome}: {ruling.why}"
    else:
        binary = {name for name, f in summary["metrics"].items() if f["binary"]}
        for r in results:
            name = f"case {r.case.index}" + (f" {r.case.variation}" if r.case.variation else "")
            case = ET.SubElement(suite, "testcase", classname=run.suite, name=name)
            wrong = [f"{n}: {s.reason}" for n, s in r.scores.items() if n in binary and s.value == 0]
            if r.answer.error:
                ET.SubElement(case, "error", message=_xml(r.answer.error))
            elif wrong:
                failures += 1
                ET.SubElement(case, "failure", message=_xml("; ".join(wrong))).text = _xml(r.answer.text)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(failures))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def _xml(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return "".join(
        c
        for c in text
        if c in "\t\n" or (ord(c) >= 32 and not 0xD800 <= ord(c) < 0xE000 and ord(c) not in (0xFFFE, 0xFFFF))
    )
