"""The registered models as clients list them: in OpenAI's form, and in Ollama's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NotRequired, TypedDict

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.router.catalogue import Listing
from llmops_tui.inference.router.targets import Target
from llmops_tui.inference.server.apis.ollama_models import listed
from llmops_tui.models.registry import Model


class ModelEntry(TypedDict):
    """A model as ``/v1/models`` lists it; ``state`` is ``loaded``, ``loading`` or ``not_loaded``.

    A served prompt is listed by the name it is asked by, as an alias of its model, with the version that answers.
    """

    id: str
    object: str
    created: int
    owned_by: str
    state: str
    alias_of: NotRequired[str]
    prompt: NotRequired[str]
    prompt_sha256: NotRequired[str]


def model_entries(listing: Listing, loaded: Collection[str], loading: Collection[str]) -> list[ModelEntry]:
    """Every name that a request may have as it stands: models, with each of their adapters, and aliases."""
    found: dict[str, ModelEntry] = {}
    for name, model in _named(listing).items():
        state = "loading" if model.name in loading else "loaded" if model.name in loaded else "not_loaded"
        found[name] = {
            "id": name,
            "object": "model",
            "created": int(model.added_at),
            "owned_by": "local",
            "state": state,
        }
        if name in listing.aliases:
            found[name]["alias_of"] = listing.aliases[name]
    return list(found.values())


def prompt_entries(prompts: Sequence[tuple[str, Target]], models: Sequence[ModelEntry]) -> list[ModelEntry]:
    """Served prompts, by the names they are asked by."""
    states = {entry["id"]: entry["state"] for entry in models}
    found: list[ModelEntry] = []
    for name, target in prompts:
        assert target.prompt is not None
        version = target.prompt.version
        found.append(
            {
                "id": name,
                "object": "model",
                "created": int(version.created_at),
                "owned_by": "local",
                "state": states.get(target.meant.name, "not_loaded"),
                "alias_of": target.meant.name,
                "prompt": version.ref,
                "prompt_sha256": version.sha256,
            }
        )
    return found


def tag_entries(listing: Listing, only: Collection[str] | None = None) -> list[JsonObject]:
    """The same names in Ollama's form; or only those of these models."""
    return [
        {"name": name, "model": name, **_facts(model)}
        for name, model in _named(listing).items()
        if only is None or model.name in only
    ]


def _named(listing: Listing) -> dict[str, Model]:
    """By name, the model that is loaded for it."""
    found: dict[str, Model] = {}
    for model in listing.served:
        for name in (model.name, *(f"{model.name}+{adapter.name}" for adapter in listing.adapters_of(model))):
            found[name] = model
    return found | {alias: found[target] for alias, target in listing.aliases.items() if target in found}


def _facts(model: Model) -> JsonObject:
    kind = (model.header.get("architecture") or "", model.header.get("parameters") or 0, model.quantization)
    return listed(model.size_bytes, model.sha256, model.added_at, kind)
