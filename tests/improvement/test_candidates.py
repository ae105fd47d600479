"""What of a prompt is changed, what stays, what is refused, and which rows become examples."""

from __future__ import annotations

import jinja2
import numpy as np
import pytest

from llmops_tui.improvement.candidates import Example, asked_text, frame_of, literal
from llmops_tui.improvement.examples import diverse, usable, word_vectors
from llmops_tui.improvement.reflection import Shown, messages_for, read_instruction
from llmops_tui.improvement.refusals import CopyCheck, ngrams, why_not


def _rendered(source: str, **values: str) -> str:
    return jinja2.Environment(autoescape=False).from_string(source).render(**values)


@pytest.mark.parametrize(
    ("system", "template", "where", "instruction"),
    [
        ("Be brief.", "{{ x }}", "system", "Be brief."),
        ("Be brief to {{ who }}.", "{{ x }}", "system", "Be brief to"),
        ("", "Sort this:\n{{ x }}", "template", "Sort this:"),
        ("", "{{ x }}", "system", ""),
        ("{{ role }} helps.", "{{ x }}", "system", ""),
        ("", "No variable", "template", "No variable"),
    ],
)
def test_the_instruction_is_the_literal_text_at_the_beginning(
    system: str, template: str, where: str, instruction: str
) -> None:
    frame = frame_of(system, template)
    assert (frame.where, frame.instruction) == (where, instruction)
    made = frame.with_text("NEW")
    values = {"x": "X", "who": "W", "role": "R"}
    assert "NEW" in _rendered(made[0], **values) + _rendered(made[1], **values)
    # All that is no instruction is still there.
    for name, value in values.items():
        if f"{{{{ {name} }}}}" in system + template:
            assert value in _rendered(made[0], **values) + _rendered(made[1], **values)
    if instruction:
        assert frame.with_text(instruction) == (system, template)


def test_signs_of_the_template_language_in_rows_are_words() -> None:
    hostile = "{{ 7 * 7 }} {% for x in y %} {# gone #} }}"
    assert _rendered(literal(hostile)) == hostile
    frame = frame_of("", "Say it.\n{{ text }}")
    _, template = frame.with_text("Say it.", [Example("k", hostile, "{{ secret }}")])
    assert (
        _rendered(template, text="now")
        == f"Say it.\n\nExamples:\n\nInput: {hostile}\nOutput: {{{{ secret }}}}\n\nInput: now\nOutput:"
    )


def test_with_examples_the_question_stands_in_their_form() -> None:
    system, template = frame_of("Be brief.", "{{ x }}").with_text("Be brief.", [Example("k", "in", "out")])
    assert system == "Be brief.\n\nExamples:\n\nInput: in\nOutput: out"
    assert _rendered(template, x="now") == "Input: now\nOutput:"


def test_several_variables_are_named_in_an_example() -> None:
    assert asked_text({"a": "x"}) == "x"
    assert asked_text({"a": "x", "b": 2}) == "a: x\nb: 2"


def test_proposals_that_are_no_candidates_are_refused_with_the_reason() -> None:
    check = CopyCheck({"row 7": "please refund my green kettle today", "row 8": "where is the lamp"}, "seed words")
    told = {
        "": "empty",
        "Use {{ message }}": "template language",
        "seed words": "the same as the seed's",
        "known": "the same as another",
        "word " * 21: "too long: 21 words",
        "If they say: Refund my GREEN kettle, today - then …": "copies row 7: “refund my green kettle today”",
    }
    for text, why in told.items():
        assert why in why_not(text, "seed words", ["known"], check, 20)
    assert why_not("Name what the customer wants.", "seed words", [], check, 20) == ""


def test_what_the_seed_says_and_what_most_rows_say_is_no_copy() -> None:
    rows = {f"row {n}": f"dear team of the shop here is number {n}" for n in range(30)}
    check = CopyCheck({**rows, "row 99": "answer with one of these words"}, "Please answer with one of these words.")
    assert check.copied("dear team of the shop, hello") is None
    assert check.copied("Answer with one of these words") is None
    assert ngrams("one two three four") == set()


def test_the_reflector_is_shown_rows_and_its_answer_is_read() -> None:
    (message,) = messages_for(
        "Be good.", [Shown("in", "out", "right", "out is not right")], [Shown("a", "b", "", "")], 50
    )
    text = str(message["content"])
    for part in (
        "Be good.",
        "[Wrong, 1]\ninput: in\nanswer: out\nexpected: right\nwhy: out is not right",
        "[Right, 1]",
    ):
        assert part in text
    assert read_instruction("Sure!\n<instruction>\nDo it.\n</instruction> Bye") == "Do it."
    assert read_instruction("<instruction>cut off") == "cut off"
    assert read_instruction("```\nDo it.\n```") == "Do it."
    assert read_instruction("  Do it. ") == "Do it."


def test_examples_are_far_from_each_other_and_drawn_anew() -> None:
    texts = ["refund the kettle", "refund a kettle", "where is my parcel", "parcel where is it", "cancel my order now"]
    vectors = word_vectors(texts)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    chosen = diverse(vectors, 3, 0, 1)
    assert len({n // 2 for n in chosen}) == 3
    assert diverse(vectors, 3, 0, 1) == chosen
    assert len({tuple(diverse(vectors, 3, draw, 1)) for draw in range(8)}) > 1
    assert diverse(vectors, 99, 0, 1) != []
    assert diverse(word_vectors([]), 3, 0, 1) == []


def test_an_example_is_short_has_an_answer_and_stands_once() -> None:
    given = [Example("1", "Q", "A"), Example("2", " q ", "B"), Example("3", "R", " "), Example("4", "S" * 2000, "A")]
    assert [one.key for one in usable(given)] == ["1"]
