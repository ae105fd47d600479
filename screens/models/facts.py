"""The facts of one model as text: metadata, memory, and the state of its engine."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_wire import Health
from llmops_tui.models.registry import Model
from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.training.records import ProofStep
from screens.widgets import units
from screens.widgets.proof import proof_table

if TYPE_CHECKING:
    from screens.services import Services

Part = str | tuple[str, str] | Content
# The column of values, and the room for them before anybody knows how wide the text is.
_VALUES, _ROOM = 16, 50


@dataclass(frozen=True)
class Details:
    """What takes a look at files and servers: the memory a model needs, and its engine's state where it runs."""

    memory: dict[str, Any] = field(default_factory=dict)
    engine: Health = field(default_factory=Health)
    problem: str = ""
    key: str = ""
    proof: list[ProofStep] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    made_from: list[tuple[str, str]] = field(default_factory=list)
    # Where all models are served together; empty where they are not.
    shared_address: str = ""


def size_text(size: int) -> str:
    """Bytes as people read them."""
    if size < 1e5:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def read_details(services: Services, model: Model, available: dict[str, int]) -> Details:
    """Read them; ``available`` is what can be taken of each device. Blocks; for a thread."""
    from llmops_tui.inference.approved_keys import host_of, is_approved, variable_of
    from llmops_tui.inference.memory_reservation import plan
    from llmops_tui.inference.options import options_from
    from llmops_tui.inference.remote import find_key
    from llmops_tui.inference.supervisor import ALL_MODELS, health
    from llmops_tui.models.aliases import AliasBook
    from llmops_tui.workspace.lineage import made_from
    from llmops_tui.workspace.trust import untrusted_reason

    if model.kind == "remote":
        variable = variable_of(model)
        if untrusted_reason(services.workspace):
            return Details(key="not read until the workspace is trusted")
        # A keyring may take its time, or ask its owner.
        if not find_key(model):
            return Details(key=f"none in {variable} or the keyring")
        url = str(model.header["url"])
        return Details(
            key="found" if is_approved(variable, url) else f"never approved for {host_of(url)}; see llmops trust"
        )
    proof = services.proof(model)
    inputs = services.catalog.read(lambda connection: made_from(connection, model.sha256))
    if model.kind != "gguf":
        return Details(proof=proof, made_from=inputs)
    memory: dict[str, Any] = {}
    problem = ""
    try:
        planned = plan(services.workspace, model, options_from(services.settings))
        fits = all(size <= available.get(device, 0) for device, size in planned.sizes.items())
        memory = planned.needed.as_dict() | {
            "device": planned.device,
            "fits": fits,
            "sizes": planned.sizes,
            "cache_types": planned.options.cache_types,
            "cache_bytes": planned.options.cache_bytes,
            "notes": planned.notes,
            "draft": planned.draft,
        }
    except LlmopsError as error:
        problem = error.message
    handle = services.servers.find(model.name)
    engine = health(handle) if handle is not None else Health()
    aliases = AliasBook(services.models.catalog).of(model.name)
    router = services.servers.find(ALL_MODELS)
    place = "" if router is None else f"{router.address}/v1" if router.address else f"unix:{router.socket}"
    return Details(memory, engine, problem, proof=proof, aliases=aliases, shared_address=place, made_from=inputs)


def facts(model: Model, *, loaded: bool, details: Details, width: int = 0) -> Content:
    """All of it, for so many columns."""
    rows = _remote_rows(model, details) if model.kind == "remote" else _file_rows(model, loaded=loaded)
    room = width - _VALUES if width > 2 * _VALUES else _ROOM
    parts = _rows(rows, room)
    if model.kind == "remote":
        lacks = model.header.get("lacks") or {}
        parts.append(("\nMissing features\n", "bold"))
        parts += [f"{safe_line(str(name))}: {safe_line(str(why))}\n" for name, why in lacks.items()] or ["nothing\n"]
        return Content.assemble(*parts)
    parts += _rows(_known_rows(details), room)
    if details.problem:
        parts += [("\n" + safe_line(details.problem) + "\n", "$error")]
    if details.engine.get("state"):
        parts += [("\nEngine\n", "bold"), *_rows(_engine_rows(details.engine), room)]
    elif details.engine:
        parts += [("\nEngine\n", "bold"), *_rows(_waiting_rows(details.engine), room)]
    if details.memory:
        parts += [("\nMemory before loading\n", "bold"), *_rows(_memory_rows(details.memory), room)]
    if details.proof:
        parts += [
            ("\nVerification: compared with the adapter on its base in transformers\n", "bold"),
            proof_table(details.proof),
        ]
    if model.kind == "gguf":
        template = model.header.get("chat_template")
        parts += [("\nChat template\n", "bold"), safe_text(str(template)) if template else "none in the file"]
    return Content.assemble(*parts)


def _counted(parameters: int) -> str:
    """So many in few digits, and exactly."""
    short = units.count(parameters)[0]
    return short if short == f"{parameters:,}" else f"{short} ({parameters:,})"


def _rows(rows: list[tuple[str, Any]], room: int = _ROOM) -> list[Part]:
    parts: list[Part] = []
    for name, value in rows:
        text = safe_line(str(value if value is not None else "not given"))
        beside = "\n" + " " * _VALUES
        parts += [(f"{name:{_VALUES - 1}} ", "$muted"), beside.join(_pieces(text, room)) + "\n"]
    return parts


def _pieces(text: str, room: int) -> list[str]:
    """A text in pieces that stand below each other: between words, a path behind its folders, a hash where it is full."""
    if len(text) <= room:
        return [text]
    if (blank := text.rfind(" ", 0, room + 1)) > 0:
        return [text[:blank], *_pieces(text[blank + 1 :], room)]
    end = text.rfind("/", 0, room) + 1 or room
    return [text[:end], *_pieces(text[end:], room)]


def _remote_rows(model: Model, details: Details) -> list[tuple[str, Any]]:
    there = model.header.get("remote_model")
    rows = [("address", model.header.get("url")), ("remote model", there), ("key", details.key)]
    adapters = ", ".join(model.header.get("adapters") or ())
    return rows + [
        (name, told) for name, told in (("server", model.header.get("server")), ("adapters", adapters)) if told
    ]


_STATES = {
    "gguf": "not loaded", "adapter": "is applied to a model",
    "safetensors": "can be trained; llmops model convert makes a GGUF file to serve",
}  # fmt: skip


def _known_rows(details: Details) -> list[tuple[str, Any]]:
    """What the workspace knows of the model beside its file."""
    inputs = ", ".join(f"{name}, by {kind}" for name, kind in details.made_from)
    address = details.shared_address and f"{details.shared_address}, with all models"
    found = [("made from", inputs), ("aliases", ", ".join(details.aliases)), ("served at", address)]
    return [(name, told) for name, told in found if told]


def _sizes(header: dict[str, Any]) -> list[tuple[str, Any]]:
    """Those that the file tells: an adapter has none."""
    found = [
        ("context", "context_length", " tokens"),
        ("layers", "layers", ""),
        ("vocabulary", "vocabulary", " tokens"),
    ]
    return [(name, f"{int(header[key]):,}{unit}") for name, key, unit in found if header.get(key)]


def _file_rows(model: Model, *, loaded: bool) -> list[tuple[str, Any]]:
    header = model.header
    verified = time.strftime("%Y-%m-%d %H:%M", time.localtime(model.verified_at)) if model.verified_at else "never"
    rows = [
        ("state", "loaded" if loaded else _STATES.get(model.kind, "")),
        ("architecture", header.get("architecture")),
        ("quantization", model.quantization),
        ("parameters", _counted(int(header.get("parameters") or 0))),
        *_sizes(dict(header)),
        ("licence", header.get("license")),
        ("size", size_text(model.size_bytes)),
        ("file", str(model.path)),
        ("SHA-256", model.sha256),
        ("last verified", verified),
    ]
    # Most files say the name that the model has here.
    if header.get("name") != model.name:
        rows.insert(-3, ("name in file", header.get("name")))
    if header.get("source"):
        places = [header.get(key) for key in ("source", "origin", "source_file", "revision")]
        rows.append(("downloaded from", ", ".join(str(place) for place in places if place)))
    if int(header.get("shards") or 1) > 1:
        rows.insert(-3, ("in files", header["shards"]))
    return rows


def _memory_rows(memory: dict[str, Any]) -> list[tuple[str, Any]]:
    fits = "yes" if memory["fits"] else "no"
    requests = counted(memory["parallel"], "request")
    kinds = "/".join(dict.fromkeys(memory["cache_types"]))
    rows = [
        ("weights", size_text(memory["weights"])),
        (
            "KV cache",
            f"{size_text(memory['kv_cache'])}  {kinds}, {memory['context']:,} tokens × {requests}",
        ),
        ("step buffers", f"{size_text(memory['compute'])}, estimated"),
        ("embeddings", f"{size_text(memory['embedding'])}, estimated"),
        ("processes", size_text(memory["processes"])),
    ]
    if memory["gpu_overhead"]:
        rows.append(("GPU overhead", f"{size_text(memory['gpu_overhead'])}, their runtime and copies"))
    if memory["draft"]:
        rows.append(("draft model", size_text(memory["draft"])))
    on = dict(zip((d for d in memory["sizes"] if d != "host"), memory["on"], strict=False))
    for device, size in memory["sizes"].items():
        layers = f"  {on[device]} of {memory['layers'] + 1} layers" if device in on else ""
        rows.append((f"on {device}" if device != "host" else "on the host", f"{size_text(size)}{layers}"))
    rows += [
        ("fits now", f"{fits}: on {memory['device']}"),
        ("in addition", f"up to {size_text(memory['cache_bytes'])} for cached prompts"),
    ]
    return rows + [("note", note) for note in memory["notes"]]


def _engine_rows(facts_: Health) -> list[tuple[str, Any]]:
    state = facts_["state"]
    prompt, reused = int(state["prompt_tokens"]), int(state["reused_tokens"])
    used, capacity = int(state["cached_tokens"]), max(1, int(state["cache_capacity"]))
    rows = [
        (
            "requests",
            f"{state['running']} running, {facts_['waiting']} waiting, {state['requests']:,} since it was loaded",
        ),
        ("context", f"{facts_['n_ctx']:,} tokens × {facts_['parallel']}, {used / capacity:.0%} in use"),
        ("prefix reuse", f"{reused / prompt:.0%} of {prompt:,} prompt tokens" if prompt else "no request yet"),
        ("cached prompts", f"{state['snapshots']}, {size_text(int(state['snapshot_bytes']))}"),
        ("generated", f"{int(state['generated_tokens']):,} tokens"),
    ]
    if state["drafted_tokens"]:
        share = state["accepted_tokens"] / state["drafted_tokens"]
        rows.append(("speculation", f"{share:.0%} of {int(state['drafted_tokens']):,} guesses were right"))
    return rows + _trouble_rows(facts_)


def _waiting_rows(facts_: Health) -> list[tuple[str, Any]]:
    """An engine that does not answer now: it loads, it died, or it is left alone for a while."""
    told = str(facts_.get("status", "silent"))
    if told == "loading" and facts_.get("phase") == "loading":
        told = f"loading, {facts_['share']:.0%}"
    elif told == "failing":
        told = f"keeps crashing; restarts in {facts_['retry_in_s']:.0f} s"
    return [("state", told), *_trouble_rows(facts_)]


def _trouble_rows(facts_: Health) -> list[tuple[str, Any]]:
    rows = []
    if facts_.get("last_failure"):
        rows.append(("last failure", facts_["last_failure"]))
    if fallback := facts_.get("fallback"):
        rows += [("runs", fallback["told"]), ("since", fallback["cause"]), ("remedy", fallback["remedy"])]
    return rows
