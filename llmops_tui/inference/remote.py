"""Remote models: any OpenAI-compatible endpoint, its key, and its capabilities."""

from __future__ import annotations

import ipaddress
import os
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from llmops_tui.bounded_http import read_short
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.inference.approved_keys import host_of, is_approved, key_variable, variable_of
from llmops_tui.models.records import Remote
from llmops_tui.models.registry import Model
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.trust import HOW, require_trust

_SERVICE = "llmops"
_SECONDS = 10.0
# Who says of itself whose models these are.
_PROGRAMS = {"vllm", "llamacpp", "sglang"}
# All of one answer, however slowly its bytes come.
_WHOLE_SECONDS = 60.0
# What is asked of an endpoint to learn whether it offers it, and what is missing where it does not.
_LACKS = {
    "tokenize": "no token counts before a run",
    "logprobs": "no log-probabilities of answers",
    "echo": "no log-probabilities of given texts: no perplexity, no multiple choice by likelihood",
    "json_schema": "answers are not constrained by a schema",
    "seed": "a seed is not honoured, or not reported as honoured",
    "load_adapters": "no adapters while it runs: only those that it was started with",
}
# vLLM's own doors, which it has where it was started with VLLM_ALLOW_RUNTIME_LORA_UPDATING; asked with nothing they refuse it.
_LOAD_ADAPTER = "/v1/load_lora_adapter"
_TELLS_FAULT = {400, 422}


@dataclass(frozen=True)
class RemoteHandle:
    """A model behind a URL: its name here, what the endpoint calls it, and the key it asks for."""

    model: str
    sha256: str
    url: str
    served_name: str
    key: str


def check_url(url: str) -> str:
    """The base URL, without a trailing ``/v1``.

    Raises:
        InputRefusedError: it is no http(s) URL, carries a secret, or sends a key in the clear over a network.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputRefusedError("bad_url", f"{url!r} is not an http or https URL")
    if parts.username or parts.password or parts.query:
        raise InputRefusedError(
            "url_with_secret", "the URL carries a name, password or query", "Give a key with --key-env instead."
        )
    return url.rstrip("/").removesuffix("/v1")


def find_key(model: Model) -> str:
    """A model's key, from the environment or the keyring; empty where there is none. It is never kept in the workspace."""
    if key := os.environ.get(variable_of(model), ""):
        return key
    try:
        import keyring
    except ImportError:
        return ""
    try:
        return keyring.get_password(_SERVICE, model.name) or ""
    except Exception:  # noqa: BLE001  a keyring that is locked or absent raises what its back end likes
        return ""


def store_key(name: str, key: str) -> None:
    """Put a model's key into the keyring.

    Raises:
        LlmopsError: there is no keyring here.
    """
    hint = f"Set {key_variable(name)} in the environment instead."
    try:
        import keyring

        keyring.set_password(_SERVICE, name, key)
    except ImportError as error:
        raise LlmopsError("no_keyring", "the keyring package is not installed", hint) from error
    except Exception as error:
        raise LlmopsError("no_keyring", f"the keyring refused: {type(error).__name__}", hint) from error


def open_remote(workspace: Workspace, model: Model) -> RemoteHandle:
    """The way to a remote model that is registered in a workspace.

    Raises:
        InputRefusedError: ``workspace_untrusted``; ``key_unapproved``: this user never gave its key to that host;
            ``key_in_clear``: its key would go over a network unencrypted.
    """
    url = check_url(str(model.header["url"]))
    require_trust(workspace, f"{model.name!r} would send requests to {url}")
    key = find_key(model)
    if key and not is_approved(variable_of(model), url):
        raise InputRefusedError(
            "key_unapproved",
            f"the key {variable_of(model)} of {model.name!r} was never approved for {host_of(url)} on this machine",
            HOW,
        )
    parts = urlsplit(url)
    if key and parts.scheme == "http" and not _is_near(parts.hostname or ""):
        raise InputRefusedError(
            "key_in_clear", f"the key of {model.name!r} would be sent unencrypted to {parts.hostname}", "Use https."
        )
    return RemoteHandle(model.name, model.sha256, url, str(model.header["remote_model"]), key)


def probe_remote(url: str, key: str, wanted: str | None = None) -> Remote:
    """What an endpoint offers.

    Raises:
        LlmopsError: it cannot be reached, refuses the key, or has no such model.
    """
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=_SECONDS, follow_redirects=False) as client:
            started = time.monotonic()
            status, listed = _ask(client, "GET", "/v1/models")
            latency = (time.monotonic() - started) * 1000
            if status in {401, 403}:
                raise LlmopsError("key_refused", f"{url} refused the key", "Give the correct key with --key-env NAME.")
            if status != 200:
                where = ", a redirect, which is not followed" if 300 <= status < 400 else ""
                raise LlmopsError("endpoint_unreachable", f"{url}/v1/models answers {status}{where}", "Check the URL.")
            names = [str(m["id"]) for m in listed["data"]]
            if wanted is not None and wanted not in names:
                raise InputRefusedError(
                    "remote_model_unknown", f"{url} does not serve {wanted!r}", f"It serves: {', '.join(names[:20])}."
                )
            if wanted is None and len(names) != 1:
                raise InputRefusedError(
                    "remote_model_unclear", f"{url} serves {len(names)} models", f"Choose one: {', '.join(names[:20])}."
                )
            served = wanted or names[0]
            offers = _offers(client, served)
            told = {str(m["id"]): m for m in listed["data"]}
            server = _server(client, told[served])
    except httpx.HTTPError as error:
        raise LlmopsError(
            "endpoint_unreachable", f"{url}: {error}", "Check that the server is running and that the URL is correct."
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise LlmopsError("not_openai_compatible", f"{url}/v1/models did not respond as OpenAI's API does") from error
    lacks = {name: text for name, text in _LACKS.items() if name not in offers}
    context = told[served].get("max_model_len")
    return {
        "models": names,
        "remote_model": served,
        "lacks": lacks,
        "latency_ms": latency,
        "server": server,
        # vLLM lists an adapter as a model of its own, with the one that it goes beside as its parent.
        "adapters": [name for name, one in told.items() if one.get("parent") == served],
        "context_length": context if isinstance(context, int) else None,
    }


def load_adapter(url: str, key: str, name: str, path: str) -> None:
    """Have an endpoint load an adapter that lies on its own machine, under a name by which it is asked from then on.

    Raises:
        LlmopsError: ``adapter_load_failed``: it does not offer that, or the adapter cannot be loaded, with its words.
    """
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=_WHOLE_SECONDS, follow_redirects=False) as client:
            deadline = time.monotonic() + _WHOLE_SECONDS
            body = {"lora_name": name, "lora_path": path}
            with client.stream("POST", _LOAD_ADAPTER, json=body) as response:
                said, status = read_short(response, url, until=deadline), response.status_code
    except httpx.HTTPError as error:
        raise LlmopsError("endpoint_unreachable", f"{url}: {error}", "Check that the server is running.") from error
    if status == 200:
        return
    why = f"HTTP {status}: {said.decode('utf-8', 'replace')[:300]}"
    hint = "The path is one of the server's machine, and vLLM has to be started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."
    raise LlmopsError("adapter_load_failed", f"{url} does not load the adapter {name!r}: {why}", hint)


def _server(client: Any, entry: JsonObject) -> str:
    """The program behind an endpoint, with its version; empty where it does not say."""
    status, told = _ask(client, "GET", "/version")
    version = told.get("version") if status == 200 and isinstance(told, dict) else None
    owner = entry.get("owned_by")
    program = owner if isinstance(owner, str) and owner in _PROGRAMS else ""
    return f"{program} {version}".strip() if isinstance(version, str) else program


def _ask(client: Any, method: str, path: str, body: JsonObject | None = None) -> tuple[int, Any]:
    """The status of an answer and, where it is good, what it says."""
    deadline = time.monotonic() + _WHOLE_SECONDS
    with client.stream(method, path, json=body) as response:
        raw = read_short(response, str(client.base_url), until=deadline)
        return response.status_code, parse_json(raw) if response.status_code == 200 else None


def _offers(client: Any, served: str) -> set[str]:
    found = set()
    # llama-server's name of the text, and vLLM's; given both, a server may refuse what it cannot honour.
    bodies = ({"model": served, name: "a"} for name in ("content", "prompt"))
    if any(_ask(client, "POST", "/tokenize", body)[0] == 200 for body in bodies):
        found.add("tokenize")
    turn = {"model": served, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    status, answer = _ask(client, "POST", "/v1/chat/completions", turn | {"logprobs": True, "top_logprobs": 1})
    if status == 200 and answer["choices"][0].get("logprobs"):
        found.add("logprobs")
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": [1]}}}
    if _ask(client, "POST", "/v1/chat/completions", turn | {"response_format": schema})[0] == 200:
        found.add("json_schema")
    if _ask(client, "POST", "/v1/chat/completions", turn | {"seed": 1})[0] == 200:
        found.add("seed")
    if _echoes(client, served):
        found.add("echo")
    # Asked to load nothing, a door that is there tells what is missing.
    if _ask(client, "POST", _LOAD_ADAPTER, {})[0] in _TELLS_FAULT:
        found.add("load_adapters")
    return found


def _echoes(client: Any, served: str) -> bool:
    """Whether given tokens are told with their log-probabilities: of the first there is none, of the second there is."""
    body: JsonObject = {"model": served, "prompt": "The cat sat", "max_tokens": 1, "echo": True, "logprobs": 1}
    status, answer = _ask(client, "POST", "/v1/completions", body)
    told = answer["choices"][0].get("logprobs") if status == 200 else None
    given = (told or {}).get("token_logprobs") or []
    return len(given) > 1 and isinstance(given[1], (int, float))


def _is_near(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
