"""The text of a chain, read strictly: what is wrong is told by name, with its line, before anything runs."""

from __future__ import annotations

import pytest

from llmops_tui.chains.definition import ChainRefusedError
from llmops_tui.chains.drawing import draw_chain
from llmops_tui.chains.reading import MOST_NESTED, MOST_STEPS, parse_chain
from llmops_tui.chains.resolution import problems_in, resolve
from llmops_tui.chains.store import ChainStore
from llmops_tui.chains.tools import ChainTools
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.inference.answer_settings import read_settings
from llmops_tui.maintenance.undo import UndoHistory
from llmops_tui.workspace.event_log import EventLog

WHOLE = """description: Sorts a message and answers it.
inputs:
  ticket: text
  tone: {type: text, default: friendly}
model: small
steps:
  kind:
    prompt: sort
    parameters: {max_tokens: 8}
  found:
    parse: kind
    schema: {type: object, properties: {kind: {enum: [bug, bill]}}, required: [kind]}
  answer:
    branch: found.kind
    cases:
      bug:
        steps:
          draft: {prompt: reply, with: {kind: found.kind}}
    else:
      steps:
        draft2: {prompt: reply, with: {kind: "'other'"}}
output: answer
"""


def _problems(text: str, tools: ChainTools) -> list[tuple[int, str, str]]:
    try:
        chain = parse_chain(text)
    except ChainRefusedError as error:
        return [(one.line, one.message, one.hint) for one in error.problems]
    return [(one.line, one.message, one.hint) for one in problems_in(chain, tools)[1]]


def test_a_chain_is_read_ordered_and_drawn(tools: ChainTools) -> None:
    resolved = resolve(parse_chain(WHOLE), tools)
    assert resolved.orders[()] == [["kind"], ["found"], ["answer"]]
    assert resolved.models == ["small"]
    assert [one.ref for one in resolved.prompts] == ["sort@1", "reply@1"]
    drawn = "\n".join(line.text for line in draw_chain(resolved))
    assert "│ kind: prompt sort │" in drawn
    assert drawn.index("case bug") < drawn.index("else")
    assert drawn.endswith("output  answer")
    plain = "\n".join(line.text for line in draw_chain(resolved, utf8=False))
    assert plain.isascii()


@pytest.mark.parametrize(
    ("before", "after", "line", "message", "hint"),
    [
        ("model: small", "modell: small", 5, "'modell' is no key here", "Did you mean model?"),
        ("    prompt: sort", "    promt: sort", 7, "says nothing of what it does", "Did you mean prompt?"),
        ("max_tokens: 8", "max_tokens: -8", 9, "greater than or equal to 0", ""),
        ("max_tokens: 8", "max_tokns: 8", 9, "'max_tokns' is no parameter", "Did you mean max_tokens?"),
        ("  ticket: text", "  ticket: txt", 3, "'txt' is no type", "Did you mean text?"),
        ("default: friendly", "default: 3", 4, "'3' is not of the type text", ""),
        ("    parse: kind", "    parse: kind\n    promp: x", 12, "'promp' is no key of this kind of step", ""),
        ("  kind:\n", "  round:\n", 7, "'round' is a word of expressions", ""),
        ("prompt: sort", "prompt: sorting", 8, "no prompt 'sorting' in this workspace", ""),
        ("prompt: sort", "prompt: sort@production", 8, "no prompt version 'sort@production'", ""),
        ("parse: kind", "parse: kinds", 11, "nothing here is called 'kinds'", "Did you mean kind?"),
        ("branch: found.kind", "branch: found.kind ==", 14, "is no expression", ""),
        ("branch: found.kind", "branch: draft", 14, "nothing here is called 'draft'", "inside of another one"),
        ("with: {kind: found.kind}", "with: {kin: found.kind}", 18, "reply@1 has no variable 'kin'", "Did you mean kind?"),
        ("with: {kind: found.kind}", "with: {}", 18, "", ""),
        ("model: small", "model: smal", 5, "no model 'smal'", ""),
        ("model: small", "model: embedder", 5, "embedder (bert) embeds, ranks or classifies texts", "model that answers"),
        ("max_tokens: 8", "max_tokens: 12345678901234567890123", 9, "12345678901234567890123 has 74 bits", "quotes"),
        ("max_tokens: 8", "max_tokens: 2024-01-01", 9, "the date 2024-01-01 is nothing that JSON has", "quotes"),
        ("parse: kind", "parse: found", 10, "the steps need each other: found needs found", "repeat"),
        ("output: answer", "output: answers", 22, "nothing here is called 'answers'", "Did you mean answer?"),
        ("{type: object, prop", "{type: objet, prop", 10, "it is no JSON Schema", ""),
        ("    cases:", "    case:", 15, "a branch has then, or cases", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(
    before: str, after: str, line: int, message: str, hint: str, tools: ChainTools
) -> None:
    assert before in WHOLE
    found = _problems(WHOLE.replace(before, after, 1), tools)
    if not message:
        # A variable that nothing gives is taken from what has its name: here the step.
        assert not found
        return
    fitting = [one for one in found if message in one[1] and hint in one[2]]
    assert fitting, found
    assert min(abs(one[0] - line) for one in fitting) <= 2, found


def test_a_map_is_over_a_list_and_a_search_for_a_text(tools: ChainTools) -> None:
    text = "inputs: {ticket: text}\nmodel: small\nsteps:\n  each: {map: ticket, steps: {one: {prompt: sort, with: {ticket: item}}}}\n"
    assert [one[1] for one in _problems(text, tools)] == ["'ticket' is of the type text, and a list is needed"]


def test_circles_of_several_steps_are_named(tools: ChainTools) -> None:
    text = "steps:\n  a: {parse: b}\n  b: {parse: c}\n  c: {parse: a}\n"
    (problem,) = _problems(text, tools)
    assert problem[1] == "the steps need each other: a needs b needs c needs a"


def test_what_is_built_to_be_too_much_is_refused(tools: ChainTools) -> None:
    nested = "{parse: x}"
    for _ in range(MOST_NESTED + 1):
        nested = f"{{repeat: 2, steps: {{s: {nested}}}}}"
    assert any("nests deeper" in one[1] for one in _problems(f"inputs: {{x: text}}\nsteps: {{s: {nested}}}\n", tools))
    many = "\n".join(f"  s{n}: {{parse: x}}" for n in range(MOST_STEPS + 1))
    assert any("more than 200" in one[1] for one in _problems(f"inputs: {{x: text}}\nsteps:\n{many}\n", tools))
    found = _problems("inputs: {x: text}\nsteps: {a: {repeat: 1000000, steps: {s: {parse: x}}}}\n", tools)
    assert any("less than or equal to 50" in one[1] for one in found)
    deep = "(" * 5000
    assert _problems(f"inputs: {{x: text}}\nsteps: {{a: {{parse: '{deep}'}}}}\n", tools)
    aliases = "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
    aliases += "".join(f"{chr(c + 1)}: &{chr(c + 1)} [{','.join([f'*{chr(c)}'] * 9)}]\n" for c in range(98, 106))
    assert "it is not valid YAML" in _problems(aliases, tools)[0][1]


@pytest.mark.parametrize(
    "text", ["", "- a", "steps: 3", "steps: {}", "a: [", "steps: {a: }", "steps: {a: {map: x}}", "\0"]
)
def test_no_text_ends_in_anything_but_a_refusal(text: str) -> None:
    with pytest.raises(ChainRefusedError):
        parse_chain(text)


def test_versions_and_labels_are_those_of_prompts_and_labels_are_taken_back(tools: ChainTools) -> None:
    catalog = tools.catalog
    store = ChainStore(catalog)
    first, _ = store.save("desk", WHOLE)
    second, created = store.save("desk", WHOLE.replace("max_tokens: 8", "max_tokens: 9"))
    assert (second.number, second.parent, created) == (2, 1, True)
    assert store.save("desk", WHOLE)[1] is False
    history = UndoHistory(catalog, EventLog(catalog.workspace))
    history.move_label("chain/desk@1", "production")
    assert store.get("desk").number == 1
    history.move_label("chain/desk@2", "production")
    assert (store.get("desk").number, store.get("chain/desk@latest").number) == (2, 2)
    history.undo()
    assert store.get("desk").ref == first.ref
    # Among prompts it is none, and no prompt is called so.
    assert {one.name for one in tools.prompts.summaries()} == {"sort", "reply"}
    for name in ("chain/desk", "chain/x"):
        with pytest.raises(InputRefusedError):
            tools.prompts.save(name, template="x")
    with pytest.raises(NotFoundError):
        tools.prompts.get("chain/desk")
    with pytest.raises(ChainRefusedError):
        store.save("desk", "steps: 3")
    assert [one.number for one in store.remove("desk")] == [2, 1]
    assert store.summaries() == []


def test_cases_are_for_the_values_that_are_written(tools: ChainTools) -> None:
    text = "inputs: {a: any}\nsteps:\n  x:\n    branch: a\n    cases:\n"
    one = "{steps: {p: {parse: a}}}"
    chain = parse_chain(text + "".join(f"      {name}: {one}\n" for name in ("yes", "no", "true", "null", "3")))
    assert list(chain.body.steps["x"].bodies) == ["case yes", "case no", "case true", "case null", "case 3"]
    for first, second in (("3", "'3'"), ("true", "'true'")):
        found = _problems(text + f"      {first}: {one}\n      {second}: {one}\n", tools)
        assert found[0][0] == 6
        assert "two cases for" in found[0][1]


@pytest.mark.parametrize(
    ("given", "told"),
    [("2026-01-01", "the date 2026-01-01"), (".inf", "inf"), ("!!binary aGVsbG8=", "!!binary is no text"), ("!!set {a}", "!!set is no text"),
     ("123456789012345678901234567890", "1234567890"), ('"\\uD800"', "half of a character")],
)  # fmt: skip
def test_what_json_does_not_have_is_refused_where_it_stands(given: str, told: str) -> None:
    with pytest.raises(ChainRefusedError) as refused:
        parse_chain(f"inputs:\n  a:\n    type: any\n    default: {given}\nsteps: {{x: {{parse: a}}}}\n")
    (problem,) = refused.value.problems
    # A tag is refused before there is a value, and has its line alone.
    assert (problem.line, problem.place) == (4, "" if given.startswith("!!") else "inputs.a.default")
    assert told in problem.message


def test_a_step_follows_what_its_prompt_holds_and_refuses_tools_by_name(tools: ChainTools) -> None:
    text = "inputs: {ticket: text}\nsteps:\n  kind: {prompt: toned}\noutput: kind\n"
    held = {"model": "small", "variables": {"tone": {"default": "kind"}}}
    template = "Sort {{ ticket }}, {{ tone }}."
    tools.prompts.save("toned", template=template, settings=read_settings(held, "here"))
    resolved = resolve(parse_chain(text), tools)
    assert resolved.models == ["small"]
    tools.prompts.save("toned", template=template, settings=read_settings({**held, "tools": [{"name": "a"}]}, "here"))
    ((line, told, hint),) = _problems(text, tools)
    assert (line, told) == (3, "toned@2 holds tools, which a step of a chain cannot follow")
    assert "llmops prompt save toned --no-settings" in hint
