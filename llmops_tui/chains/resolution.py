"""A chain with all that it names looked up: prompts, models, indexes, functions; and the order in which steps are done.

What is wrong is found here, before anything runs: references to what is not there, circles, values of the wrong type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from llmops_tui.chains import calls
from llmops_tui.chains.definition import (
    Body,
    CallStep,
    Chain,
    ChainRefusedError,
    MapStep,
    ParseStep,
    Problem,
    PromptStep,
    RepeatStep,
    RetrieveStep,
    Step,
)
from llmops_tui.chains.tools import ChainTools
from llmops_tui.chains.yaml_lines import Place
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.answer_settings import PARTS, defaults_of, refuse_settings
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.prompts.store import PromptVersion
from llmops_tui.retrieval.store import Index

_JSON_TYPES = {
    "string": "text", "object": "object", "array": "list", "number": "number", "integer": "number", "boolean": "boolean",
}  # fmt: skip
Scope = Mapping[str, str]
"""The names that an expression may use, with the type of each: one of an input's types."""


@dataclass(frozen=True)
class ResolvedStep:
    """A step with what it names.

    ``values`` are the expressions of its variables, also of those that are taken by name. ``names`` are what each of its
    expressions uses.
    """

    step: Step
    values: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    prompt: PromptVersion | None = None
    index: Index | None = None
    dataset: DatasetVersion | None = None
    code: str = ""


@dataclass(frozen=True)
class Resolved:
    """A chain that can be run.

    ``orders`` has for each body, by its place, the names of its steps in the order in which they are done: those of one list
    need not wait for each other. ``names`` are the variables of each expression. ``pins`` are the versions that names stand
    for; ``models`` are all that are asked.
    """

    chain: Chain
    steps: Mapping[Place, ResolvedStep]
    orders: Mapping[Place, list[list[str]]]
    names: Mapping[str, tuple[str, ...]]
    pins: Mapping[str, str]

    @property
    def models(self) -> list[str]:
        """The models that are asked, each once."""
        return list(dict.fromkeys(one.model for one in self.steps.values() if one.model))

    @property
    def prompts(self) -> list[PromptVersion]:
        """The versions of prompts that are used, each once."""
        found = {one.prompt.ref: one.prompt for one in self.steps.values() if one.prompt is not None}
        return list(found.values())

    @property
    def indexes(self) -> list[Index]:
        """The indexes that are searched, each once."""
        return list({one.index.ref: one.index for one in self.steps.values() if one.index is not None}.values())


def resolve(chain: Chain, tools: ChainTools, *, model: str = "", pins: Mapping[str, str] | None = None) -> Resolved:
    """Look up all that a chain names. ``model`` answers where neither step nor chain name one; ``pins`` are of an earlier time.

    Raises:
        ChainRefusedError: ``bad_chain``: all that is wrong, each with its line.
    """
    resolver = _Resolver(chain, tools, model, dict(pins or {}))
    found = resolver.all()
    if resolver.problems:
        raise ChainRefusedError(resolver.problems)
    return found


def refuse_unasked(resolved: Resolved, model: str) -> None:
    """Refuse a model that was given for a chain in which no step would ask it.

    Raises:
        InputRefusedError: ``model_unused``.
    """
    if model and model not in resolved.models:
        asked = ", ".join(resolved.models) or "none"
        raise InputRefusedError(
            "model_unused",
            f"no step would ask {model}: the chain or its steps name theirs, {asked}",
            "Leave --model out, or change the model in the chain.",
        )


def problems_in(chain: Chain, tools: ChainTools, *, model: str = "") -> tuple[Resolved | None, list[Problem]]:
    """As :func:`resolve`, with the problems told and not raised."""
    try:
        return resolve(chain, tools, model=model), []
    except ChainRefusedError as error:
        return None, error.problems


class _Resolver:
    """Looks up a chain's names and collects what is wrong."""

    def __init__(self, chain: Chain, tools: ChainTools, model: str, pins: dict[str, str]) -> None:
        self._chain, self._tools, self._model, self._pins = chain, tools, model, pins
        self.problems: list[Problem] = []
        self._names: dict[str, tuple[str, ...]] = {}
        self._steps: dict[Place, ResolvedStep] = {}
        self._orders: dict[Place, list[list[str]]] = {}
        self._variables: dict[str, list[str]] = {}

    def all(self) -> Resolved:
        self._read_expressions()
        for step in self._chain.body.walk():
            self._look_up(step)
        if self._chain.model:
            self._check_model(self._chain.model, ("model",))
        scope = {one.name: one.type for one in self._chain.inputs.values()}
        self._body(self._chain.body, scope)
        return Resolved(self._chain, self._steps, self._orders, self._names, self._pins)

    def _bad(self, place: Place, message: str, hint: str = "") -> None:
        self.problems.append(self._chain.problem(place, message, hint))

    # ── expressions ──

    def _expressions(self, body: Body) -> Iterator[tuple[Place, str]]:
        if body.output:
            yield (*body.place, "output"), body.output
        for step in body.steps.values():
            for where, text in step.fields.expressions().items():
                yield (*step.place, *where.split(".")), text
            if isinstance(step.fields, RepeatStep) and step.fields.until:
                yield (*step.place, "until"), step.fields.until
            for inner in step.bodies.values():
                yield from self._expressions(inner)

    def _read_expressions(self) -> None:
        found = list(self._expressions(self._chain.body))
        for (place, text), told in zip(found, self._tools.process.names([text for _, text in found]), strict=True):
            if isinstance(told, str):
                self._bad(
                    place, f"{text[:60]!r} is no expression: {told}", "Such as label.urgency > 3, or items[0].text."
                )
                self._names[text] = ()
            else:
                self._names[text] = tuple(told)

    # ── what steps name ──

    def _look_up(self, step: Step) -> None:
        fields = step.fields
        try:
            if isinstance(fields, PromptStep):
                self._prompt(step, fields)
            elif isinstance(fields, RetrieveStep):
                self._retrieval(step, fields)
            elif isinstance(fields, MapStep) and fields.dataset:
                version = self._tools.datasets.get(self._pinned("dataset", fields.dataset))
                self._pins[f"dataset:{fields.dataset}"] = version.ref
                self._steps[step.place] = ResolvedStep(step, dataset=version)
            elif isinstance(fields, CallStep):
                self._steps[step.place] = ResolvedStep(step, fields.given, code=calls.source_of(fields.call))
            else:
                if isinstance(fields, ParseStep):
                    self._schema(fields.schema_, step.place)
                self._steps[step.place] = ResolvedStep(step)
        except LlmopsError as error:
            kind = "dataset" if isinstance(fields, MapStep) else step.kind
            self._bad((*step.place, kind), error.message, error.hint)

    def _pinned(self, kind: str, ref: str) -> str:
        return self._pins.get(f"{kind}:{ref}", ref)

    def _prompt(self, step: Step, fields: PromptStep) -> None:
        version = self._tools.prompts.get(self._pinned("prompt", fields.prompt))
        refuse_settings(version, "a step of a chain", honoured=[part for part in PARTS if part != "tools"])
        self._pins[f"prompt:{fields.prompt}"] = version.ref
        if version.ref not in self._variables:
            texts = f"{version.system}\n{version.template}"
            self._variables[version.ref] = self._tools.renderer.variables(texts)
        wanted = [name for name in self._variables[version.ref] if name != "retrieve"]
        for name in fields.given:
            if name not in wanted:
                near = get_close_matches(name, wanted, 1)
                hint = f"Did you mean {near[0]}?" if near else f"Its variables are {', '.join(wanted) or '(none)'}."
                self._bad((*step.place, "with", name), f"{version.ref} has no variable {name!r}", hint)
        if fields.schema_ is not None:
            self._schema(fields.schema_, step.place)
        held = version.settings.model if version.settings is not None else ""
        model = fields.model or held or self._chain.model or self._model
        if model and model != self._chain.model:
            self._check_model(model, (*step.place, "model"))
        # What no expression gives is taken from what has its name.
        values = {name: fields.given.get(name, name) for name in wanted}
        for name in values.values():
            self._names.setdefault(name, (name,))
        self._steps[step.place] = ResolvedStep(step, values, model, prompt=version)

    def _check_model(self, name: str, place: Place) -> None:
        try:
            self._tools.registry.writing(name)
        except (NotFoundError, InputRefusedError) as error:
            self._bad(place, error.message, error.hint or "llmops model list shows the registered ones.")

    def _retrieval(self, step: Step, fields: RetrieveStep) -> None:
        from llmops_tui.retrieval.retriever import WAYS

        index = self._tools.indexes.get(self._pinned("index", fields.retrieve))
        self._pins[f"index:{fields.retrieve}"] = index.ref
        if fields.by and fields.by not in WAYS:
            self._bad((*step.place, "by"), f"{fields.by!r} is no way to search", f"Ways: {', '.join(WAYS)}.")
        elif fields.by in {"vectors", "hybrid"} and index.spec is None:
            self._bad((*step.place, "by"), f"{index.ref} was built without an embedder", "Search by bm25.")
        self._steps[step.place] = ResolvedStep(step, index=index)

    def _schema(self, schema: Schema, place: Place) -> None:
        from llmops_tui.inference.schema_validation import broken_pattern, unreadable

        if wrong := unreadable(schema):
            self._bad((*place, "schema"), f"it is no JSON Schema: {wrong}")
        elif (broken := broken_pattern(schema)) is not None:
            self._bad((*place, "schema"), f"the pattern at {broken[0]} cannot be read: {broken[1]}")

    # ── names and order ──

    def _body(self, body: Body, scope: Scope) -> None:
        for name, step in body.steps.items():
            if name in scope:
                self._bad(step.place, f"{name!r} is the name of an input or of another step", "Choose another name.")
        own = {**scope, **{name: _type_of(step) for name, step in body.steps.items()}}
        needs: dict[str, set[str]] = {}
        for name, step in body.steps.items():
            needs[name] = self._needs(step, own, body)
        self._use(body.output, (*body.place, "output"), own)
        sorter = TopologicalSorter(needs)
        try:
            sorter.prepare()
        except CycleError as error:
            circle = list(reversed(error.args[1]))
            first = next(name for name in body.steps if name in circle)
            told = f"the steps need each other: {' needs '.join(circle)}"
            self._bad(body.steps[first].place, told, "What goes round is a repeat, with how often at most.")
            return
        order: list[list[str]] = []
        places = {name: number for number, name in enumerate(body.steps)}
        while sorter.is_active():
            ready = sorted(sorter.get_ready(), key=places.__getitem__)
            order.append(ready)
            sorter.done(*ready)
        self._orders[body.place] = order

    def _needs(self, step: Step, scope: Scope, body: Body) -> set[str]:
        """The steps of a body that a step of it needs before; what it names is checked."""
        fields = step.fields
        used: set[str] = set()
        for where, text in fields.expressions().items():
            used |= self._use(text, (*step.place, *where.split(".")), scope)
        self._check_types(step, scope)
        found = self._steps.get(step.place)
        if found is not None and found.prompt is not None:
            known = {*scope, *defaults_of(found.prompt.settings)}
            for name, text in found.values.items():
                if isinstance(fields, PromptStep) and name not in fields.given:
                    if name not in known:
                        told = f"{found.prompt.ref} needs the variable {name!r}, and nothing here is called so"
                        self._bad(step.place, told, f"Say what it is: with: {{{name}: …}}.")
                    used |= {text}
        for name in fields.after:
            if name not in body.steps:
                self._unknown(name, (*step.place, "after"), list(body.steps))
            used.add(name)
        for inner in step.bodies.values():
            self._body(inner, self._inner_scope(step, scope))
            used |= self._free(inner)
        if isinstance(fields, RepeatStep) and fields.until:
            inner = step.bodies["round"]
            inside = {**self._inner_scope(step, scope), **{name: _type_of(one) for name, one in inner.steps.items()}}
            used |= self._use(fields.until, (*step.place, "until"), inside)
        return used & set(body.steps) - ({step.name} if step.bodies else set())

    def _inner_scope(self, step: Step, scope: Scope) -> Scope:
        # Of its own result a step inside knows nothing.
        outer = {name: type_ for name, type_ in scope.items() if name != step.name}
        if isinstance(step.fields, MapStep):
            return {**outer, step.fields.as_: "object" if step.fields.dataset else "any"}
        if isinstance(step.fields, RepeatStep):
            return {**outer, "previous": "any", "round": "number"}
        return outer

    def _free(self, body: Body) -> set[str]:
        """All names that a body's expressions use; what it has itself may be among them."""
        found = {name for _, text in self._expressions(body) for name in self._names.get(text, ())}
        for step in body.walk():
            if (known := self._steps.get(step.place)) is not None and known.prompt is not None:
                found |= {name for text in known.values.values() for name in self._names.get(text, ())}
            found |= set(step.fields.after)
        return found

    def _use(self, text: str, place: Place, scope: Scope) -> set[str]:
        used = set(self._names.get(text, ())) if text else set()
        for name in sorted(used - set(scope)):
            self._unknown(name, place, list(scope))
        return used

    def _unknown(self, name: str, place: Place, known: list[str]) -> None:
        near = get_close_matches(name, known, 1)
        elsewhere = any(name in body.steps for step in self._chain.body.walk() for body in step.bodies.values())
        hint = (
            f"Did you mean {near[0]}?"
            if near
            else "It is a step inside of another one, whose output is all that is known outside."
            if elsewhere
            else f"Known here: {', '.join(known) or '(nothing)'}."
        )
        self._bad(place, f"nothing here is called {name!r}", hint)

    def _check_types(self, step: Step, scope: Scope) -> None:
        wanted = {
            ParseStep: ("parse", ("text",), "a text"),
            MapStep: ("map", ("list", "messages"), "a list"),
            RetrieveStep: ("query", ("text", "number"), "a text"),
        }.get(type(step.fields))
        if wanted is None:
            return
        name, types, told = wanted
        text = step.fields.expressions().get(name, "")
        type_ = scope.get(text, "any")
        if type_ not in {"any", *types}:
            self._bad((*step.place, name), f"{text!r} is of the type {type_}, and {told} is needed")


def _type_of(step: Step) -> str:
    """The type of a step's result, as far as it is known before."""
    fields = step.fields
    if isinstance(fields, PromptStep):
        return "text"
    if isinstance(fields, RetrieveStep):
        return "object"
    if isinstance(fields, MapStep):
        return "list"
    if isinstance(fields, ParseStep) and isinstance(kind := fields.schema_.get("type"), str):
        return _JSON_TYPES.get(kind, "any")
    return "any"


def part_of(chain: Chain, name: str) -> Step:
    """One step at the outermost level, by its name.

    Raises:
        NotFoundError: there is none.
    """
    if name not in chain.body.steps:
        raise NotFoundError("step", name, f"The chain's steps are {', '.join(chain.body.steps)}.")
    return chain.body.steps[name]


def names_in(resolved: Resolved, step: Step) -> set[str]:
    """All names that a step's expressions use, and those of the steps inside of it, whose own names may be among them."""
    texts = [*resolved.steps[step.place].values.values(), *step.fields.expressions().values()]
    if isinstance(step.fields, RepeatStep):
        texts.append(step.fields.until)
    found = {name for text in texts for name in resolved.names.get(text, ())}
    for body in step.bodies.values():
        found |= set(resolved.names.get(body.output, ()))
        for inner in body.steps.values():
            found |= names_in(resolved, inner)
    return found
