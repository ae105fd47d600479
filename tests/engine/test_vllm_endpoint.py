"""An endpoint that answers as vLLM does: what is found out about it, and its adapters."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.remote import load_adapter, probe_remote
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace

BASE = "Qwen/Qwen3-0.6B"


class Vllm(http.server.BaseHTTPRequestHandler):
    """vLLM 0.11's doors, as its OpenAI server has them; the server's ``lora`` is whether adapters may be loaded."""

    server: Server

    def do_GET(self) -> None:
        if self.path == "/version":
            return self.tell({"version": "0.11.0"})
        assert self.path == "/v1/models"
        entry = {"object": "model", "created": 1, "owned_by": "vllm", "root": BASE, "permission": []}
        cards = [{"id": BASE, "parent": None, "max_model_len": 4096, **entry}]
        cards += [{"id": name, "parent": BASE, **entry} for name in self.server.adapters]
        return self.tell({"object": "list", "data": cards})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, body))
        if self.path == "/tokenize":
            known = "prompt" in body
            return self.tell(
                {"count": 1, "max_model_len": 4096, "tokens": [64]} if known else {}, 200 if known else 400
            )
        if self.path == "/v1/load_lora_adapter":
            return self.load(body)
        if self.path == "/v1/completions":
            return self.complete(body)
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi"},
            "finish_reason": "length",
        }
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [{"token": "Hi", "logprob": -0.1, "top_logprobs": []}]}
        return self.tell({"id": "chatcmpl-1", "choices": [choice]})

    def load(self, body: dict[str, Any]) -> None:
        if not self.server.lora:
            return self.tell({"detail": "Not Found"}, 404)
        if not body.get("lora_name") or not body.get("lora_path"):
            return self.tell({"error": {"message": "Both 'lora_name' and 'lora_path' must be provided."}}, 400)
        if body["lora_path"] == "/missing":
            return self.tell({"error": {"message": "No adapter found for /missing"}}, 404)
        self.server.adapters.append(body["lora_name"])
        return self.tell("Success: LoRA adapter added successfully.")

    def complete(self, body: dict[str, Any]) -> None:
        tokens = ["The", " cat", " sat", " on"]
        told = [None, -3.5, -1.25, -0.5] if self.server.scores else [None, None, None, None]
        logprobs = {"tokens": tokens, "token_logprobs": told, "top_logprobs": [None], "text_offset": [0, 3, 7, 11]}
        text = "The cat sat on" if body.get("echo") else " on"
        self.tell(
            {"id": "cmpl-1", "choices": [{"index": 0, "text": text, "logprobs": logprobs, "finish_reason": "length"}]}
        )

    def tell(self, told: Any, status: int = 200) -> None:
        raw = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_arguments: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """What it was started with, and what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Vllm)
        self.adapters = ["sql-lora"]
        self.lora = self.scores = True
        self.asked: list[tuple[str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def vllm() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_what_vllm_offers_is_found_out(vllm: Server, workspace: Workspace) -> None:
    facts = probe_remote(vllm.url, "", BASE)
    assert facts["lacks"] == {}
    assert (facts["server"], facts["adapters"], facts["context_length"]) == ("vllm 0.11.0", ["sql-lora"], 4096)
    header = ModelRegistry(Catalog(workspace)).add_remote(vllm.url, "far", facts).header
    assert (header["server"], header["adapters"], header["context_length"]) == ("vllm 0.11.0", ["sql-lora"], 4096)
    vllm.lora = vllm.scores = False
    assert set(probe_remote(vllm.url, "", BASE)["lacks"]) == {"echo", "load_adapters"}


def test_an_adapter_is_loaded_and_is_a_model_of_its_own(vllm: Server) -> None:
    load_adapter(vllm.url, "", "tone", "/adapters/tone")
    assert vllm.asked[-1] == ("/v1/load_lora_adapter", {"lora_name": "tone", "lora_path": "/adapters/tone"})
    facts = probe_remote(vllm.url, "", "tone")
    assert (facts["remote_model"], facts["models"]) == ("tone", [BASE, "sql-lora", "tone"])
    with pytest.raises(LlmopsError, match="No adapter found for /missing"):
        load_adapter(vllm.url, "", "other", "/missing")
    vllm.lora = False
    with pytest.raises(LlmopsError, match="HTTP 404") as refused:
        load_adapter(vllm.url, "", "tone", "/adapters/tone")
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in refused.value.hint
