"""Plans and receipts of erasures in words, for the command line and the screen."""

from __future__ import annotations

import time

from llmops_tui.counts import counted
from llmops_tui.maintenance.erasure_records import ErasureRecord, PlanRecord, ReceiptRecord, TrainedRecord

OUTSIDE = (
    "Not known here: exports and copies in other places, other machines, the scrollback of terminals, the clipboard, snapshots "
    "of the file system, and blocks that a disk has not overwritten yet."
)


def plan_lines(plan: PlanRecord) -> list[str]:
    """What forgetting would do, a line each."""
    lines = [f"looked for: {', '.join(plan['identifiers'])}"]
    if not plan["found"]:
        lines.append("nothing in this workspace names this person")
    for one in plan["found"]:
        what = f" {one['what']}" if one["what"] else ""
        lines.append(
            f"{one['place']}{what}: {one['things']:,}, {counted(one['mentions'], 'mention')}, {one['becomes']}"
        )
        lines += [f"    {sample}" for sample in one["samples"]]
    for trained in plan["trained"]:
        lines += trained_lines(trained)
    lines += [f"in the way: {text}" for text in plan["in_the_way"]]
    lines += [f"stays: {text}" for text in plan["staying"]]
    lines += [f"backups: {text}" for text in plan["backups"]]
    if plan["perhaps"]:
        lines.append("may mean the person, and stays unless you give it as another identifier:")
    for one in plan["perhaps"]:
        what = f" {one['what']}" if one["what"] else ""
        lines.append(f"    {one['place']}{what}: {counted(one['mentions'], 'mention')}")
        lines += [f"        {sample}" for sample in one["samples"]]
    return [*lines, OUTSIDE]


def trained_lines(trained: TrainedRecord) -> list[str]:
    """A training run that learned from rows of the person, and what can be done."""
    made = f", which made {', '.join(trained['models'])}" if trained["models"] else ""
    learned = f"learned from {counted(trained['rows'], 'row')} of {', '.join(trained['data'])} that name the person"
    lines = [
        f"training run {trained['run']} of {trained['base']}{made} {learned}; erasing rows takes nothing from a model"
    ]
    for remedy in trained["remedies"]:
        cost = "" if remedy["seconds"] is None else f"about {_duration(remedy['seconds'])}; "
        lines.append(f"    {remedy['what']}: {remedy['command']} ({cost}{remedy['basis']})")
    return lines


def _duration(seconds: float) -> str:
    return (
        f"{seconds / 3600:,.1f} h"
        if seconds >= 3600
        else f"{seconds / 60:,.0f} min"
        if seconds >= 90
        else f"{seconds:,.0f} s"
    )


def erasure_lines(erasure: ErasureRecord) -> list[str]:
    """An erasure with its receipts, a line each; nothing in them names the person."""
    begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(erasure["begun_at"]))
    lines = [f"{erasure['id']}  begun {begun}, {erasure['how']}, {counted(len(erasure['fingerprints']), 'identifier')}"]
    if erasure["receipt"] is None:
        return [*lines, "interrupted: llmops privacy resume completes it"]
    for receipt in (erasure["receipt"], *erasure["again"]):
        lines += _receipt_lines(receipt)
    return lines


def _receipt_lines(receipt: ReceiptRecord) -> list[str]:
    done = time.strftime("%Y-%m-%d %H:%M", time.localtime(receipt["finished_at"]))
    went = ", ".join(f"{count:,} in {place}" for place, count in receipt["counts"].items()) or "nothing"
    lines = [f"done {done}: {went}"]
    for stone, one in receipt["remade"].items():
        lines.append(f"    {one['kind']} {', '.join(one['refs'])}: {stone[:20]}… is now {one['now'][:12]}…")
    lines += [f"    trained on it: run {run}" for run in receipt["trained"]]
    searched = receipt["searched"]
    if searched["left"]:
        lines.append(f"    still found in: {', '.join(searched['left'])}")
    else:
        lines.append(f"    a search of {searched['files']:,} files ({searched['bytes'] / 1e6:,.1f} MB) found nothing")
    lines += [f"    stays: {text}" for text in receipt["staying"]]
    return [*lines, f"    receipt {receipt['sha256']}"]
