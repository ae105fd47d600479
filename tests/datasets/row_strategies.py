"""Random rows of every canonical kind, with images, tools, calls, thinking, labels and further columns."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

KINDS = ("messages", "prompt-completion", "preference", "kto", "text", "tabular")
TEXTS = [
    "What is 5 + 0?", "What is 5 - 0?", '{"name": "Ann"}', "[]", '[{"role": "user", "content": "x"}]', "", " ", "1", "1.50", "true", "null",
    "ü\u2028\x00\r\n\"quoted\"; it's, 100%\t", "\U0001f600", "你好，世界", "mail ann@example.org or call +49 30 901820", "<|im_start|>", "x" * 300,
    "Polish it", "polish it", "C++", "C#", "<think>so", "ﬁ", 'a,b\n"c', "-0", "1e5", "0123", "NaN",
]  # fmt: skip
Rows = list[dict[str, Any]]

_TEXT = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_WHOLE = st.integers(-(2**70), 2**70)
_JSON = st.recursive(
    st.none() | st.booleans() | _WHOLE | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "ä"]), inner, max_size=2),
    max_leaves=4,
)
_PART = st.fixed_dictionaries({"type": st.just("text"), "text": _TEXT}) | st.fixed_dictionaries(
    {"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": _TEXT})}
)
_CALL = st.fixed_dictionaries(
    {
        "id": st.just("c1"),
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": _TEXT, "arguments": st.just('{"n": 1}') | _TEXT}),
    }
)
_QUESTION = st.fixed_dictionaries({"role": st.just("user"), "content": _TEXT | st.lists(_PART, max_size=2)})
_ANSWER = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": _TEXT},
    optional={"reasoning_content": _TEXT, "thinking": _TEXT, "weight": st.sampled_from([0, 1]), "name": _TEXT},
) | st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none(), "tool_calls": st.lists(_CALL, min_size=1, max_size=2)}
)
_RESULT = st.fixed_dictionaries({"role": st.just("tool"), "content": _TEXT, "tool_call_id": st.just("c1")})
_SYSTEM = st.fixed_dictionaries({"role": st.just("system"), "content": _TEXT})
_TURNS = st.tuples(st.lists(_SYSTEM, max_size=1), _QUESTION, _ANSWER, st.lists(_RESULT, max_size=1)).map(
    lambda parts: [*parts[0], parts[1], parts[2], *parts[3]]
)
_ASKED = _TEXT | _QUESTION.map(lambda turn: [turn])
_SAID = _TEXT | _ANSWER.map(lambda turn: [turn])
_TOOL = st.fixed_dictionaries({"type": st.just("function"), "function": st.fixed_dictionaries({"name": _TEXT})})
_OWN: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "messages": st.fixed_dictionaries({"messages": _TURNS}, optional={"tools": st.lists(_TOOL, max_size=2)}),
    "prompt-completion": st.fixed_dictionaries({"prompt": _ASKED, "completion": _SAID}),
    "preference": st.fixed_dictionaries({"prompt": _ASKED, "chosen": _SAID, "rejected": _SAID}),
    "kto": st.fixed_dictionaries({"prompt": _ASKED, "completion": _SAID, "label": st.booleans()}),
    "text": st.fixed_dictionaries({"text": _TEXT}),
    "tabular": st.fixed_dictionaries({"question": _TEXT, "n": st.integers(0, 9)}),
}
_MORE = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(0, 10**6), "images": st.lists(_TEXT, max_size=2), "score": st.floats(allow_nan=False, allow_infinity=False), "mixed": _JSON,
        "tags": st.lists(_TEXT, max_size=2), "big": st.integers(-(2**63), 2**63 - 1), "flag": st.booleans(), "Meta": _TEXT, "topic": st.sampled_from("abc"),
        "meta": st.dictionaries(st.sampled_from(["k", "n"]), _JSON, max_size=2),
    },
)  # fmt: skip


def rows_of_kind(kind: str, least: int = 1, most: int = 6) -> st.SearchStrategy[Rows]:
    """Rows of a kind, some of which may stand there twice."""
    one = st.tuples(_MORE, _OWN[kind]).map(lambda parts: {**parts[0], **parts[1]})
    rows = st.lists(one, min_size=least, max_size=most)
    return rows.flatmap(lambda made: st.lists(st.sampled_from(made), max_size=2).map(lambda again: [*made, *again]))
