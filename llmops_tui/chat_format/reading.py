"""Reads a chat template's format by rendering it: roles, the ends of turns, the prompt, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmops_tui.chat_format import others, own_variables, probes, switches, thinking
from llmops_tui.chat_format.calls import Lead, read_calls
from llmops_tui.chat_format.families import known_by
from llmops_tui.chat_format.families.shown import calls_shown
from llmops_tui.chat_format.marks import has_mark, is_mark, shared_end, shared_start, tokens
from llmops_tui.chat_format.probes import ANSWER, USER, Probe, Renderer, behind, between
from llmops_tui.chat_format.record import CallFormat, ChatFormat, Marks, Switch, Thinking
from llmops_tui.errors import InputRefusedError


def read_format(
    template: str,
    renderer: Renderer,
    *,
    bos: str = "<s>",
    eos: str = "</s>",
    variables: Mapping[str, Any] | None = None,
) -> ChatFormat:
    """What a template says of its conversations.

    Args:
        template: its source.
        renderer: what renders it.
        bos: the model's token that begins a text.
        eos: its token that ends one.
        variables: further variables that it is always given.

    Raises:
        InputRefusedError: ``template_unread``: it does not render one question and its answer.
        LlmopsError: as the renderer.
    """
    probe = Probe(renderer, template, bos, eos, variables or {})
    return _Reading(probe).read()


@dataclass
class _Basics:
    """The plainest conversations: behind a question, between it and its answer, behind that, before the first question."""

    behind_user: str
    prompted: str
    user_answer: str
    behind_answer: str
    answer_user: str
    before_user: str


class _Reading:
    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._refused: dict[str, str] = {}

    def read(self) -> ChatFormat:
        basics = self._basics()
        opener = others.first_mark_of(basics.before_user, self._probe.bos)
        end = _end_of_answer(basics, opener)
        user_end, always = _user(basics, opener)
        user = Marks(basics.answer_user[len(end) :], user_end)
        turned, prompts = self._switches(basics)
        begin = _begin(basics.user_answer, user_end, prompts)
        thought = thinking.read(self._probe, [prompt.removeprefix(user_end) for prompt in prompts], basics.user_answer)
        thought = thought or thinking.inline(self._probe, prompts, end)
        begin = thinking.cut(begin, thought)
        start = user_end + begin
        openings = _openings([prompt.removeprefix(user_end) for prompt in prompts], begin)
        thought = thinking.with_opening(thought, openings)
        content, more_begins = _content(basics, start, thought, thinking.content_begin(self._probe, thought))
        ends = _ends(end, basics, opener)
        lead = Lead(start, begin, thought, content.before)
        calls, refused = read_calls(self._probe, lead, (*ends, opener), ends_bare=not basics.behind_answer.strip())
        self._refused |= refused
        if calls is not None:
            calls, content = _split_section(calls, content, ends)
            calls = replace(calls, id_length=_id_length(self._probe))
            ends = tuple(sorted({*ends, calls.turn_end} - {""}, key=len, reverse=True))
        else:
            self._refused.setdefault("tools", "the template does not write calls")
            shown = self._probe.text([probes.user()], tools=probes.tools(probes.TEXTS), prompt=True)
            calls = calls_shown(shown)
        found = ChatFormat(
            template=self._probe.template,
            user=user,
            assistant=Marks(begin, end),
            ends=ends,
            lead=_lead(basics, prompts),
            prompts=tuple(prompts),
            openings=openings,
            content=content,
            content_begins=more_begins,
            thinking=thought,
            switches=turned,
            calls=calls,
            writes_bos=bool(self._probe.bos) and self._start().startswith(self._probe.bos),
            always_prompts=always,
            needs_tools=self._probe.no_tools is not None,
            parts=self._probe.parts,
            own=self._probe.own,
        )
        found = others.with_system(found, self._probe, self._refused)
        found = others.with_results(found, self._probe, self._refused)
        found = known_by(found)
        if not found.ends:
            following = [found.user.before.strip(), found.tool.before.strip() if found.tool else ""]
            found = replace(found, ends=tuple(one for one in following if one))
        return replace(found, refused=tuple(sorted(self._refused.items())))

    def _start(self) -> str:
        return self._probe.text([probes.user(), probes.answer()])

    def _basics(self) -> _Basics:
        reason = ""
        own = own_variables.named_in(self._probe.template)
        without: tuple[list[Any] | None, ...] = (None, [])
        for names in dict.fromkeys(((), own)):
            for parts in (False, True):
                for no_tools in without:
                    self._probe.own, self._probe.parts, self._probe.no_tools = names, parts, no_tools
                    found = self._plainest()
                    if isinstance(found, _Basics):
                        return found
                    reason = reason or found
        raise InputRefusedError(
            "template_unread", f"the chat template {reason}", "Choose another template, or give it what it needs."
        )

    def _plainest(self) -> _Basics | str:
        """The plainest conversations; or what the template does instead of writing them."""
        one, two = probes.user(1), probes.user(2)
        asked = self._probe.many(
            [
                ([one], {}),
                ([one], {"prompt": True}),
                ([one, probes.answer(1)], {}),
                ([one, probes.answer(1), two], {}),
            ]
        )
        texts = [text for text in asked if isinstance(text, str)]
        if len(texts) < len(asked):
            refused = next(text for text in asked if not isinstance(text, str))
            return f"does not render a question and its answer: {refused.message}"
        asked_one, prompted, answered, second = texts
        first = between(answered, f"{USER}1", f"{ANSWER}1")
        inner = between(second, f"{ANSWER}1", f"{USER}2")
        if first is None or inner is None:
            return "does not write a question and its answer in their order"
        return _Basics(
            behind(asked_one, f"{USER}1"),
            behind(prompted, f"{USER}1"),
            first,
            behind(answered, f"{ANSWER}1"),
            inner,
            second[: second.find(f"{USER}1")],
        )

    def _switches(self, basics: _Basics) -> tuple[tuple[Switch, ...], list[str]]:
        """Variables that turn thinking, and all prompts, the plain one first."""
        found = switches.read(self._probe)
        tails = [tail for switch in found for _, tail in switch.prompts]
        return found, list(dict.fromkeys([basics.prompted, *tails]))


def _id_length(probe: Probe) -> int:
    """How long the ids of calls have to be; some templates take those of the probes' length alone."""
    asked = [probes.call(0, probes.TEXTS), probes.call(0, probes.TEXTS) | {"id": "call_0123456789abcdef"}]
    tools = probes.tools(probes.TEXTS)
    own, longer = probe.many([([probes.user(), probe.calling([one])], {"tools": tools}) for one in asked])
    return len(probes.IDS[0]) if isinstance(own, str) and not isinstance(longer, str) else 0


def _end_of_answer(basics: _Basics, opener: str) -> str:
    """What ends an answer that is followed by a question."""
    gap, tail = basics.answer_user, basics.behind_answer
    if opener and opener in gap:
        return gap[: gap.index(opener)]
    end = shared_start(gap, tail) if tail else gap.removesuffix(shared_end(gap, basics.before_user))
    return end or gap.removesuffix(shared_end(gap, basics.before_user))


def _user(basics: _Basics, opener: str) -> tuple[str, bool]:
    """What ends a question, and whether the prompt is written without being asked for."""
    plain, prompted = basics.behind_user, basics.prompted
    always = plain == prompted and bool(shared_end(basics.behind_answer, prompted).strip())
    end = shared_start(plain, basics.user_answer)
    if not prompted.startswith(end):
        end = shared_start(end, prompted)
    if opener and opener in end:
        end = end[: end.index(opener)]
    return end, always


def _begin(answer: str, user_end: str, prompts: list[str]) -> str:
    """What begins an answer's turn: what all prompts share with it, at their beginning or at their end."""
    own = answer.removeprefix(user_end)
    found = own
    for prompt in prompts:
        rest = prompt.removeprefix(user_end)
        shared = max(shared_start(rest, own), shared_end(rest.rstrip(), own.rstrip()), key=len)
        if shared and own.startswith(shared):
            found = shared_start(found, shared)
    return found if any(found in prompt for prompt in prompts) else ""


def _openings(prompts: list[str], begin: str) -> tuple[str, ...]:
    found = {prompt.partition(begin)[2].lstrip() for prompt in prompts if begin and begin in prompt}
    return tuple(sorted((one for one in found if one.strip()), key=len, reverse=True))


def _ends(end: str, basics: _Basics, opener: str) -> tuple[str, ...]:
    tail = basics.behind_answer
    if basics.behind_user == basics.prompted:
        # What is written without being asked for is no end.
        tail = tail.removesuffix(shared_end(tail, basics.prompted))
    if opener and opener in tail:
        tail = tail[: tail.index(opener)]
    found = {end.strip(), tail.strip()}
    for one in list(found):
        parts = tokens(one)
        found |= {"".join(parts[n:]) for n, token in enumerate(parts) if is_mark(token)}
    return tuple(sorted((one for one in found if one), key=len, reverse=True))


def _content(
    basics: _Basics, start: str, thought: Thinking | None, behind_thought: str
) -> tuple[Marks, tuple[str, ...]]:
    """The marks before the content of an answer: of a plain one, and of one that was thought about."""
    before = thinking.without(basics.user_answer[len(start) :], thought) if basics.user_answer.startswith(start) else ""
    before = before.strip()
    after_thought = thinking.without(behind_thought, thought).strip()
    others = tuple(one for one in (after_thought,) if one and one != before and has_mark(one))
    return Marks(before if has_mark(before) else ""), others


def _split_section(calls: CallFormat, content: Marks, ends: tuple[str, ...]) -> tuple[CallFormat, Marks]:
    """What ends the content belongs to it, and not to the calls behind it."""
    alone = not calls.section.before
    first_piece = calls.pieces[0]
    assert isinstance(first_piece, str)
    begin = first_piece.strip() if alone else calls.section.before
    if content.before and begin.startswith(content.before):
        begin = begin[len(content.before) :].lstrip()
    for end in ends:
        first = next((token for token in tokens(end) if is_mark(token)), "")
        if first and begin.startswith(first) and begin != first:
            begin = begin[len(first) :].lstrip()
            content = replace(content, after=first)
            break
    else:
        if alone:
            return calls, content
    if alone:
        return replace(calls, pieces=(begin, *calls.pieces[1:])), content
    return replace(calls, section=Marks(begin, calls.section.after)), content


def _lead(basics: _Basics, prompts: list[str]) -> str:
    prompt = prompts[0]
    if basics.user_answer.startswith(prompt):
        rest = basics.user_answer[len(prompt) :]
        return rest if rest.isspace() else ""
    return ""
