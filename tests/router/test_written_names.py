"""Which field the errors of a file of requests name: one that its user wrote."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.batch.job import _Batch
from llmops_tui.inference.batch.requests import Line, RequestFile
from llmops_tui.inference.batch.written_names import named_as_written
from llmops_tui.inference.router.names import Meant
from llmops_tui.inference.stages import Stage
from tests.router.test_batch import checked, request, write
from tests.router.test_names import ALIASES, MODELS


class Prompts:
    """One prompt whose stage names a model that is not there, and whose version holds what no request may have."""

    def __init__(self, model: str, **held: Any) -> None:
        self.held = held
        version: Any = SimpleNamespace(ref="faq@1", prompt="faq", settings=None)
        self.prompt = SimpleNamespace(
            version=version, model=model, label="production", stages=(Stage("faq", "production"),)
        )

    def meant(self, asked: str) -> Any:
        assert asked == "prompt/faq@production"
        return self.prompt

    def outline(self, _prompt: Any, _url: str, body: Any) -> Any:
        return {name: value for name, value in body.items() if name != "variables"} | {
            "messages": [{"role": "user", "content": "x"}],
            **self.held,
        }


def _problem(tmp_path: Path, prompts: Prompts, given: str = "", **body: Any) -> str:
    line = {"custom_id": "a", "url": "/v1/chat/completions", "body": {"model": "prompt/faq@production", **body}}
    path = write(tmp_path / "in.jsonl", [line])
    made: Any = prompts
    return RequestFile(path, MODELS, ALIASES, given, prompts=made).check().problems[0]["message"]


def test_a_line_is_told_by_what_its_user_wrote(tmp_path: Path) -> None:
    told = _problem(tmp_path, Prompts("lost-one"))
    assert told.startswith("body.model: faq@1 is answered by 'lost-one': no model 'lost-one'")
    assert _problem(tmp_path, Prompts("lost-one"), "prompt/faq@production").startswith("--model: faq@1 is answered by")
    # What the version holds stands in no line; what a line says itself is named.
    told = _problem(tmp_path, Prompts("smol", temperature="hot"), variables={"q": 1})
    assert told.startswith("body.model: faq@1: temperature: "), told
    assert _problem(tmp_path, Prompts("smol", temperature="hot"), temperature="hot").startswith("body.temperature")
    path = write(tmp_path / "other.jsonl", [request("a", "smol")])
    assert checked(path, "gemma3:4b").problems[0]["message"].startswith("--model: 'gemma3:4b' may be")


@pytest.mark.parametrize(
    ("param", "body", "name"),
    [
        ("messages[0].content", {"variables": {"q": 1}}, "variables"),
        ("messages", {}, "model"),
        ("messages", {"messages": []}, "messages"),
        ("max_tokens", {"max_tokens": 1, "variables": {"q": 1}}, "max_tokens"),
        ("variables.q", {}, "variables.q"),
        (None, {}, None),
    ],
)
def test_an_answer_names_what_stands_in_the_line(param: str | None, body: dict[str, Any], name: str | None) -> None:
    error = {"message": f"{param}: too long", "param": param, "code": "context_length_exceeded"}
    told = named_as_written({"status_code": 400, "request_id": "", "body": {"error": error}}, body)
    assert told["body"]["error"] == {**error, "param": name, "message": f"{name}: too long"}
    plain: Any = {"status_code": 200, "request_id": "", "body": {"choices": []}}
    assert named_as_written(plain, body) is plain


def test_a_line_whose_prompt_cannot_be_made_names_the_variables(tmp_path: Path) -> None:
    kept: list[Any] = []

    class File:
        async def request(self, _line: Line, _body: Any) -> Any:
            raise InputRefusedError("template_failed", "the template cannot be rendered: line 1 with q: TypeError")

    file, log = File(), SimpleNamespace(add=kept.append)
    batch = _Batch(None, file, log, "job_1")  # type: ignore[arg-type]
    line = Line(1, 0, "a", "/v1/chat/completions", Meant(MODELS[0], "m"), Prompts("m").prompt)  # type: ignore[arg-type]
    asyncio.run(batch._work(iter([(line, {"model": "m", "variables": {"q": []}})])))
    error = json.loads(json.dumps(kept[0]))["response"]["body"]["error"]
    assert (error["param"], error["code"]) == ("variables", "template_failed")
    assert "line 1 with q" in error["message"]
