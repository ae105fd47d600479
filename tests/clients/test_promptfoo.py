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
from tests.clients.promptfoo_configs import CONFIGS, Made
from tests.clients.running import beside

pytestmark = pytest.mark.slow


def answer_to(messages: Any) -> tuple[str, str]:
    """What the model of both says, and why it ended: what stands behind the mark in the last turn."""
    text = str(messages[-1]["content"]).partition("Say: ")[2]
    return text, "length" if text == "cut" else "stop"


class _Endpoint(BaseHTTPRequestHandler):
    """A model of OpenAI's API that says what it is told to."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
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


def _command() -> list[str]:
    node, modules = shutil.which("node"), beside("clients-promptfoo") / "node_modules"
    if node is None:
        pytest.skip("node is not installed")
    if not (modules / "promptfoo").is_dir():
        pytest.skip(f"{modules} has no promptfoo: make test-slow installs it where npm is")
    if not any((modules / "@libsql").glob("*/index.node")):
        pytest.skip("promptfoo's database has no build for this machine")
    return [node, str(modules / "promptfoo/dist/src/entrypoint.js")]


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


def theirs(path: Path, home: Path) -> list[Ruling]:
    """What promptfoo says, in the order of tests and prompts."""
    out = path.parent / "out.json"
    quiet = {
        "PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
        "PROMPTFOO_CONFIG_DIR": str(home), "PROMPTFOO_CACHE_ENABLED": "false", "PROMPTFOO_DISABLE_SHARING": "1",
    }  # fmt: skip
    options = ["eval", "-c", path.name, "--no-write", "--no-cache", "--no-table", "--no-progress-bar", "-o", out.name]
    done = subprocess.run(
        [*_command(), *options],
        check=False,
        cwd=path.parent,
        env=os.environ | quiet,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert out.is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(out.read_text())["results"]["results"]
    found.sort(key=lambda r: (r["testIdx"], r["promptIdx"]))
    return [
        Ruling(
            _turns(r["prompt"]["raw"]), None if r["failureReason"] == 2 else r["success"], r["score"], r["namedScores"]
        )
        for r in found
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
    made: Made, endpoint: str, scorer: Scorer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = _written(made, tmp_path, endpoint)
    expected = theirs(path, tmp_path_factory.getbasetemp() / "promptfoo-home")
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
