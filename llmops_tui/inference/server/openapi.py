"""The endpoint's description in OpenAPI 3.1, made from the request models, and a page of it that needs no network."""

from __future__ import annotations

import html
import json
from typing import Any

from pydantic.json_schema import models_json_schema

from llmops_tui import __version__
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.inference.server import schemas
from llmops_tui.inference.server.apis.anthropic_request import CountRequest, MessagesRequest
from llmops_tui.inference.server.apis.batch_request import BatchRequest
from llmops_tui.inference.server.apis.infill import InfillRequest
from llmops_tui.inference.server.apis.keys import KeyRequest
from llmops_tui.inference.server.apis.ollama_request import (
    OllamaChat,
    OllamaEmbed,
    OllamaEmbeddings,
    OllamaGenerate,
    OllamaShow,
)
from llmops_tui.inference.server.apis.response_request import ResponsesRequest
from llmops_tui.inference.server.classifying import CLASSIFY, ClassifyRequest
from llmops_tui.inference.server.fields import Checked
from llmops_tui.inference.server.reranking import RERANK, RerankRequest

# path -> (method, summary, request model)
_PATHS: dict[str, tuple[str, str, type[Checked] | None]] = {
    "/v1/chat/completions": ("post", "Answer a conversation", schemas.ChatRequest),
    "/v1/completions": (
        "post",
        "Continue a text, or score a given one with echo and logprobs",
        schemas.CompletionRequest,
    ),
    "/v1/responses": ("post", "Answer in the form of the responses API", ResponsesRequest),
    "/v1/messages": ("post", "Answer in the form of Anthropic's messages API", MessagesRequest),
    "/v1/messages/count_tokens": ("post", "Count the tokens of such a request", CountRequest),
    "/infill": ("post", "Fill in a gap of a text, in llama-server's form", InfillRequest),
    "/v1/embeddings": ("post", "Embed texts", schemas.EmbeddingRequest),
    "/v1/rerank": ("post", "Rank documents by how well they answer a query", RerankRequest),
    "/v1/classify": ("post", "Give texts labels, with the probability of each", ClassifyRequest),
    "/api/chat": ("post", "Answer a conversation in the form of Ollama's API", OllamaChat),
    "/api/generate": ("post", "Answer a prompt, go on with a text or fill it in, in the same form", OllamaGenerate),
    "/api/embed": ("post", "Embed texts, in the same form", OllamaEmbed),
    "/api/embeddings": ("post", "Embed one text, in its older form", OllamaEmbeddings),
    "/api/show": ("post", "What the model's file says", OllamaShow),
    "/api/tags": ("get", "The model and its adapters, in the form of Ollama's API", None),
    "/api/ps": ("get", "The loaded model, in the same form", None),
    "/api/version": ("get", "Which version of Ollama's API is spoken", None),
    "/v1/files": ("post", "Send a file of requests, as a form (multipart/form-data); GET lists those of the key", None),
    "/v1/files/{id}": ("get", "What is known of a file; DELETE removes it", None),
    "/v1/files/{id}/content": ("get", "A file as it is", None),
    "/v1/batches": ("post", "Have a file of requests answered; GET lists the batches of the key", BatchRequest),
    "/v1/batches/{id}": ("get", "Where a batch stands", None),
    "/v1/batches/{id}/cancel": ("post", "Stop a batch; what is answered stays", None),
    "/v1/keys": ("post", "Make a key, within the access key that this is asked with; GET lists those", KeyRequest),
    "/v1/keys/{id}": ("delete", "Revoke a key that was made with this one", None),
    "/v1/models": ("get", "The model and its adapters", None),
    "/v1/feedback": ("post", "Say what you think of an answer, by its id", schemas.FeedbackRequest),
    "/v1/traces": ("post", "Take in spans of another application: OTLP, in JSON or protobuf", None),
    "/tokenize": ("post", "Count and show the tokens of a text or of a rendered conversation", schemas.TokenizeRequest),
    "/detokenize": ("post", "The text of tokens", schemas.DetokenizeRequest),
    "/tokenizer_info": ("get", "Special tokens and the chat template", None),
    "/health": ("get", "Whether the server is ready; with a key, its state", None),
    "/metrics": ("get", "Prometheus metrics", None),
}


def request_models() -> dict[str, type[Checked]]:
    """The model of the body of each path whose body may name a model."""
    return {
        path: model for path, (_, _, model) in _PATHS.items() if model is not None and "model" in model.model_fields
    }


def posted_paths() -> list[str]:
    """All paths that take such a body, by every name that they have."""
    return [
        *request_models(),
        *(path for name in (*RERANK, *CLASSIFY) for path in (f"/{name}", f"/v1/{name}") if path not in _PATHS),
    ]


def describe_api() -> JsonObject:
    """The OpenAPI document."""
    models = [(model, "validation") for _, _, model in _PATHS.values() if model is not None]
    _, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    known = definitions.get("$defs", {})
    for _, _, model in _PATHS.values():
        if model is not None:
            # What is taken without an effect is told, with the reason.
            idle = {name: {"description": f"No effect: {why}."} for name, why in model.rules.idle.items()}
            known[model.__name__]["properties"] |= idle
    paths: dict[str, Any] = {}
    for path, (method, summary, model) in _PATHS.items():
        operation: dict[str, Any] = {
            "summary": summary,
            "responses": {"200": {"description": "Done"}, "default": {"description": "An error in OpenAI's form"}},
        }
        if model is not None:
            reference = {"$ref": f"#/components/schemas/{model.__name__}"}
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
        paths[path] = {method: operation}
    return {
        "openapi": "3.1.0",
        "info": {"title": "llmops model server", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": known,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


def api_page() -> str:
    """The same as a plain page: no script, no style from elsewhere."""
    document = describe_api()
    parts = ["<!doctype html><meta charset=utf-8><title>llmops model server</title><h1>llmops model server</h1>"]
    parts.append("<p>OpenAI-compatible. Send the key as <code>Authorization: Bearer …</code>. ")
    parts.append("The same as a document: <a href=/openapi.json>openapi.json</a>.</p>")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(f"<h2><code>{method.upper()} {path}</code></h2><p>{html.escape(operation['summary'])}</p>")
            model = _PATHS[path][2]
            if model is not None:
                fields = document["components"]["schemas"][model.__name__]["properties"]
                rows = "".join(
                    f"<tr><td><code>{name}</code></td><td><code>{html.escape(_type_of(field))}</code></td></tr>"
                    for name, field in fields.items()
                )
                parts.append(f"<table>{rows}</table>")
    return "".join(parts)


def _type_of(field: Schema) -> str:
    options = field.get("anyOf", [field])
    names = [
        str(o.get("type") or o.get("$ref", "").rpartition("/")[2] or json.dumps(o.get("enum", "any"))) for o in options
    ]
    return " or ".join(n for n in names if n != "null")
