"""Metrics of installed packages: functions, and subclasses of Metric."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.metrics.built_in import METRICS
from llmops_tui.plugins import Plugins
from llmops_tui.workspace.files import sha256_text


@dataclass(frozen=True)
class Function:
    """A function of a package: called with an answer's text, what is expected and the variables.

    It returns a number, or a number and a reason.
    """

    call: Callable[[str, Any, dict[str, Any]], Any]


def _accept(name: str, given: object) -> type[Metric] | Function:
    """What a package registers: a subclass of Metric whose type is its name, or a function."""
    if isinstance(given, type):
        if not issubclass(given, Metric):
            raise TypeError(f"it is a class, but not a subclass of {Metric.__module__}.Metric")
        if given.model_fields["type"].default != name:
            raise ValueError(f"its type is {given.model_fields['type'].default!r}, which must be its name")
        return given
    if not callable(given):
        raise TypeError("it is neither a function nor a subclass of Metric")
    return Function(given)


PLUGINS: Plugins[type[Metric] | Function] = Plugins("metrics", _accept, lambda: {*METRICS, "python"})


def is_plugin(metric: Metric) -> bool:
    """Whether a metric's code is that of an installed package."""
    return METRICS.get(metric.type) is not type(metric)


def _name(metric: Metric) -> str:
    return metric.entry if isinstance(metric, Custom) else metric.type


def source_of(metric: Metric) -> tuple[str, str]:
    """The name of a metric and what its code comes from: package and version, or which revision of a built-in one.

    Empty for a built-in metric that measures as it always did.
    """
    if is_plugin(metric):
        plugin = PLUGINS.find(_name(metric))
        return _name(metric), "" if plugin is None else f"{plugin.package} {plugin.version}"
    return metric.type, f"revision {metric.revision}" if metric.revision > 1 else ""


def fingerprint(metric: Metric) -> str:
    """The hash of how a metric measures: its settings, and what its code comes from."""
    _, code = source_of(metric)
    # A metric without settings has the fingerprint that it had before there were any.
    unset = {"settings"} if isinstance(metric, Custom) and not metric.settings else set()
    # So does a judge without examples.
    unset |= {"examples"} if getattr(metric, "examples", None) == () else set()
    # And a harness's metric whose figure is a mean, as all were before others were known.
    unset |= {"aggregation"} if getattr(metric, "aggregation", "") == "mean" else set()
    return sha256_text(metric.model_dump_json(exclude={"prompt", *unset}) + code)


def at_work(metric: Metric) -> AbstractContextManager[None]:
    """Where a metric's code is called: what that of a package raises names the package."""
    if not is_plugin(metric):
        return nullcontext()
    return PLUGINS.at_work(_name(metric))


class Custom(Metric):
    """A metric of an installed package, registered under the entry point group ``llmops_tui.metrics``.

    It is a function, called with the answer's text, the expected value and the variables, which returns a number, or a
    number and a reason; or a class of its own, which takes ``settings``. A suite names the entry point; it cannot name a
    file, so that reading a suite never runs its author's code.
    """

    type: Literal["python"] = "python"
    entry: str
    settings: Annotated[dict[str, Any], Field(default_factory=dict, description="Of a class: what it takes.")]
    needs_expected: ClassVar[bool] = False

    @property
    def called(self) -> str:
        """Its name in results."""
        return self.name or self.entry

    def problem(self) -> str:
        """Why no installed package gives what the entry point names, where none does."""
        if (given := PLUGINS.get(self.entry)) is not None:
            if self.settings and isinstance(given, Function):
                return f"the metric {self.entry!r} is a function, and takes no settings"
            return ""
        known = ", ".join(PLUGINS.all()) or "none"
        nothing = f"no installed package registers {self.entry!r} under 'llmops_tui.metrics'; registered: {known}"
        return PLUGINS.problem(self.entry) or nothing

    def score(self, case: Case, answer: Answer) -> Score:
        """What the function says."""
        function = PLUGINS.get(self.entry)
        if not isinstance(function, Function):
            return Score(None, self.problem())
        found = function.call(answer.text, case.expected, case.variables)
        value, reason = found if isinstance(found, tuple) else (found, "")
        return Score(float(value), str(reason))
