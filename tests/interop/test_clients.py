"""Unmodified clients against the endpoint: the openai package, the lm-eval harness, and the llm command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest

from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import SCHEMA, write_with_template
from tests.engine.test_endpoint import HOURS, OPEN, TOOL_TEMPLATE, TOOLS
from tests.interop.conftest import Report, Served, Twin, make_twin, serve

pytestmark = pytest.mark.slow


def test_openai_sync(sample_served: Served) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{sample_served.url}/v1", api_key=sample_served.key)
    model = sample_served.model
    assert [m.id for m in client.models.list()] == [model]
    assert client.models.retrieve(model).id == model
    messages: Any = OPEN
    whole = client.chat.completions.create(model=model, messages=messages, temperature=0, logprobs=True, top_logprobs=2)
    assert whole.choices[0].message.content == HOURS
    assert whole.choices[0].finish_reason == "stop"
    assert whole.choices[0].logprobs is not None
    assert whole.choices[0].logprobs.content is not None
    assert "".join(t.token for t in whole.choices[0].logprobs.content) == HOURS
    stream = client.chat.completions.create(
        model=model, messages=messages, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == HOURS
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens  # type: ignore[union-attr]
    form: Any = {"type": "json_schema", "json_schema": {"name": "triage", "schema": SCHEMA, "strict": True}}
    held = client.chat.completions.create(model=model, messages=messages, response_format=form, seed=3, max_tokens=200)
    jsonschema.validate(json.loads(held.choices[0].message.content or ""), SCHEMA)
    text = client.completions.create(
        model=model, prompt="The kettle", max_tokens=3, echo=True, logprobs=1, temperature=0
    )
    assert text.choices[0].text.startswith("The kettle")
    assert text.choices[0].logprobs is not None
    assert text.choices[0].logprobs.token_logprobs is not None
    embedded = client.embeddings.create(model=model, input=["refund", "open"])
    assert len(embedded.data[0].embedding) == 256
    answered = client.responses.create(model=model, input="When are you open?", temperature=0)
    assert answered.output_text == HOURS
    with client.responses.stream(model=model, input="When are you open?", temperature=0) as events:
        final = events.get_final_response()
    assert final.output_text == HOURS
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=messages)
    with pytest.raises(openai.BadRequestError, match="too many for the context"):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "kettle " * 3000}])
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{sample_served.url}/v1", api_key="wrong").models.list()


def test_openai_parses_into_a_class(sample_served: Served) -> None:
    import openai
    from pydantic import BaseModel, Field

    class Triage(BaseModel):
        intent: Annotated[str, Field(max_length=20)]
        urgent: bool
        product: Annotated[str, Field(max_length=20)] | None

    client = openai.OpenAI(base_url=f"{sample_served.url}/v1", api_key=sample_served.key)
    messages: Any = OPEN
    for seed in range(8):
        parsed = client.chat.completions.parse(
            model=sample_served.model, messages=messages, response_format=Triage, seed=seed, temperature=0.7
        )
        assert isinstance(parsed.choices[0].message.parsed, Triage)


async def test_openai_async(sample_served: Served) -> None:
    import asyncio

    import openai

    async with openai.AsyncOpenAI(base_url=f"{sample_served.url}/v1", api_key=sample_served.key) as client:
        messages: Any = OPEN

        async def streamed() -> str:
            stream = await client.chat.completions.create(
                model=sample_served.model, messages=messages, temperature=0, stream=True
            )
            return "".join([c.choices[0].delta.content or "" async for c in stream])

        assert await asyncio.gather(*(streamed() for _ in range(12))) == [HOURS] * 12


def test_openai_tools(workspace: Workspace, tmp_path: Path) -> None:
    import openai

    ModelRegistry(Catalog(workspace)).add(write_with_template(tmp_path / "tools.gguf", TOOL_TEMPLATE), "tools")
    with serve(workspace, "tools", context=1024) as served:
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key)
        messages: Any = OPEN
        tools: Any = TOOLS
        for seed in range(5):
            answer = client.chat.completions.create(
                model="tools", messages=messages, tools=tools, tool_choice="required", seed=seed, max_tokens=200
            )
            assert answer.choices[0].finish_reason == "tool_calls"
            for call in answer.choices[0].message.tool_calls or []:
                assert call.type == "function"
                schema = next(t["function"]["parameters"] for t in TOOLS if t["function"]["name"] == call.function.name)
                jsonschema.validate(json.loads(call.function.arguments), schema)


CHOICES = """task: tinymc
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
GENERATION = """task: tinygen
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{choices[0]}}}}"
generation_kwargs: {{until: ["."], max_gen_toks: 12, temperature: 0.0, do_sample: false}}
metric_list: [{{metric: exact_match}}]
"""


def write_tasks(folder: Path) -> Path:
    """Questions whose choices differ in their last token alone, where a shift by one changes the answer."""
    import random

    rng = random.Random(6)
    words = [
        "kettle",
        "rug",
        "lamp",
        "refund",
        "order",
        "open",
        "price",
        "warranty",
        "desk",
        "Saturday",
        "parcel",
        "invoice",
        "shop",
        "money",
        "late",
    ]
    rows = []
    for _ in range(60):
        stem = " ".join(rng.choices(words, k=4))
        ends = rng.sample(words, 4)
        rows.append(
            {
                "q": " ".join(rng.choices(words, k=8)),
                "choices": [f" {stem} {e}" for e in ends],
                "answer": rng.randrange(4),
            }
        )
    data = folder / "rows.jsonl"
    data.write_text("\n".join(json.dumps(r) for r in rows))
    (folder / "tinymc.yaml").write_text(CHOICES.format(rows=data))
    (folder / "tinygen.yaml").write_text(GENERATION.format(rows=data))
    return folder


def harness(folder: Path, out: str, *arguments: str) -> dict[str, Any]:
    """Run lm-eval and read its results and samples."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    command = [
        sys.executable,
        "-m",
        "lm_eval",
        "run",
        "--include_path",
        str(folder),
        "--output_path",
        str(folder / out),
        "--log_samples",
        *arguments,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(next((folder / out).rglob("results_*.json")).read_text())["results"]
    samples = {
        path.name.split("_")[1]: sorted(map(json.loads, path.read_text().splitlines()), key=lambda s: s["doc_id"])
        for path in (folder / out).rglob("samples_*.jsonl")
    }
    return {"results": results, "samples": samples}


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    return make_twin(tmp_path_factory.mktemp("twin"), bos=False, seed=5)


def test_lm_eval_gives_through_the_endpoint_what_it_gives_on_the_weights(
    workspace: Workspace, tmp_path: Path, twin: Twin, monkeypatch: pytest.MonkeyPatch, report: Report
) -> None:
    folder = write_tasks(tmp_path)
    own = harness(
        folder,
        "hf",
        "--model",
        "hf",
        "--model_args",
        f"pretrained={twin.folder},dtype=float32",
        "--device",
        "cpu",
        "--tasks",
        "tinymc,tinygen",
    )
    ModelRegistry(Catalog(workspace)).add(twin.gguf, "tiny")
    with serve(workspace, "tiny", context=512, precision="exact") as served:
        monkeypatch.setenv("OPENAI_API_KEY", served.key)
        for tokenized in ("True", "False"):
            arguments = f"model=tiny,base_url={served.url}/v1/completions,tokenizer={twin.folder},tokenizer_backend=huggingface,tokenized_requests={tokenized},num_concurrent=4"
            ours = harness(
                folder,
                f"ours-{tokenized}",
                "--model",
                "local-completions",
                "--model_args",
                arguments,
                "--tasks",
                "tinymc,tinygen",
            )
            for metric in ("acc,none", "acc_norm,none"):
                assert ours["results"]["tinymc"][metric] == own["results"]["tinymc"][metric]
            worst = max(
                abs(float(a[0][0]) - float(b[0][0]))
                for x, y in zip(ours["samples"]["tinymc"], own["samples"]["tinymc"], strict=True)
                for a, b in zip(x["resps"], y["resps"], strict=True)
            )
            same = sum(
                x["resps"] == y["resps"]
                for x, y in zip(ours["samples"]["tinygen"], own["samples"]["tinygen"], strict=True)
            )
            report(
                f"tokenized={tokenized}: worst difference of a choice's log-likelihood {worst:.1e} nats; {same}/60 generations equal"
            )
            assert worst < 5e-3
            assert same == 60


def test_the_llm_command(sample_served: Served, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: local\n  model_name: {sample_served.model}\n  api_base: {sample_served.url}/v1\n  supports_schema: true\n"
        "  api_key_name: local\n"
    )
    (tmp_path / "keys.json").write_text(json.dumps({"local": sample_served.key}))
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    command = [sys.executable, "-m", "llm", "-m", "local", "-o", "temperature", "0", "When are you open?"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == HOURS, done.stderr
    command = [sys.executable, "-m", "llm", "-m", "local", "--no-stream", "--schema", "intent, urgency int", "Refund!"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert set(json.loads(done.stdout)) == {"intent", "urgency"}, done.stderr
