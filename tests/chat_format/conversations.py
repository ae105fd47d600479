"""Random conversations, and what is wrong with the spans that are found in them: each has to be its answer and its end."""

from __future__ import annotations

import random
from typing import Any

from llmops_tui.chat_format import ChatFormat, Span, Spans, assistant_spans, parse
from llmops_tui.chat_format.marks import tokens
from llmops_tui.inference.template_renderer import TemplateRenderer
from tests.chat_format.world import ARGUMENTS, BOS, EOS, TOOLS, answered, result, user

_WORDS = ["a", "Ž", "yes", "\n", " ", "{}", "<b>", "1.", "'", '"', "word", "|", "qx", "end", "\n\n", "…"]
VARIABLES = {"bos_token": BOS, "eos_token": EOS}


def random_turns(chance: random.Random, chat: ChatFormat) -> list[dict[str, Any]]:
    """One to four questions with answers, some after calls, some thought about, with a system's turn where there is one."""
    turns: list[dict[str, Any]] = []
    if chat.system_as in {"turn", "user"} and chance.random() < 0.3:
        turns.append({"role": "system", "content": "sysword: be kind"})
    calls = chat.calls
    for n in range(chance.randint(1, 4)):
        turns.append(user(f"question{n} " + "".join(chance.choices(_WORDS, k=3)) + "?"))
        if chat.tool is not None and calls is not None and calls.written and chance.random() < 0.5:
            several = 2 if calls.parallel and chance.random() < 0.5 else 1
            turns.append(answered("", calls=several, thought=f"Mused{n}." if chance.random() < 0.5 else ""))
            turns += [result(call) for call in range(several)]
        said = f"answer{n} " + "".join(chance.choices(_WORDS, k=chance.randint(1, 8))) + " over."
        turns.append(answered(said, thought=f"Thought{n}." if chance.random() < 0.4 else ""))
    return turns


def spans_of(chat: ChatFormat, renderer: TemplateRenderer, turns: list[dict[str, Any]]) -> Spans:
    """The spans of a conversation; with tools where the template writes calls."""
    tools = TOOLS if chat.calls is not None else None
    return assistant_spans(chat, renderer, turns, tools=tools, variables=VARIABLES)


def faults(chat: ChatFormat, turns: list[dict[str, Any]], found: Spans) -> list[tuple[int, str]]:
    """What is wrong with spans, by turn, but for what is told of them."""
    placed = [span.turn for span in found.spans] + [lost.turn for lost in found.lost]
    wrong = [(n, "neither learned nor told") for n in _answers(turns) if n not in placed]
    told = {one.turn for one in found.left_out}
    for span in found.spans:
        why = _fault(chat, turns, found, span, unthought=span.turn in told)
        if why:
            wrong.append((span.turn, f"{why}: {found.text[span.start : span.end]!r}"))
    return wrong


def _answers(turns: list[dict[str, Any]]) -> list[int]:
    return [n for n, turn in enumerate(turns) if turn["role"] == "assistant"]


def _fault(chat: ChatFormat, turns: list[dict[str, Any]], found: Spans, span: Span, *, unthought: bool) -> str:
    text, turn, behind = found.text[span.start : span.end], turns[span.turn], found.text[span.end :].lstrip()
    opening, thinking = "", chat.thinking
    if thinking is not None and thinking.marks.after:
        inner = text.rstrip().removesuffix(thinking.marks.after)
        opening = thinking.marks.before if thinking.marks.after in inner and thinking.marks.before not in text else ""
    parsed = parse(text, chat, TOOLS, opening=opening)
    # A turn that begins to think and never ends that is told; what it says stands there all the same.
    open_ = unthought and not parsed.content
    said = (parsed.thinking if open_ else parsed.content).strip()
    calls = [(call.name, call.arguments) for call in parsed.calls]
    wanted = [(TOOLS[n]["function"]["name"], ARGUMENTS[n]) for n in range(len(turn.get("tool_calls", [])))]
    thought = turn.get("reasoning_content", "")
    checks = {
        "problems": bool(parsed.problems),
        "content": turn["content"].strip() not in said if open_ else said != turn["content"].strip(),
        "calls": calls != wanted,
        "thinking": not open_ and parsed.thinking.strip() != ("" if unthought else thought),
        "no end": not _ended(chat, text, behind),
    }
    return ", ".join(name for name, failed in checks.items() if failed)


def _ended(chat: ChatFormat, text: str, behind: str) -> bool:
    """Whether a span ends with a mark, or is ended by what begins the next turn, or by the end of the text."""
    following = (chat.user.before, chat.tool.before if chat.tool else "")
    begins = tuple(tokens(one.strip())[0] for one in following if one.strip())
    return not behind or text.rstrip().endswith(chat.ends) or behind.startswith((*chat.ends, *begins))
