"""Long texts beside the steps: the same tokens, told in parts, given up when nobody waits."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from tests.engine.engines import Bench, questions
from tests.waiting import wait_for

LONG = "Grüße aus Köln 日本 👍 kettle, it's 12345 days\n\n " * 900


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


class Desk:
    """What long texts told, and what came back."""

    def __init__(self, bench: Bench) -> None:
        from llmops_tui.inference.engine.long_texts import LongTexts

        self.told: list[dict[str, Any]] = []
        self.back: list[dict[str, Any]] = []
        self.texts = LongTexts(bench.native, self.told.extend, self.back.append)

    def ended(self, name: str) -> bool:
        return any(e["id"] == name and e["event"] in {"done", "error"} for e in list(self.told))

    def whole(self, name: str, part: str) -> Any:
        found = [e[part] for e in self.told if e["id"] == name and part in e]
        return "".join(found) if part == "text" else [x for one in found for x in one]


def tokenize(name: str, text: str = LONG) -> dict[str, Any]:
    return {"op": "tokenize", "id": name, "text": text, "add_special": False}


def test_a_long_text_has_the_tokens_it_has_in_the_loop_and_is_told_in_parts(bench: Bench) -> None:
    from llmops_tui.inference.engine.long_texts import PART

    desk = Desk(bench)
    assert desk.texts.take(tokenize("a"))
    wait_for(lambda: desk.ended("a"))
    expected = bench.native.tokenize(LONG, add_special=False)
    assert desk.whole("a", "tokens") == expected
    assert desk.whole("a", "pieces") == [bench.native.raw_piece(t).decode("utf-8", "replace") for t in expected]
    assert desk.told[-1]["result"] == {"count": len(expected)}
    assert max(len(e.get("tokens", e.get("pieces", []))) for e in desk.told) == PART < len(expected)
    assert desk.texts.take({"op": "detokenize", "id": "b", "tokens": expected})
    wait_for(lambda: desk.ended("b"))
    # Characters of several tokens lie across the borders of parts.
    assert desk.whole("b", "text") == LONG
    assert not desk.texts.take(tokenize("c", "short"))
    assert list(desk.texts.answer(tokenize("c", "")))[-1]["result"] == {"count": 0}


def test_broken_characters_are_told_as_they_are_decoded_in_one_piece(bench: Bench) -> None:
    desk = Desk(bench)
    torn = bench.native.tokenize("👍" * 3, add_special=False)[1:-1] * 3000
    expected = b"".join(map(bench.native.raw_piece, torn)).decode("utf-8", "replace")
    assert (
        "".join(e.get("text", "") for e in desk.texts.answer({"op": "detokenize", "id": "a", "tokens": torn}))
        == expected
    )
    assert desk.texts.take({"op": "detokenize", "id": "b", "tokens": [*torn, 10**7]})
    wait_for(lambda: desk.ended("b"))
    assert [e["error"]["code"] for e in desk.told] == ["bad_token"]
    with pytest.raises(InputRefusedError):
        list(desk.texts.answer({"op": "detokenize", "id": "c", "tokens": [10**7]}))


def test_messages_that_go_on_come_back_with_their_tokens(bench: Bench) -> None:
    desk = Desk(bench)
    generate = {"op": "generate", "id": "g", "text": LONG, "add_special": True, "parameters": {}}
    embed = {"op": "embed", "id": "e", "inputs": ["short", LONG, [300, 301]]}
    assert desk.texts.take(generate)
    assert desk.texts.take(embed)
    wait_for(lambda: len(desk.back) == 2)
    back = {m["id"]: m for m in desk.back}
    assert back["g"]["tokens"] == bench.native.tokenize(LONG, add_special=True)
    assert back["g"]["hidden"] == 0
    assert back["e"]["inputs"][::2] == [bench.native.tokenize("short", add_special=True), [300, 301]]
    assert not any(desk.texts.take(m) for m in desk.back)


def test_what_nobody_waits_for_is_given_up_wherever_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, gate = Desk(bench), threading.Event()
    plain = bench.native.tokenize

    def slow(text: str, **how: Any) -> list[int]:
        gate.wait(120)
        return plain(text, **how)

    monkeypatch.setattr(bench.native, "tokenize", slow)
    generate = {"op": "generate", "text": LONG, "add_special": True, "parameters": {}}
    for name in ("running", "running too", "waiting"):
        desk.texts.take(generate | {"id": name})
    desk.texts.take(tokenize("told"))
    for name in ("running", "waiting", "told", "unknown"):
        desk.texts.cancel(name)
    desk.texts.take(generate | {"id": "last"})
    gate.set()
    wait_for(lambda: any(m["id"] == "last" for m in desk.back) and not desk.texts._waiting)
    wait_for(lambda: any(m["id"] == "running too" for m in desk.back))
    dropped = {m["id"] for m in list(desk.back) if desk.texts.take(m)}
    assert dropped <= {"running"}
    assert {m["id"] for m in desk.back} - dropped == {"running too", "last"}
    assert not desk.told


@pytest.mark.slow
def test_streams_go_on_while_a_long_text_is_tokenized(bench: Bench) -> None:
    parameters = {"max_tokens": 300}
    prompts = questions(2)
    expected = [bench.ask(p, parameters=parameters, ignore_eos=True).text for p in prompts]
    names = [bench.submit(p, parameters=parameters, ignore_eos=True) for p in prompts]
    desk = Desk(bench)
    desk.texts.take(tokenize("a", LONG * 4))
    before, beside = bench.scheduler.counters.steps, 0
    while bench.scheduler.busy:
        bench.scheduler.step()
        if not desk.ended("a"):
            beside = bench.scheduler.counters.steps - before
    assert beside > 0
    assert [bench.answers()[n].text for n in names] == expected
    wait_for(lambda: desk.ended("a"))
