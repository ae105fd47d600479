"""How a template writes what is neither question nor answer: the system's text, and results of tools."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

from llmops_tui.chat_format import probes
from llmops_tui.chat_format.marks import is_mark, shared_start, tokens
from llmops_tui.chat_format.probes import RESULT, USER, Probe, behind, between
from llmops_tui.chat_format.record import ChatFormat, Marks


def first_mark_of(before: str, bos: str) -> str:
    """The first mark of a text, which is none that could end a turn; nothing where it begins with something else."""
    text = before.removeprefix(bos) if bos else before
    parts = tokens(text.lstrip())
    return parts[0] if parts and is_mark(parts[0]) else ""


def with_system(found: ChatFormat, probe: Probe, refused: dict[str, str]) -> ChatFormat:
    """With what is known of the system's text; a refusal is noted."""
    text = probe.one([probes.system(), probes.user()])
    if not isinstance(text, str):
        refused["system"] = text.message
        return replace(found, system_as="refused")
    inner = between(text, probes.SYSTEM, f"{USER}1")
    if inner is None:
        refused["system"] = "the template does not write it before the question"
        return replace(found, system_as="dropped")
    before = text[: text.find(probes.SYSTEM)]
    mark = found.user.before.strip()
    if mark and mark in before and mark not in inner:
        return replace(found, system_as="user", system=Marks("", inner))
    after = inner.removesuffix(found.user.before) if found.user.before else inner
    opener = first_mark_of(before, probe.bos)
    own = before[before.rfind(opener) :] if opener else before.removeprefix(probe.bos)
    return replace(found, system=Marks(own, after))


def with_results(found: ChatFormat, probe: Probe, refused: dict[str, str]) -> ChatFormat:
    """With what is known of the results of tools; a refusal is noted."""
    calls = found.calls
    if calls is None or not calls.written:
        return found
    both: tuple[Any, Any] = (probes.TEXTS, probes.SECOND)
    given = [json.dumps(one) for one in both] if calls.arguments_as == "text" else list(both)
    one = probe.calling([probes.call(0, given[0])])
    tools = probes.tools(probes.TEXTS)
    text = probe.one([probes.user(), one, probes.result(0)], tools=tools)
    if not isinstance(text, str) or f"{RESULT}0" not in text:
        refused["results"] = text.message if not isinstance(text, str) else "results are not written"
        return found
    inner = between(text, "valbravo", f"{RESULT}0") or ""
    alone = behind(probe.text([probes.user(), one], tools=tools), "valbravo")
    before = inner[len(shared_start(inner, alone)) :]
    for one_end in found.ends:
        if one_end in inner:
            before = inner.partition(one_end)[2].lstrip()
            break
    after = behind(text, f"{RESULT}0")
    together: Literal["apart", "together", "none"] = "apart"
    if calls.parallel:
        turn = probe.calling([probes.call(0, given[0]), probes.call(1, given[1])])
        two = probe.text([probes.user(), turn, probes.result(0), probes.result(1)], tools=tools)
        gap = between(two, f"{RESULT}0", f"{RESULT}1")
        together = "together" if gap is not None and len(gap) < len(before) else "apart"
        if gap is None:
            refused["parallel_results"] = "only one result is written"
    prompted = behind(probe.text([probes.user(), one, probes.result(0)], tools=tools, prompt=True), f"{RESULT}0")
    prompts = found.prompts if prompted in found.prompts else (*found.prompts, prompted)
    ids = probes.IDS[0] in inner[-len(before) - len(probes.IDS[0]) :] + after
    return replace(found, tool=Marks(before, after), results=together, prompts=prompts, result_ids=ids)
