"""Further views of a run or a comparison: slices, classes, variations, quality and cost, manifest, gate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.evaluation.difference import change_words
from llmops_tui.safe_text import safe_line
from screens.evaluation.rendering import COSTS, bar, ends, number
from screens.widgets.line_list import cell

if TYPE_CHECKING:
    from llmops_tui.evaluation.comparison import Comparison
    from llmops_tui.evaluation.gates import Ruling
    from llmops_tui.evaluation.records import Facts
    from llmops_tui.evaluation.run import EvalRun
    from screens.evaluation.model import Opened


def slices(found: Comparison | None) -> Content:
    """The first metric in parts of the cases."""
    if found is None or not found.slices:
        return Content("No slices: define some in the suite, and choose a baseline with space.")
    parts: list[Any] = [(f"{found.metric} by slice; few cases say little\n", "$muted")]
    width = min(30, max(len(safe_line(f"{s.by} {s.value}")) for s in found.slices))
    main = next((d for d in found.differences if d.name == found.metric), None)
    share, unit = (main.share, "pt" if main.share else main.unit) if main is not None else (False, "")
    for s in found.slices:
        clear = not s.few and s.interval.low * s.interval.high > 0
        style = "$muted" if not clear else "$success" if s.interval.value > 0 else "$error"
        parts += [
            f"{cell(safe_line(f'{s.by} {s.value}'), width)}  {s.n:>6,}  {number(s.baseline):>7} → {number(s.candidate):<7} ",
            (" ".join((*change_words(s.interval, share=share), unit)).strip(), style),
            ("  few cases\n" if s.few else "\n", "$warning"),
        ]
    return Content.assemble(*parts)


def classes(opened: Opened, *, utf8: bool) -> Content:
    """The confusion matrix as a heat map, or the reliability of stated confidence."""
    for name, figure in ((opened.run.summary or {}).get("metrics") or {}).items():
        facts = figure.get("facts") or {}
        if "confusion" in facts:
            return _confusion(name, facts, utf8=utf8)
        if "bins" in facts:
            return _reliability(name, facts, utf8=utf8)
    return Content("No classes: use a metric of type classification or calibration.")


def _confusion(name: str, facts: Facts, *, utf8: bool) -> Content:
    most = sorted(facts["classes"], key=lambda c: -c["n"])
    names = [c["class"] for c in most][:8]
    counts = {(a, b): n for a, b, n in facts["confusion"]}
    shades = " ░▒▓█" if utf8 else " .:*#"
    averages = "  ".join(f"{k} {v:.3g}" for k, v in facts["averages"].items())
    parts: list[Any] = [(f"{safe_line(name)}: {averages}\n", "$muted"), (f"{'expected ↓ answered →':23}", "$muted")]
    parts += [(f"{place:>4}", "$muted") for place in range(1, len(names) + 1)]
    parts.append(("    F1     n\n", "$muted"))
    by_class = {c["class"]: c for c in most}
    for place, a in enumerate(names, 1):
        parts.append(f"{place:>2} {cell(safe_line(a), 19)} ")
        total = max(1, by_class[a]["n"])
        for b in names:
            n = counts.get((a, b), 0)
            shade = shades[min(4, -(-n * 4 // total))] if n else shades[0]
            parts.append((f"{shade * 2}{n or '':>2}"[:4].rjust(4), "$success" if a == b else "$error"))
        parts.append((f"  {by_class[a]['f1']:.2f} {by_class[a]['n']:>5,}\n", "$muted"))
    if len(most) > len(names):
        parts.append((f"and {len(most) - len(names)} smaller classes; llmops eval show --json has all\n", "$muted"))
    return Content.assemble(*parts)


def _reliability(name: str, facts: Facts, *, utf8: bool) -> Content:
    full, mark = ("█", "│") if utf8 else ("#", "|")
    parts: list[Any] = [
        (f"{safe_line(name)}: share of correct answers by confidence · Brier {facts['brier']:.3g}\n", "$muted")
    ]
    for place, one in enumerate(facts["bins"]):
        head = f"{place / 10:.1f}–{(place + 1) / 10:.1f} "
        if one["right"] is None or one["confidence"] is None:
            parts.append((f"{head}no answers\n", "$muted"))
            continue
        right, at = round(one["right"] * 40), min(39, round(one["confidence"] * 40))
        drawn = "".join(mark if i == at else full if i < right else " " for i in range(40))
        parts += [(head, "$muted"), (drawn, "$accent"), f" {one['right']:.0%}", (f"  n {one['n']:,}\n", "$muted")]
    return Content.assemble(*parts)


def variations(opened: Opened) -> Content:
    """What other forms of the same cases change."""
    rows = (opened.run.summary or {}).get("variations") or []
    agreement = (opened.run.summary or {}).get("agreement")
    parts: list[Any] = []
    if agreement:
        parts.append(
            f"Answers to one case agree: {number(agreement['mean'])} {ends(agreement['low'], agreement['high'])}\n"
        )
    if not rows and not agreement:
        return Content(
            "No variations: with vary, a suite runs variants of each case; with repeats, it runs each case several times."
        )
    for v in rows:
        parts += [
            (f"{cell(safe_line(v['variation']), 26)}", "bold"),
            (f" n {v['n']:,}  same answer {v['same_answer']:.0%}", "$muted"),
        ]
        for name, m in v["metrics"].items():
            if name in COSTS:
                continue
            clear = m["low"] is not None and m["high"] is not None and m["low"] * m["high"] > 0
            parts.append(
                (
                    f"  {safe_line(name)} {m['difference']:+.3g} {ends(m['low'], m['high'])}",
                    "$warning" if clear else "$muted",
                )
            )
        parts.append("\n")
    for gap in (opened.run.summary or {}).get("gaps") or []:
        parts.append((f"{safe_line(gap['first'])} and {safe_line(gap['second'])}", "bold"))
        for name, m in gap["metrics"].items():
            clear = m["low"] is not None and m["high"] is not None and m["low"] * m["high"] > 0
            parts.append(
                (
                    f"  {safe_line(name)} {m['difference']:+.3g} {ends(m['low'], m['high'])}",
                    "$warning" if clear else "$muted",
                )
            )
        parts.append((f"  n {gap['n']:,}\n", "$muted"))
    return Content.assemble(*parts)


def cost(rows: Sequence[dict[str, Any]], metric: str, current: EvalRun, *, utf8: bool) -> Content:
    """Quality against latency and size, over all runs of the suite; those that nothing beats are marked."""
    if not rows:
        return Content("No finished run of this suite has this metric.")
    star = "★" if utf8 else "*"
    parts: list[Any] = [
        (f"{safe_line(metric)} against latency and size; {star} where no other run is better in all three\n", "$muted")
    ]
    for row in rows:
        style = "bold" if row["run"] == current.name else ""
        size = f"{row['size'] / 1e6:,.1f} MB" if row["size"] else ""
        latency = f"{row['latency']:.0f} ms" if row["latency"] else "cached"
        drawn = (
            bar(row["quality"], row["low"], row["high"], utf8=utf8)
            if row["low"] is not None and row["high"] <= 1
            else ""
        )
        parts += [
            (f"{star if row['best'] else ' '} ", "$success"),
            (cell(safe_line(row["run"]), 20), style),
            f" {number(row['quality']):>7} ",
            (drawn, "$accent"),
            (f" {latency:>9} {size:>11} {row['type']:8}", "$muted"),
            (f" {safe_line(row['column'], 60)}\n", "$muted"),
        ]
    return Content.assemble(*parts)


def manifest(opened: Opened) -> Content:
    """Everything a run's figures depend on."""
    parts: list[Any] = []
    for name, value in opened.run.manifest.items():
        told = value if isinstance(value, str) else json.dumps(value)
        before = opened.baseline.manifest.get(name) if opened.baseline is not None else value
        parts += [(f"{name:24}", "$muted"), (safe_line(told, 300), "$warning" if before != value else ""), "\n"]
    return Content.assemble(*parts) if parts else Content("Available when the run is done.")


def rulings(found: Sequence[Ruling], *, opens: bool) -> Content:
    """What the rules said."""
    styles = {"pass": "$success", "fail": "$error", "unsure": "$warning"}
    parts: list[Any] = [("The gate passes.\n" if opens else "The gate fails.\n", "$success" if opens else "$error")]
    for r in found:
        parts += [
            (f"{r.outcome:7}", styles[r.outcome]),
            safe_line(r.rule, 120),
            (f"\n       {safe_line(r.why, 200)}\n", "$muted"),
        ]
    return Content.assemble(*parts)


def judged(found: dict[str, Any]) -> Content:
    """What a judge decided between two runs, and its position bias toward the first answer."""
    parts: list[Any] = [
        (f"{safe_line(found['candidate'])} against {safe_line(found['baseline'])}", "bold"),
        (f", judged by {safe_line(found['judge'])}\n", "bold"),
        (f"{counted(found['wins'], 'win')}  ", "$success"),
        (f"{counted(found['ties'], 'tie')}  ", "$muted"),
        (counted(found["losses"], "loss", "losses"), "$error"),
        (f"  {counted(found['unusable'], 'grade')} unusable\n", "$warning" if found["unusable"] else "$muted"),
    ]
    for name, what in (
        ("preference", "the candidate is preferred"),
        ("position_bias", "position bias toward the first answer"),
    ):
        if name in found:
            f = found[name]
            parts += [f"{what:28}", (number(f["mean"]), "bold"), f" {ends(f['low'], f['high'])}\n"]
    parts.append(
        (
            "A tie means that the answer in the first position won both times. The judge is not calibrated against people.\n",
            "$muted",
        )
    )
    return Content.assemble(*parts)
