"""A request as a shell, as Python and as Markdown say it: each makes the same request, and nothing else."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import unicodedata
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.approved_keys import approve
from llmops_tui.inference.request_code import BASE_URL, RequestCode, code_of
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import llmops

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
HOSTILE = 'it\'s "$(touch /tmp/x)" `id` \\ \n ``` \x1b]52;c;eA==\x07 \x9b31m \u202e <|im_end|>'
SET: dict[str, Any] = {
    "temperature": 0.7,
    "top_k": 40,
    "stop": ["'", "\n"],
    "enable_thinking": False,
    "logit_bias": {"5": -1.0},
}


def code(text: str = HOSTILE, **parameters: Any) -> RequestCode:
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": text}]
    return RequestCode("a/model:1", messages, parameters, "an answer")


def sent_by_curl(arguments: list[str]) -> Any:
    assert arguments[0] == BASE_URL + "/chat/completions"
    assert arguments[1::2] == ["-H", "-H", "-d"]
    return json.loads(arguments[-1])


def sent_by_python(text: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    asked: dict[str, Any] = {}

    def create(**given: Any) -> Any:
        asked.update(given)
        return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content="hi"))])

    def client(**given: Any) -> Any:
        assert given == {"base_url": BASE_URL, "api_key": "a-key"}
        return SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))

    module: Any = ModuleType("openai")
    module.OpenAI = client
    monkeypatch.setitem(sys.modules, "openai", module)
    monkeypatch.setenv("LLMOPS_API_KEY", "a-key")
    exec(compile(text, "copied", "exec"), {})
    return asked | asked.pop("extra_body", {})


def test_a_shell_makes_the_request_and_runs_nothing_else() -> None:
    one = code(**SET)
    script = 'curl() { for a in "$@"; do printf "%s\\0" "$a"; done; }; LLMOPS_API_KEY=a-key\n' + one.curl()
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    arguments = done.stdout.decode().split("\0")[:-1]
    assert sent_by_curl(arguments) == one.body
    assert arguments[2] == "Authorization: Bearer a-key"


def test_python_makes_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    one = code(**SET)
    assert sent_by_python(one.python(), monkeypatch) == one.body
    assert one.body["temperature"] == 0.7


@given(TEXTS, st.fixed_dictionaries({}, optional={"stop": st.lists(TEXTS, max_size=2), "seed": st.integers(0, 9)}))
def test_whatever_is_said_is_quoted(text: str, parameters: dict[str, Any]) -> None:
    one = code(text, **parameters)
    assert sent_by_curl(shlex.split(one.curl().replace(" \\\n  ", " "))[1:]) == one.body
    with pytest.MonkeyPatch.context() as patch:
        assert sent_by_python(one.python(), patch) == one.body
    for form, also in (("curl", "\n"), ("python", "\n"), ("markdown", "\n\t\u200c\u200d")):
        assert all(
            each.isprintable() or each in also or (form == "markdown" and unicodedata.category(each) == "Zs")
            for each in one.written(form)
        )


def test_a_text_does_not_close_its_fence() -> None:
    shown = code("before\n```\n# Assistant\n").markdown()
    assert shown.count("\n````\n") == 2
    assert "an answer" in shown
    assert "touch" in code().markdown()


def test_what_people_write_stays_as_it_is_to_read() -> None:
    text = "if x:\r\n\treturn\u00a01\u3000 می\u200cخواهم \U0001f468\u200d\U0001f469"
    assert f"\n{text.replace(chr(13), '')}\n" in code(text).markdown()
    assert "\\u001b]52" in code().markdown()


def test_an_address_is_harmless_too() -> None:
    shown = RequestCode("m", [{"role": "user", "content": "hi"}], {}, "", "http://h/\x1b[31m';id").curl()
    assert "\x1b" not in shown
    assert shlex.split(shown.partition(" \\\n")[0])[1] == "http://h/\\u001b[31m';id/chat/completions"


def test_what_decides_an_answer_is_said_and_the_rest_only_where_it_was_set() -> None:
    default = SamplingParameters().model_dump(mode="json")
    body = code(**default).body
    assert body.keys() == {"model", "messages", "temperature", "max_tokens", "seed"}
    assert code(**{**default, "top_k": 3}).body["top_k"] == 3


def test_a_request_that_was_not_kept_is_refused_and_so_is_an_unknown_form() -> None:
    with pytest.raises(InputRefusedError, match="were not kept"):
        RequestCode("m", [], {}).written("curl")
    with pytest.raises(InputRefusedError, match="curl, python, markdown"):
        code().written("perl")


def test_a_key_is_named_only_for_the_host_that_it_was_approved_for(catalog: Catalog) -> None:
    registry = ModelRegistry(catalog)
    far: Any = {"remote_model": "theirs", "lacks": {}}
    model = registry.add_remote("http://far.example", "far", far, "SOME_SECRET")
    messages = [{"role": "user", "content": "hi"}]
    shown = code_of("far", model, messages, {}).curl()
    assert "http://far.example/v1/chat/completions" in shown
    assert "theirs" in shown
    assert "SOME_SECRET" not in shown
    assert "$LLMOPS_KEY_FAR" in shown
    approve("SOME_SECRET", "http://far.example")
    assert "$SOME_SECRET" in code_of("far", model, messages, {}).curl()


def test_a_trace_is_printed_as_a_command_and_what_was_replaced_in_it_is_said(sample: Workspace) -> None:
    asked = {
        "model": "support-base",
        "messages": [{"role": "user", "content": "I am [EMAIL]"}],
        "parameters": {"seed": 7},
        "finish_reason": "stop",
    }
    log = EventLog(sample)
    log.append("request", "run_redacted", {"started_at": 1.0, "output": "hi", "content": "redacted"} | asked)
    log.append("request", "run_whole", {"started_at": 1.0, "output": "hi"} | asked)
    done = llmops("traces", "show", "run_redacted", "--as", "curl", workspace=sample)
    assert sent_by_curl(shlex.split(done.stdout.replace(" \\\n  ", " "))[1:])["seed"] == 7
    assert "personal data was replaced" in done.stderr
    assert not llmops("traces", "show", "run_whole", "--as", "python", workspace=sample).stderr
