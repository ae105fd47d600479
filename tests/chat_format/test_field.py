"""The templates of the field: rendered as transformers renders them, read back, and learned from as TRL does."""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.chat_format import ChatFormat, as_wanted, assistant_spans, read_format
from llmops_tui.chat_format.marks import tokens
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.template_renderer import TemplateRenderer
from tests.chat_format.sources import llama_templates, trl_templates
from tests.chat_format.table import COLUMNS, READ, row
from tests.chat_format.world import BOS, EOS, TOOLS, answered, result, user
from tools.template_table import page_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# Its second call follows the question without any mark between them.
_TOLD = {
    (
        "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
        "what begins or ends it is not to be seen in what the template writes",
    )
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
        try:
            chat = read_format(template, renderer, bos=BOS, eos=EOS)
        except InputRefusedError:
            continue
        for _ in range(4):
            found = wrong_spans(chat, renderer, _random_turns(chance, chat))
            wrong += [(name, *one) for one in found if (name, one[1]) not in _TOLD]
    assert wrong == []


def _random_turns(chance: random.Random, chat: ChatFormat) -> list[dict[str, Any]]:
    words = ["a", "Ž", "yes", "\n", " ", "{}", "<b>", "1.", "'", '"', "word", "|", "qx"]
    turns: list[dict[str, Any]] = []
    for n in range(chance.randint(1, 4)):
        turns.append(user(f"question{n} " + "".join(chance.choices(words, k=3)) + "?"))
        if chat.tool is not None and chance.random() < 0.4:
            turns += [answered("", calls=1, thought="Mused." if chance.random() < 0.5 else ""), result(0)]
        said = f"answer{n} " + "".join(chance.choices(words, k=chance.randint(1, 8))) + " end."
        turns.append(answered(said, thought="Mused." if chance.random() < 0.3 else ""))
    return turns


def wrong_spans(chat: ChatFormat, renderer: TemplateRenderer, turns: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """What is wrong with the spans of a conversation, by turn."""
    tools = TOOLS if chat.calls is not None else None
    found = assistant_spans(chat, renderer, turns, tools=tools, variables={"bos_token": BOS, "eos_token": EOS})
    wrong = [(lost.turn, lost.why) for lost in found.lost]
    for span in found.spans:
        text, turn = found.text[span.start : span.end], turns[span.turn]
        others = [str(other["content"]) for other in turns if other is not turn and other["content"]]
        if str(turn["content"] or "get_weather") not in text or any(other in text for other in others):
            wrong.append((span.turn, text))
        behind = found.text[span.end :].lstrip()
        # A turn that no mark ends is ended by what begins the next one.
        following = (chat.user.before, chat.tool.before if chat.tool else "")
        begins = tuple(tokens(one.strip())[0] for one in following if one.strip())
        ended = text.rstrip().endswith(chat.ends) or behind.startswith((*chat.ends, *begins))
        if behind and not ended:
            wrong.append((span.turn, f"{text[-30:]!r} before {behind[:30]!r}"))
    return wrong


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


def test_what_is_learned_is_what_trl_learns(renderer: TemplateRenderer) -> None:
    """Of TRL's own templates, but for what begins a turn: prompts write that, where some of those templates teach it."""
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    compared = 0
    for name, template in trl_templates().items():
        if not name.endswith("_training"):
            continue
        try:
            chat = read_format(template, renderer, bos=BOS, eos=EOS)
        except InputRefusedError:
            continue
        turns = [
            user("Hi"),
            answered("One."),
            user("And?"),
            answered("Two.", thought="Hm."),
            user("Bye"),
            answered("3."),
        ]
        asked: list[tuple[list[dict[str, Any]], Any]] = [(turns, [] if chat.needs_tools else None)]
        if chat.calls is not None and chat.tool is not None:
            asked.append(
                (
                    [
                        user("W?"),
                        answered("", calls=1, thought="" if chat.calls.null_content else "Hm."),
                        result(0),
                        answered("Rain."),
                    ],
                    TOOLS,
                )
            )
        for messages, tools in asked:
            found = assistant_spans(
                chat, renderer, messages, tools=tools, variables={"bos_token": BOS, "eos_token": EOS}
            )
            compiled = utils._compile_jinja_template(template)
            text, blocks = utils._render_with_assistant_indices(
                compiled, as_wanted(chat, messages), tools, None, False, bos_token=BOS, eos_token=EOS
            )
            assert text == found.text
            assert found.lost == ()
            learned = {at for span in found.spans for at in range(span.start, span.end)}
            theirs = {at for start, end in blocks for at in range(start, end)}
            # Ours is theirs, without what begins a turn or ends the results of tools.
            assert all(text[at].isspace() for at in learned - theirs), name
            begun = "".join(text[at] for at in sorted(theirs - learned))
            assert not set(begun.split()) & {"One.", "Two.", "Hm.", "3.", "Rain."}, name
            marks = [chat.assistant.before.strip(), chat.tool.after.strip() if chat.tool else ""]
            for mark in filter(None, [*marks, *("<｜tool▁outputs▁end｜>",)]):
                begun = begun.replace(mark, "")
            assert begun.strip() == "", name
            compared += 1
    assert compared >= 40
