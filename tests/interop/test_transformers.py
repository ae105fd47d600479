"""Log-likelihoods and perplexity through the endpoint against transformers on the same weights."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.interop.conftest import TOKENIZER, Report, make_twin, serve, with_bos

pytestmark = pytest.mark.slow

TEXTS = [
    "I want my money back for the kettle, please.", "When are you open on Saturday?", "a", "  spaces   and\n\nlines ",
    "Grüße aus Köln 日本 👍", "The desk lamp costs 35 euros and has a warranty of two years." * 4,
]  # fmt: skip


def reference(folder: Path, ids: list[list[int]]) -> list[list[float | None]]:
    """What transformers says of each token after those before it."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found: list[list[float | None]] = []
    with torch.no_grad():
        for tokens in ids:
            logprobs = torch.log_softmax(model(torch.tensor([tokens])).logits[0].double(), -1)
            found.append([None, *(float(logprobs[n, t]) for n, t in enumerate(tokens[1:]))])
    return found


def score(url: str, key: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    given = {"echo": True, "logprobs": 1, "max_tokens": 0, "temperature": 0} | body
    answer = httpx.post(f"{url}/v1/completions", json=given, headers={"Authorization": f"Bearer {key}"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return [choice["logprobs"] for choice in answer.json()["choices"]]


@pytest.mark.parametrize("bos", [False, True], ids=["without BOS", "with BOS"])
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_log_likelihoods_agree_with_transformers(
    workspace: Workspace, tmp_path: Path, bos: bool, precision: str, report: Report
) -> None:
    from transformers import AutoTokenizer

    twin = make_twin(tmp_path, bos=bos)
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
    ModelRegistry(Catalog(workspace)).add(twin.gguf, "tiny")
    with serve(workspace, "tiny", context=512, precision=precision) as served:
        by_text = score(served.url, served.key, {"prompt": TEXTS})
        by_tokens = score(served.url, served.key, {"prompt": ids})
        bare = score(served.url, served.key, {"prompt": TEXTS, "add_special_tokens": False})
    plain = reference(twin.folder, ids)
    begun = reference(twin.folder, [[0, *tokens] for tokens in ids])
    worst = 0.0
    for n, tokens in enumerate(ids):
        # The token that begins every text is no part of the text: it is used, and not told.
        expected_text = begun[n][1:] if bos else plain[n]
        for told, expected in ((by_tokens[n], plain[n]), (bare[n], plain[n]), (by_text[n], expected_text)):
            assert told["token_ids"] == tokens
            assert (told["token_logprobs"][0] is None) == (expected[0] is None)
            for ours, theirs in zip(told["token_logprobs"], expected, strict=True):
                if ours is not None and theirs is not None:
                    worst = max(worst, abs(ours - theirs))
    report(f"worst difference, {precision}, {'with' if bos else 'without'} BOS: {worst:.2e} nats a token")
    assert worst < (1e-3 if precision == "exact" else 2e-2)


def test_greedy_text_agrees_with_transformers(workspace: Workspace, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    twin = make_twin(tmp_path, bos=False)
    model = AutoModelForCausalLM.from_pretrained(twin.folder, dtype=torch.float32).eval()
    ModelRegistry(Catalog(workspace)).add(twin.gguf, "tiny")
    rng = random.Random(1)
    with serve(workspace, "tiny", context=512, precision="exact") as served:
        for _ in range(20):
            prompt = [rng.randrange(300, 2000) for _ in range(rng.randrange(2, 60))]
            body = {"prompt": prompt, "max_tokens": 24, "temperature": 0, "ignore_eos": True, "logprobs": 0}
            answer = httpx.post(
                f"{served.url}/v1/completions", json=body, headers={"Authorization": f"Bearer {served.key}"}, timeout=60
            ).json()
            ours = answer["choices"][0]["logprobs"]["token_ids"]
            with torch.no_grad():
                theirs = model.generate(
                    torch.tensor([prompt]),
                    max_new_tokens=24,
                    min_new_tokens=24,
                    do_sample=False,
                    eos_token_id=None,
                    attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                )[0, len(prompt) :].tolist()
            assert ours == theirs


def test_perplexity_agrees_with_full_logits(workspace: Workspace, report: Report) -> None:
    """The sample model on its own language: F32 weights, scored in windows, against one pass of transformers each."""
    import sys

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
    from make_sample_model import documents, write_gguf

    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    model = AutoModelForCausalLM.from_pretrained(TOKENIZER, dtype=torch.float32).eval()
    path = workspace.models / "sample-F32.gguf"
    write_gguf(model, tokenizer, path)
    ModelRegistry(Catalog(workspace)).add(path, "sample-f32")
    source = documents(99)
    tokens = tokenizer.encode("\n".join(next(source) for _ in range(60)), add_special_tokens=False)[:4000]
    window, stride = 500, 250
    starts = range(0, len(tokens) - window, stride)
    windows = [tokens[s : s + window] for s in starts]
    total, count = 0.0, 0
    with torch.no_grad():
        for part in windows:
            logprobs = torch.log_softmax(model(torch.tensor([part])).logits[0].double(), -1)
            total += sum(float(logprobs[n - 1, part[n]]) for n in range(window - stride, window))
            count += stride
    expected = math.exp(-total / count)
    for precision in ("exact", "fast"):
        with serve(workspace, "sample-f32", context=512, precision=precision) as served:
            told = score(served.url, served.key, {"prompt": windows, "logprob_start_len": window - stride})
        ours = math.exp(-sum(sum(t["token_logprobs"][window - stride :]) for t in told) / count)
        report(f"perplexity {precision}: {ours:.5f}, full logits: {expected:.5f}")
        assert ours == pytest.approx(expected, rel=5e-3 if precision == "fast" else 1e-5)


def test_a_file_that_is_rewritten_keeps_its_tensors(tmp_path: Path) -> None:
    import gguf
    import numpy as np

    twin = make_twin(tmp_path, bos=False)
    one, other = gguf.GGUFReader(twin.gguf), gguf.GGUFReader(with_bos(twin.gguf, tmp_path / "again.gguf"))
    assert all(np.array_equal(a.data, b.data) for a, b in zip(one.tensors, other.tensors, strict=True))
