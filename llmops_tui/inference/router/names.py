"""The model that a request means: its registered name, an alias, or a name as other programs write it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from llmops_tui.errors import LlmopsError
from llmops_tui.models.adapter_fit import adapter_beside, fitting
from llmops_tui.models.names import name_of_file
from llmops_tui.models.registry import Model

_NEAR = 5
# The type of weights at the end of a name, as files and repositories have it: Q4_K_M, UD-IQ2_XXS, F16, MXFP4.
_TYPE = re.compile(
    r"(?:^|[-._:@ ])(?:UD-)?((?:I?Q[1-8]|TQ[12])(?:[_-](?:K|0|1|XXS|XS|S|M|L|XL|NL))*|BF16|FP?(?:16|32)|MXFP4)$",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[^\W\d_]+|\d+")
_HOSTS = ("https://", "http://", "hf:", "hf.co/", "huggingface.co/", "ollama.com/", "registry.ollama.ai/", "library/")
# Words that packages of a model have beside its name, and those that a name of a tuned model may leave out.
_PACKAGING = {"gguf", "latest"}
_TUNED = {"instruct", "it", "chat"}
Words = tuple[str, ...]


@dataclass(frozen=True)
class Meant:
    """A model, and the name that its server knows it by: its own, or with an adapter ``name+adapter``."""

    model: Model
    name: str


@dataclass(frozen=True)
class _Foreign:
    """A name as others write it: who publishes it, its words, and the type of its weights; empty where it does not say."""

    repository: str
    words: Words
    type: str


def resolve(asked: str, models: Iterable[Model], aliases: Mapping[str, str] | None = None) -> Meant:
    """The model that ``asked`` means.

    Tried in this order: the registered name; an alias; both whatever their case, and without ``:latest``; then the name as
    others write it, such as ``qwen3:8b`` or ``Qwen/Qwen3-8B-GGUF:Q4_K_M``, where exactly one model goes by it. ``aliases``
    are names by alias; an alias may stand for ``name+adapter``.

    Raises:
        LlmopsError: ``model_not_found``, ``model_ambiguous``, ``adapter_not_found`` or ``adapter_misfit``, naming the near ones;
            ``model_not_served``: it is none that is loaded on this machine.
    """
    known = {model.name: model for model in models}
    base, plus, adapter = asked.partition("+")
    found = _find(base, known, aliases or {})
    if plus and "+" in found:
        raise LlmopsError("adapter_not_found", f"{base[:100]!r} stands for {found!r}, which has an adapter already")
    name, _, own = (f"{found}+{adapter}" if plus else found).partition("+")
    model = known.get(name)
    if model is None:
        raise LlmopsError(
            "model_not_found", f"{base[:100]!r} is an alias of {name!r}, which is not registered any more"
        )
    if model.kind != "gguf":
        raise LlmopsError(
            "model_not_served",
            f"{name!r} is of kind {model.kind}, and only GGUF models are served here",
            f"Served: {_listed(m.name for m in known.values() if m.kind == 'gguf')}.",
        )
    return Meant(model, f"{name}+{_adapter(own, model, known)}" if own else name)


def near(asked: str, names: Iterable[str]) -> list[str]:
    """The names that are most like what was asked for; some of them where none is like it."""
    by_fold = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(asked.casefold(), by_fold, n=_NEAR, cutoff=0.4)
    first = _foreign(asked).words[:1]
    akin = [fold for fold, name in by_fold.items() if first and _foreign(name).words[:1] == first and fold not in close]
    return [by_fold[fold] for fold in [*close, *akin][:_NEAR] or [*by_fold][:_NEAR]]


def _find(asked: str, known: Mapping[str, Model], aliases: Mapping[str, str]) -> str:
    """The registered name, with an adapter or without, that a text stands for."""
    if asked in known:
        return asked
    if asked in aliases:
        return aliases[asked]
    served = [model for model in known.values() if model.kind == "gguf"]
    folded = _plain(asked)
    own = {name for name in known if _plain(name) == folded}
    own |= {target for alias, target in aliases.items() if _plain(alias) == folded}
    found = sorted(own) or _by_foreign_name(asked, served)
    if len(found) == 1:
        return found[0]
    if found:
        raise LlmopsError(
            "model_ambiguous", f"{asked[:100]!r} may be {' or '.join(map(repr, found[:_NEAR]))}", "Ask for one of them."
        )
    names = [model.name for model in served]
    hint = f"Near: {_listed(near(asked, [*names, *aliases]))}." if names else "llmops model add registers one."
    raise LlmopsError("model_not_found", f"no model {asked[:100]!r} is registered here", hint)


def _by_foreign_name(asked: str, models: list[Model]) -> list[str]:
    """The models that others would call so, by the surest sign that any of them has."""
    meant = _foreign(asked)
    if not meant.words:
        return []
    fitting = [m for m in models if not meant.type or _same_type(meant.type, m.quantization)]

    def called(model: Model) -> set[Words]:
        return {_foreign(model.name).words}

    def packed(model: Model) -> set[Words]:
        return {_foreign(text).words for text in (name_of_file(model.path.name), _repository(model)) if text}

    def tuned(names: Callable[[Model], set[Words]]) -> Callable[[Model], bool]:
        return lambda model: meant.words in {tuple(w for w in words if w not in _TUNED) for words in names(model)}

    signs: list[Callable[[Model], bool]] = [
        lambda model: bool(meant.repository) and _foreign(_repository(model)).repository == meant.repository,
        lambda model: meant.words in called(model),
        lambda model: meant.words in packed(model),
        tuned(called),
        tuned(packed),
    ]
    return next((found for sign in signs if (found := sorted(m.name for m in fitting if sign(m)))), [])


def _repository(model: Model) -> str:
    """Where a model was fetched from, as ``hf:OWNER/NAME``; empty where it came from elsewhere."""
    source = model.header.get("source") or ""
    return source if source.startswith("hf:") else ""


def _foreign(text: str) -> _Foreign:
    plain = text.casefold()
    while host := next((h for h in _HOSTS if plain.startswith(h)), ""):
        plain = plain.removeprefix(host)
    place, _, tag = plain.partition(":")
    kind = ""
    parts = []
    for part in (PurePosixPath(place).name.removesuffix(".gguf"), tag):
        if typed := _TYPE.search(part):
            kind, part = typed[1].upper(), part[: typed.start()]  # noqa: PLW2901  its end is taken off
        parts.append(part)
    words = tuple(word for part in parts for word in _WORDS.findall(part) if word not in _PACKAGING)
    return _Foreign(place if "/" in place else "", words, kind)


def _same_type(one: str, other: str) -> bool:
    def plain(name: str) -> str:
        return name.upper().replace("-", "_").replace("FP", "F")

    return plain(one) == plain(other)


def _plain(name: str) -> str:
    return name.casefold().removesuffix(":latest")


def _adapter(asked: str, model: Model, known: Mapping[str, Model]) -> str:
    """The registered adapter of a model, whatever the case of its name.

    Raises:
        LlmopsError: ``adapter_not_found``, ``adapter_misfit``.
    """
    fits = [one.name for one in fitting(known.values(), model)]
    found = [name for name in fits if name == asked] or [name for name in fits if name.casefold() == asked.casefold()]
    return found[0] if len(found) == 1 else adapter_beside(model, asked, known.values()).name


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:_NEAR]) + (f" and {len(found) - _NEAR} more" if len(found) > _NEAR else "")
