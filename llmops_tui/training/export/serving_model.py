"""The GGUF model that serves what is trained from a base."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model
    from llmops_tui.training.runs import RunStore


def serving_model(store: RunStore, wanted: str, base: Model) -> Model | None:
    """The GGUF model of a base's weights: the one named, the base itself, one made of it, or else one of the same shape."""
    if wanted:
        return store.registry.get(wanted)
    if base.kind == "gguf":
        return base
    models = [m for m in store.registry.all() if m.kind == "gguf" and m.present]
    made = store.catalog.read(
        lambda connection: {
            r[0] for r in connection.execute("SELECT output FROM lineage WHERE input = ?", [base.sha256]).fetchall()
        }
    )
    order = ["F32", "BF16", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"]
    models.sort(key=lambda m: (m.sha256 not in made, order.index(m.quantization) if m.quantization in order else 99))
    for model in models:
        alike = all(model.header.get(f) == base.header.get(f) for f in ("layers", "embedding_length", "vocabulary"))
        if model.sha256 in made or alike:
            return model
    return None
