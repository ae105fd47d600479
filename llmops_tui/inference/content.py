"""The content policy of requests: store everything, redact personal data, or store figures only.

Told by what may stay, not by what must go: a field that is added later is taken out until somebody says it is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from llmops_tui.workspace.events import ClientRecord, FeedbackRecord, RequestRecord

# Texts of a record that name things of ours; numbers are figures whatever they are called.
_NAMES = frozenset({
    "model", "model_sha256", "adapter_sha256", "engine", "prompt", "finish_reason", "request", "verdict",
})  # fmt: skip
# What readers of a record expect to be there.
_EMPTY: dict[str, object] = {"messages": [], "variables": {}, "output": ""}
_NOT_KEPT = "its message was not stored"
# Fields of feedback that people write.
SAID: tuple[Literal["correction", "comment"], ...] = ("correction", "comment")


def as_kept(body: RequestRecord, policy: str) -> RequestRecord:
    """The record of a request under a policy: ``keep``, ``redact`` or ``off``; it says which, where it is not ``keep``."""
    if policy == "off":
        error = {"error": _NOT_KEPT} if body.get("error") else {}
        parameters = {"parameters": _figures(body["parameters"])} if body.get("parameters") else {}
        left = _figures(body) | _EMPTY | parameters | error | _client(body, {}, lambda _text: "") | {"content": "off"}
        return cast("RequestRecord", left)
    if policy == "redact":
        said = (body.get("client") or {}).get("metadata")
        redacted = _without_personal(body) | _client(body, _redacted(said), _redacted) | {"content": "redacted"}
        return cast("RequestRecord", redacted)
    return {**body}


def _client(body: RequestRecord, metadata: Any, changed: Callable[[str], str]) -> dict[str, object]:
    """What a client said beside the request, in another form; which key it had is kept.

    Of what was retrieved the query and the names of documents are ``changed``; which chunks of which index came is kept.
    """
    client = body.get("client")
    if not client:
        return {}
    told: ClientRecord = {**client, "metadata": metadata}
    if found := client.get("retrieved"):
        told["retrieved"] = [
            {
                **one,
                "query": changed(one["query"]),
                "passages": [{**passage, "document": changed(passage["document"])} for passage in one["passages"]],
            }
            for one in found
        ]
    return {"client": told}


def feedback_as_kept(entry: FeedbackRecord, policy: str) -> FeedbackRecord:
    """Feedback under a policy: scores and verdicts stay, what was written is redacted or left out."""
    if policy == "off":
        return {**entry, "correction": None, "comment": None, "source": "not kept"}
    if policy == "redact":
        return cast("FeedbackRecord", _without_personal(entry))
    return {**entry}


def _figures(body: Mapping[str, object]) -> dict[str, object]:
    """Numbers, and names of ours."""
    return {n: v for n, v in body.items() if v is None or isinstance(v, (bool, int, float)) or n in _NAMES}


def _without_personal(body: Mapping[str, object]) -> dict[str, object]:
    return {name: value if name in _NAMES else _redacted(value) for name, value in body.items()}


def _redacted(value: Any) -> Any:
    from llmops_tui.privacy.replacement import mark, replace_in_text

    if isinstance(value, str):
        return replace_in_text(value, mark)[0]
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if isinstance(value, dict):
        # What a key says is as much said; a role is no person's word.
        return {_redacted(key): item if key == "role" else _redacted(item) for key, item in value.items()}
    return value
