"""promptfoo itself and this on the same configurations and the same answers: same prompts, verdicts, scores and names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.metrics.base import Answer
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.promptfoo.reader import read_promptfoo
from llmops_tui.evaluation.runner.scoring import Item, Scorer
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.prompts.drafts import Draft, Drafts
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.clients.promptfoo_configs import CONFIGS, Made
from tests.clients.running import HERE, beside
from tests.commands import Llmops

pytestmark = pytest.mark.slow
# What the endpoint was asked, one conversation each.
ASKED: list[list[dict[str, str]]] = []


def answer_to(messages: Any) -> tuple[str, str]:
    """What the model of both says, and why it ended: what stands behind the mark in the last turn."""
    text = str(messages[-1]["content"]).partition("Say: ")[2]
    return text, "length" if text == "cut" else "stop"


class _Endpoint(BaseHTTPRequestHandler):
    """A model of OpenAI's API that says what it is told to."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ASKED.append(body["messages"])
        text, end = answer_to(body["messages"])
        choice = {"index": 0, "finish_reason": end, "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        made = json.dumps(
            {"id": "1", "object": "chat.completion", "model": "said", "choices": [choice], "usage": usage}
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(made)))
        self.end_headers()
        self.wfile.write(made)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    kept = Scorer()
    yield kept
    kept.close()


class Oracle:
    """promptfoo in a process of its own, which evaluates one folder's configuration after another."""

    def __init__(self, home: Path) -> None:
        node, folder = shutil.which("node"), beside("clients-promptfoo")
        if node is None:
            pytest.skip("node is not installed")
        if not (folder / "node_modules" / "promptfoo").is_dir():
            pytest.skip(f"{folder} has no promptfoo: make test-slow installs it where npm is")
        # Packages are looked for from where a script lies.
        program = shutil.copy(HERE / "promptfoo" / "oracle.mjs", folder)
        quiet = dict.fromkeys(("TELEMETRY", "UPDATE", "REMOTE_GENERATION", "SHARING"), "1")
        settings = {f"PROMPTFOO_DISABLE_{name}": value for name, value in quiet.items()}
        settings |= {"PROMPTFOO_CONFIG_DIR": str(home), "PROMPTFOO_CACHE_ENABLED": "false"}
        self._process = subprocess.Popen(
            [node, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | settings
        )

    def told(self, folder: Path) -> list[dict[str, Any]]:
        """What promptfoo says of each test with each prompt."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            # promptfoo tells of its own on the same output.
            if line.startswith(('{"told"', '{"failed"')):
                answer = json.loads(line)
                assert "failed" not in answer, answer["failed"]
                return list(answer["told"])
        raise AssertionError(f"promptfoo ended with {self._process.wait()}")

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    kept = Oracle(tmp_path_factory.mktemp("promptfoo"))
    yield kept
    kept.close()


@dataclass(frozen=True)
class Ruling:
    """What one of both says of a case; no verdict where an assertion cannot be decided."""

    asked: list[dict[str, Any]]
    passes: bool | None
    score: float
    named: dict[str, float]


def _written(made: Made, folder: Path, endpoint: str) -> Path:
    for name, text in made.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    provider = {"id": "openai:chat:said", "config": {"apiBaseUrl": endpoint, "apiKey": "none"}}
    path = folder / "promptfooconfig.yaml"
    path.write_text(yaml.safe_dump({**made.config, "providers": [provider]}, sort_keys=False, allow_unicode=True))
    return path


def _turns(text: str) -> list[dict[str, str]]:
    """The conversation that a prompt of promptfoo's is to a model."""
    try:
        found = yaml.safe_load(text) if text.startswith("- role:") else json.loads(text)
    except ValueError:
        found = None
    turns = isinstance(found, list) and found and isinstance(found[0], dict) and "role" in found[0]
    return found if turns else [{"role": "user", "content": text}]


def theirs(path: Path, oracle: Oracle) -> list[Ruling]:
    """What promptfoo says, in the order of tests and prompts."""
    found = sorted(oracle.told(path.parent), key=lambda told: (told["test"], told["prompt"]))
    return [
        Ruling(_turns(told["asked"]), None if told["failed"] else told["passes"], told["score"], told["named"])
        for told in found
    ]


async def ours(path: Path, scorer: Scorer) -> list[Ruling]:
    """What this says, in the same order."""
    suite = read_promptfoo(path)
    cases = list(build_cases(suite, None).cases)  # type: ignore[arg-type]
    items = []
    for case in cases:
        text, end = answer_to(case.messages)
        metrics = [make_metric(entry) for entry in case.metrics]
        items.append(Item(case, Answer(text=text, finish_reason=end, total_ms=5.0), metrics))
    scores = await scorer.score(items, None)  # type: ignore[arg-type]  nothing in these is asked of a model
    found = []
    for item, said in zip(items, scores, strict=True):
        value = said["pass"].value
        named = {m.called: said[m.called].value or 0.0 for m in item.metrics if m.type == "combined"}
        score = said["pass"].detail.get("score", 0.0)
        found.append(
            Ruling([dict(turn) for turn in item.case.messages], None if value is None else bool(value), score, named)
        )
    # Answers to a case that is repeated are the same here.
    return [one for one in found for _ in range(suite.repeats)]


@pytest.mark.parametrize("made", CONFIGS, ids=lambda made: made.name)
async def test_promptfoo_says_the_same(
    made: Made, oracle: Oracle, endpoint: str, scorer: Scorer, tmp_path: Path
) -> None:
    path = _written(made, tmp_path, endpoint)
    expected = theirs(path, oracle)
    found = await ours(path, scorer)
    assert len(found) == len(expected)
    differ = []
    for mine, other in zip(found, expected, strict=True):
        near = abs(mine.score - other.score) < 1e-9 or other.passes is None
        names = mine.named.keys() == other.named.keys() and all(
            abs(mine.named[n] - other.named[n]) < 1e-9 for n in mine.named
        )
        if (mine.asked, mine.passes) != (other.asked, other.passes) or not near or not (names or other.passes is None):
            differ.append((mine, other))
    assert not differ, f"{len(differ)} of {len(found)}: {differ[:5]}"


# A system text, texts that a template would take for its own, signs that make a prompt the name of a file, and quotes.
EXPORTED = [
    ("Be kind to {{ name }}.", "Hi {{ name }}, {{ question }}"),
    ("", "*/path/to.txt"),
    ('Answer in JSON: { "a": {{ x }}}', "{{ '{{' }} x }} {{ '{%' }} if %} $& \\n\nÄ 'q' {{x}}"),
]
VALUES = {"name": "Ann", "question": "what is {{ nobody }} {% x %}, 'you'?\nSay: \"yes\"", "x": "\\ 5 $& {#"}


def test_its_own_command_reads_what_is_exported(endpoint: str, sample: Workspace, tmp_path: Path) -> None:
    """Each prompt reaches the model as it does from here, character by character."""
    program = beside("clients-promptfoo") / "node_modules" / ".bin" / "promptfoo"
    if not program.exists():
        pytest.skip(f"{program} is not there: make test-slow installs it where npm is")
    store, drafts = PromptStore(Catalog(sample)), Drafts(EventLog(sample))
    renderer = TemplateRenderer()
    quiet = dict.fromkeys(("TELEMETRY", "UPDATE", "REMOTE_GENERATION", "SHARING"), "1")
    settings = {f"PROMPTFOO_DISABLE_{name}": value for name, value in quiet.items()}
    settings |= {"PROMPTFOO_CONFIG_DIR": str(tmp_path / "home"), "OPENAI_BASE_URL": endpoint, "OPENAI_API_KEY": "none"}
    try:
        for number, (system, template) in enumerate(EXPORTED):
            version, _ = store.save(f"exported-{number}", template=template, system=system)
            drafts.save(version.prompt, Draft(system, template, VALUES, version.number))
            path = tmp_path / f"{number}" / "promptfooconfig.yaml"
            path.parent.mkdir()
            Llmops(sample).run("prompt", "export", version.ref, "--as", "promptfoo", "--to", str(path))
            ASKED.clear()
            result = path.with_name("out.json")
            subprocess.run(
                [str(program), "eval", "-c", str(path), "-r", "openai:chat:said", "--no-cache", "--no-table", "-o", str(result)],
                env=os.environ | settings, check=True, capture_output=True,
            )  # fmt: skip
            turns = [("system", system), ("user", template)]
            expected = [{"role": r, "content": renderer.render(t, VALUES)} for r, t in turns if t]
            assert [expected] == ASKED
            (one,) = json.loads(result.read_text())["results"]["results"]
            assert one["prompt"]["label"] == version.ref
    finally:
        renderer.close()
