"""The templates of the field: rendered as transformers renders them, read back, and learned from as TRL does."""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.chat_format import ChatFormat, as_wanted, assistant_spans, read_format
from llmops_tui.inference.template_renderer import TemplateRenderer
from tests.chat_format.conversations import VARIABLES, faults, random_turns, spans_of
from tests.chat_format.sources import llama_templates, trl_templates
from tests.chat_format.table import COLUMNS, READ, row
from tests.chat_format.truth import CONVERSATIONS, TRUTH
from tests.chat_format.world import BOS, EOS, TOOLS, answered, result, user
from tools.template_table import page_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# Their second call follows the question without any mark between them.
_TOLD = {
    (f"deepseek-ai-DeepSeek-R1-Distill-{size}", "what begins or ends it is not to be seen in what the template writes")
    for size in ("Qwen-32B", "Llama-8B")
}


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = llama_templates(Path(tmp_path_factory.mktemp("templates")))
    assert len(found) >= 70
    return found


def test_what_templates_write_is_read_back(field: dict[str, str], renderer: TemplateRenderer) -> None:
    rows = {name: row(template, renderer) for name, template in field.items()}
    wrong = [
        (name, column, cells[column]) for name, cells in rows.items() for column in COLUMNS if "wrong" in cells[column]
    ]
    assert wrong == []
    assert [name for name, cells in rows.items() if not cells["plain"].startswith(READ)] == []
    page = Path(__file__).parents[2] / "docs" / "chat-templates.md"
    assert page.read_text(encoding="utf-8") == page_of(rows)


def test_of_random_conversations_each_span_is_its_answer_and_its_end(
    field: dict[str, str], renderer: TemplateRenderer
) -> None:
    wrong = []
    for name, template in field.items():
        chance = random.Random(name)
        chat = read_format(template, renderer, bos=BOS, eos=EOS)
        for _ in range(6):
            turns = random_turns(chance, chat)
            found = spans_of(chat, renderer, turns)
            wrong += [(name, *one) for one in faults(chat, turns, found)]
            wrong += [(name, lost.turn, lost.why) for lost in found.lost if (name, lost.why) not in _TOLD]
    assert wrong == []


def _conversations(text: bool) -> dict[str, tuple[list[dict[str, Any]], bool]]:
    system = {"role": "system", "content": "Be kind."}
    calls = [answered("", calls=n) for n in (1, 2)]
    if text:
        calls = json.loads(json.dumps(calls))
        for call in (call for turn in calls for call in turn["tool_calls"]):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    one, two = calls
    return {
        "plain": ([user("Hi")], False),
        "system": ([system, user("Hi")], False),
        "turns": (
            [user("Hi"), answered("Yes <b>."), user("And?"), answered("No.", thought="Hm.") | {"thinking": "Hm."}],
            False,
        ),
        "tools": ([user("W?")], True),
        "call": ([user("W?"), one, result(0)], True),
        "parallel": ([user("W?"), two, result(0), result(1), answered("Rain.")], True),
    }


def test_templates_are_rendered_as_transformers_does(field: dict[str, str], renderer: TemplateRenderer) -> None:
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    different = []
    for name, template in (field | trl_templates()).items():
        if "from_json" in template:
            # A filter that llama.cpp has and transformers has not.
            continue
        for text in (False, True):
            for what, (messages, tools) in _conversations(text).items():
                for prompt in (False, True):
                    context = {"bos_token": BOS, "eos_token": EOS}
                    given = TOOLS if tools else []
                    before = dt.datetime.now().date()  # noqa: DTZ005  templates write the local date
                    (ours,) = renderer.render_each(
                        template, [context | {"messages": messages, "tools": given, "add_generation_prompt": prompt}]
                    )
                    try:
                        theirs, _ = utils.render_jinja_template(
                            [messages], given, chat_template=template, add_generation_prompt=prompt, **context
                        )
                    except Exception:  # noqa: BLE001  a template may raise anything
                        theirs = [None]
                    if before != dt.datetime.now().date():  # noqa: DTZ005
                        continue
                    if (ours if isinstance(ours, str) else None) != theirs[0]:
                        different.append((name, what, text, prompt, str(ours)[:80], str(theirs[0])[:80]))
    assert different == []


@pytest.mark.parametrize("family", TRUTH)
def test_what_is_learned_is_the_hand_made_truth(family: str, field: dict[str, str], renderer: TemplateRenderer) -> None:
    chat = read_format(field[family], renderer, bos=BOS, eos=EOS)
    for what, turns in CONVERSATIONS.items():
        tools = TOOLS if what == "tools" else None
        found = assistant_spans(chat, renderer, turns, tools=tools, variables=VARIABLES)
        assert found.lost == (), what
        assert [found.text[span.start : span.end] for span in found.spans] == TRUTH[family][what], what
        # Thinking that is not among what is learned is told.
        written = "".join(TRUTH[family][what])
        thought = {n for n, turn in enumerate(turns) if turn.get("reasoning_content", "") not in written}
        assert {one.turn for one in found.left_out} == thought, what


# What TRL's template of a family teaches besides, right before an answer: prompts write it, so it is not learned here.
_BEGUN_BY_TRL = {
    "deepseek_r1_distill": ("<｜Assistant｜>", "<｜tool▁outputs▁end｜>"),
    "deepseekv3": ("<｜Assistant｜>", "<｜tool▁outputs▁end｜>"),
    "gptoss": ("<|start|>assistant",),
    "muse_glimmer": ("<|start|>assistant",),
    "qwen2_5": ("\n",),
}
# What is learned here besides, right behind calls: the mark at which the model has to stop, so that the tool can answer.
_ENDED_HERE = {"diffusion_gemma": ("<|tool_response>",)}


def test_what_is_learned_is_what_trl_learns(renderer: TemplateRenderer) -> None:
    """Character for character, but for what is named above and nothing else."""
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    compared, same = 0, 0
    for name, template in trl_templates().items():
        family = name.removesuffix("_training")
        if family == name:
            continue
        chat = read_format(template, renderer, bos=BOS, eos=EOS)
        compiled = utils._compile_jinja_template(template)
        for what, (messages, tools) in _of_trl(chat).items():
            found = assistant_spans(chat, renderer, messages, tools=tools, variables=VARIABLES)
            text, blocks = utils._render_with_assistant_indices(
                compiled, as_wanted(chat, messages), tools, None, False, bos_token=BOS, eos_token=EOS
            )
            assert (text, found.lost) == (found.text, ()), (name, what)
            ours = {at for span in found.spans for at in range(span.start, span.end)}
            theirs = {at for start, end in blocks for at in range(start, end)}
            more = [(text[a:b], b in {span.start for span in found.spans}) for a, b in _runs(theirs - ours)]
            less = [(text[a:b], b in {span.end for span in found.spans}) for a, b in _runs(ours - theirs)]
            assert set(more) <= {(mark, True) for mark in _BEGUN_BY_TRL.get(family, ())}, (name, what)
            assert set(less) <= {(mark, True) for mark in _ENDED_HERE.get(family, ())}, (name, what)
            # Where TRL teaches it, it does so before each answer.
            assert not more or len(more) == len(found.spans), (name, what)
            compared += 1
            same += not more and not less
    assert compared >= 75
    assert same >= 60


def _of_trl(chat: ChatFormat) -> dict[str, tuple[list[dict[str, Any]], Any]]:
    """Conversations with several turns, with thinking, and with calls, where the template has these."""
    none: list[Any] | None = [] if chat.needs_tools else None
    found: dict[str, tuple[list[dict[str, Any]], Any]] = {
        "turns": ([user("Hi"), answered("One."), user("And?"), answered("Two."), user("Bye"), answered("3.")], none),
        "thinking": ([user("Hi"), answered("1.", thought="Mm."), user("And?"), answered("Two.", thought="Hm.")], none),
    }
    if chat.calls is not None and chat.tool is not None:
        thought = "" if chat.calls.null_content else "Hm."
        called = [user("W?"), answered("", calls=1, thought=thought), result(0), answered("Rain.")]
        found["tools"] = (called, TOOLS)
    return found


def _runs(places: set[int]) -> list[tuple[int, int]]:
    """Neighbouring places as pairs of begin and end."""
    found: list[tuple[int, int]] = []
    for at in sorted(places):
        if found and found[-1][1] == at:
            found[-1] = (found[-1][0], at + 1)
        else:
            found.append((at, at + 1))
    return found
