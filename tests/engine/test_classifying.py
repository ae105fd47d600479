"""Texts given labels: the scores as llama.cpp makes them and as transformers does, in the form of vLLM's API."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmops_tui.cli.classify import line_of
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.guardrails.head import COLUMNS, HeadModel
from llmops_tui.inference.guardrails.store import GuardStore
from llmops_tui.inference.wire import Classified
from llmops_tui.models.bert_gguf import RANK, write_bert
from llmops_tui.workspace.layout import Workspace
from tests.engine.test_cli import data, run
from tests.engine.test_embedding import Setup, set_up, write_tiny_bert
from tests.engine.test_request_fields import PLAIN, Server, opened
from tests.engine.test_reranking import by_llama_cpp
from tests.engine.tiny_models import write_ranker
from tests.waiting import wait_for

LABELS = ("billing", "delivery", "other")
TEXTS = ["a bad cab", "cabbage", "b" * 300, "feed a bee"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    path = write_tiny_bert(tmp_path_factory.mktemp("classify") / "labels.gguf", pooling=RANK, labels=LABELS)
    return set_up(path, context=512)


def test_scores_are_those_of_llama_cpp_for_each_label(classifier: Setup) -> None:
    native = classifier.bench.native
    assert (native.describe()["labels"], native.describe()["head_normalises"]) == (list(LABELS), False)
    texts = [native.tokenize(text, add_special=True) for text in TEXTS]
    classifier.queue.submit("c", texts, of="classify")
    wait_for(lambda: classifier.heard.ended("c"))
    found = np.array(classifier.heard.vectors("c"))
    assert found.shape == (len(TEXTS), len(LABELS))
    assert np.abs(found - np.array([by_llama_cpp(classifier, tokens) for tokens in texts])).max() < 1e-4
    with pytest.raises(
        InputRefusedError, match=r"input\[1\]: the text has 513 tokens, 1 too many: this model classifies"
    ):
        classifier.queue.submit("longer", [texts[0], [texts[0][0]] * 513], of="classify")
    with pytest.raises(InputRefusedError, match="no embeddings"):
        classifier.queue.submit("x", texts)


def test_a_generating_model_with_a_head_gives_probabilities_and_one_with_a_template_no_labels(tmp_path: Path) -> None:
    bare = set_up(write_ranker(tmp_path / "bare.gguf", template=""), context=64)
    assert bare.bench.native.labels == ["yes", "no"]
    bare.queue.submit("c", [[300, 301, 302]], of="classify")
    wait_for(lambda: bare.heard.ended("c"))
    (values,) = bare.heard.vectors("c")
    assert bare.bench.native.describe()["head_normalises"]
    assert float(values.sum()) == pytest.approx(1, abs=1e-5)
    paired = set_up(write_ranker(tmp_path / "paired.gguf"), context=64)
    with pytest.raises(InputRefusedError) as refused:
        paired.queue.submit("c", [[300]], of="classify")
    assert refused.value.code == "no_labels"


@pytest.mark.slow
def test_probabilities_are_those_of_transformers(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyzé",
        *(f"##{c}" for c in "abcdefé"),
    ]
    # Five times as far from 0 as BERT begins; with much larger weights llama.cpp's rounding of GELU to 16 bits adds up.
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=64, num_labels=len(LABELS), initializer_range=0.1,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config).eval()
    weights = {name.removeprefix("bert."): value.numpy() for name, value in model.state_dict().items()}
    path = tmp_path / "labels.gguf"
    write_bert(path, config.to_dict(), weights, words, pooling=RANK, exact=True, labels=LABELS)
    setup = set_up(path, context=64)
    drawn = np.random.default_rng(1)
    texts = [[2, *map(int, drawn.integers(5, len(words), size)), 3] for size in (1, 4, 17, 60)]
    setup.queue.submit("c", texts, of="classify")
    wait_for(lambda: setup.heard.ended("c"))
    for tokens, logits in zip(texts, setup.heard.vectors("c"), strict=True):
        with torch.no_grad():
            theirs = torch.softmax(model(torch.tensor([tokens])).logits[0], 0).numpy()
        raised = np.exp(logits - logits.max())
        assert np.abs(raised / raised.sum() - theirs).max() < 1e-4


# Over HTTP


@pytest.fixture
async def server(workspace: Workspace, tmp_path: Path) -> AsyncIterator[Server]:
    async for made in opened(workspace, PLAIN):
        made.engine.info |= {"ranks": True, "labels": list(LABELS), "head_normalises": False}
        made.server._classifying._head._path = write_ranker(tmp_path / "labels.gguf")
        yield made


def scored(server: Server, *scores: tuple[float, ...]) -> None:
    async def call(request: dict[str, Any]) -> Any:
        server.engine.calls.append(request)
        for index, values in enumerate(scores):
            packed = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
            yield [{"id": request["id"], "event": "vector", "index": index, "embedding": packed}]
        yield [{"id": request["id"], "event": "done", "result": {"tokens": 9, "pooling": "rank", "dimensions": 3}}]

    server.engine.call = call  # type: ignore[method-assign]


@pytest.mark.parametrize("path", ["/v1/classify", "/classify"])
async def test_each_text_gets_the_probability_of_each_label(server: Server, path: str) -> None:
    scored(server, (0.0, math.log(2), math.log(5)), (3.0, 1e4, -1e4))
    answer = (await server.post(path, {"input": ["a", [7, 8]]})).json()
    assert server.engine.calls[-1]["op"] == "classify"
    assert server.engine.calls[-1]["inputs"] == ["a", [7, 8]]
    assert (answer["object"], answer["model"], answer["labels"]) == ("list", "m", list(LABELS))
    first, second = answer["data"]
    assert first["probs"] == pytest.approx([1 / 8, 2 / 8, 5 / 8])
    assert (first["index"], first["label"], first["num_classes"]) == (0, "other", 3)
    assert second["probs"] == pytest.approx([0, 1, 0])
    assert answer["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    scored(server, (0.0, math.log(3), -1e4))
    (each,) = (await server.post(path, {"input": "a", "multi_label": True})).json()["data"]
    assert each["probs"] == pytest.approx([0.5, 0.75, 0])
    assert each["chosen"] == ["billing", "delivery"]


async def test_a_head_with_one_output_is_a_sigmoid_and_one_that_normalises_is_taken_as_it_is(server: Server) -> None:
    server.engine.info["labels"] = ["spam"]
    scored(server, (math.log(3),))
    (one,) = (await server.post("/v1/classify", {"input": "a"})).json()["data"]
    assert (one["label"], one["probs"]) == ("spam", pytest.approx([0.75]))
    # It is the only label, and not what the text is.
    scored(server, (-math.log(99),))
    (one,) = (await server.post("/v1/classify", {"input": "a"})).json()["data"]
    assert (one["label"], one["probs"]) == (None, pytest.approx([0.01]))
    server.engine.info |= {"labels": ["yes", "no"], "head_normalises": True}
    scored(server, (0.25, 0.75))
    (one,) = (await server.post("/v1/classify", {"input": "a"})).json()["data"]
    assert (one["label"], one["probs"]) == ("no", [0.25, 0.75])
    error = (await server.post("/v1/classify", {"input": "a", "multi_label": True})).json()["error"]
    assert (error["param"], error["code"]) == ("multi_label", "unsupported_parameter")


@pytest.mark.parametrize(
    ("more", "param", "hint"),
    [
        ({"input": []}, "input", ""),
        ({"input": ["a", 3]}, "input[1]", ""),
        ({"input": ["a"] * 2049}, "input", "several requests"),
        ({"input": [["a"]]}, "input[0][0]", ""),
        ({"messages": [{"role": "user", "content": "a"}]}, "messages", "as input"),
        ({"truncate_prompt_tokens": 10}, "truncate_prompt_tokens", "classified whole"),
        ({"use_activation": False}, "use_activation", "Probabilities"),
        ({"priority": 3}, "priority", "one queue"),
        ({"multi_label": "yes"}, "multi_label", ""),
        ({"multilabel": True}, "multilabel", "Did you mean multi_label?"),
        ({"head": "none"}, "head", "llmops guard train"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    server: Server, more: dict[str, Any], param: str, hint: str
) -> None:
    answer = await server.post("/v1/classify", {"input": "a"} | more)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert hint in error["hint"]
    assert server.engine.calls == []


async def test_a_model_without_labels_or_head_and_scores_that_are_none_say_so(server: Server) -> None:
    scored(server, (math.nan, 1.0, 2.0))
    error = (await server.post("/v1/classify", {"input": "a"})).json()["error"]
    assert (error["code"], error["param"], "no numbers" in error["message"]) == ("no_labels", "model", True)
    from tests.engine.engines import MODEL

    server.server._classifying._head._path = MODEL
    error = (await server.post("/v1/classify", {"input": "a"})).json()["error"]
    assert (error["code"], "classification head" in error["hint"]) == ("no_labels", True)
    server.engine.info["labels"] = []
    error = (await server.post("/v1/classify", {"input": "a"})).json()["error"]
    assert (error["code"], "classifier.output_labels" in error["message"]) == ("no_labels", True)


def trained(server: Server, embedder: str) -> None:
    """A head that looks at the first value of an embedding, or at nothing."""
    weights = np.zeros(COLUMNS + (2 if embedder else 0), np.float32)
    if embedder:
        weights[COLUMNS] = 2.0
    GuardStore(server.server._event_log).save_head("injection", HeadModel(weights, 0.5, 0.7, embedder), {})


async def test_a_head_that_was_trained_on_the_models_embeddings_gives_its_labels(server: Server) -> None:
    trained(server, "m")
    scored(server, (1.0, 0.0), (-1.0, 0.0))
    answer = (await server.post("/v1/classify", {"input": ["bad", "good"], "head": "injection"})).json()
    assert server.engine.calls[-1]["op"] == "embed"
    assert (answer["labels"], answer["threshold"]) == (["attack", "benign"], 0.7)
    shares = [1 / (1 + math.exp(-2.5)), 1 / (1 + math.exp(1.5))]
    assert [one["probs"][0] for one in answer["data"]] == pytest.approx(shares)
    assert [one["label"] for one in answer["data"]] == ["attack", "benign"]
    error = (await server.post("/v1/classify", {"input": [[7]], "head": "injection"})).json()["error"]
    assert (error["param"], error["hint"]) == ("input", "Send texts.")


async def test_a_trained_head_reads_all_of_a_text_or_refuses_it_by_its_place(server: Server) -> None:
    trained(server, "")
    # Windows of 256 tokens, each 192 behind the one before.
    whole, longer = ("x " * (31 * 192 + size) for size in (256, 257))
    assert (await server.post("/v1/classify", {"input": whole, "head": "injection"})).status_code == 200
    for given, place in ((longer, "input"), (["a", longer], "input[1]")):
        answer = await server.post("/v1/classify", {"input": given, "head": "injection"})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (400, place, "context_length_exceeded")


def test_a_line_says_the_threshold_and_none_for_what_is_not_meant() -> None:
    told = line_of(
        {"index": 0, "label": "benign", "probs": [0.62, 0.38], "num_classes": 2}, ["attack", "benign"], "t", 0.7
    )
    assert told == "benign  (attack 0.620, benign 0.380; attack from 0.700 on)  t"
    assert (
        line_of({"index": 0, "label": None, "probs": [0.01], "num_classes": 1}, ["spam"], "t", None)
        == "none  (spam 0.010)  t"
    )
    several: Classified = {"index": 0, "label": "a", "probs": [0.6, 0.5], "num_classes": 2, "chosen": ["a", "b"]}
    assert line_of(several, ["a", "b"], "t", None).startswith("a, b  (")


async def test_a_head_of_another_models_embeddings_is_refused_and_one_of_none_asks_no_engine(server: Server) -> None:
    trained(server, "other")
    error = (await server.post("/v1/classify", {"input": "a", "head": "injection"})).json()["error"]
    assert (error["param"], error["hint"]) == ("head", "Ask 'other'.")
    trained(server, "")
    server.engine.info["labels"] = []
    answer = (await server.post("/v1/classify", {"input": "a", "head": "injection"})).json()
    assert answer["data"][0]["probs"][0] == pytest.approx(1 / (1 + math.exp(-0.5)))
    # Below the threshold it is not meant, however likely.
    assert (answer["data"][0]["label"], answer["usage"]["total_tokens"]) == ("benign", 0)
    assert server.engine.calls == []


@pytest.mark.slow
def test_texts_are_classified_from_the_command_line(workspace: Workspace, tmp_path: Path) -> None:
    path = write_tiny_bert(tmp_path / "labels.gguf", pooling=RANK, labels=LABELS)
    data("model", "add", str(path), "--name", "labels", workspace=workspace)
    texts = [part for text in TEXTS for part in ("--text", text)]
    told = data("classify", "--model", "labels", *texts, workspace=workspace)
    assert told["labels"] == list(LABELS)
    setup = set_up(path, context=512)
    for one in told["results"]:
        logits = by_llama_cpp(setup, setup.bench.native.tokenize(TEXTS[one["index"]], add_special=True))
        raised = np.exp(logits - logits.max())
        assert one["probs"] == pytest.approx((raised / raised.sum()).tolist(), abs=1e-4)
    told_plainly = run("classify", "--model", "labels", "--text", "cabbage", workspace=workspace)
    assert told_plainly.stdout.split()[0] in LABELS
    refused = run("generate", "--model", "labels", "--prompt", "Hi", workspace=workspace)
    assert "Use /v1/classify" in refused.stderr
