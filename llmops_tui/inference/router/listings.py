"""The registered models as clients list them: in OpenAI's form, and in Ollama's."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import NotRequired, TypedDict

from llmops_tui.inference.router.catalogue import Listing
from llmops_tui.inference.server.apis.ollama_models import TagEntry, tag_details
from llmops_tui.models.registry import Model


class ModelEntry(TypedDict):
    """A model as ``/v1/models`` lists it; ``state`` is ``loaded``, ``loading`` or ``not_loaded``."""

    id: str
    object: str
    created: int
    owned_by: str
    state: str
    alias_of: NotRequired[str]


def model_entries(listing: Listing, loaded: Collection[str], loading: Collection[str]) -> list[ModelEntry]:
    """Every name that a request may have as it stands: models, with each of their adapters, and aliases."""
    found: dict[str, ModelEntry] = {}
    for model in listing.served:
        for name in (model.name, *(f"{model.name}+{adapter.name}" for adapter in listing.adapters_of(model))):
            found[name] = _entry(name, model, loaded, loading)
    for alias, target in listing.aliases.items():
        if target in found:
            found[alias] = {**found[target], "id": alias, "alias_of": target}
    return list(found.values())


def _entry(name: str, model: Model, loaded: Collection[str], loading: Collection[str]) -> ModelEntry:
    state = "loading" if model.name in loading else "loaded" if model.name in loaded else "not_loaded"
    return {"id": name, "object": "model", "created": int(model.added_at), "owned_by": "local", "state": state}


def tag_entries(listing: Listing, only: Collection[str] | None = None) -> list[TagEntry]:
    """The models, or only those of these names, in Ollama's form."""
    return [_tag(model) for model in listing.served if only is None or model.name in only]


def _tag(model: Model) -> TagEntry:
    added = dt.datetime.fromtimestamp(model.added_at, dt.UTC)
    parameters = model.header.get("parameters") or 0
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": added.isoformat(),
        "size": model.size_bytes,
        "digest": model.sha256,
        "details": tag_details(model.header.get("architecture") or "", parameters, model.quantization),
    }
