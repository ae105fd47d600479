"""What a promptfoo configuration may say: the keys that are carried, with their types; those refused, and those told."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject

Tell = Callable[[str], None]

_CODE = "it runs code of the file's author"
_WEB = "it asks a service in the network"


def refused(where: str, why: str, hint: str = "") -> InputRefusedError:
    """A configuration that cannot be read as promptfoo reads it: where, why, and what to do."""
    return InputRefusedError("bad_suite", f"{where}: {why}", hint)


class Keys(BaseModel):
    """Part of a configuration.

    ``refuses`` are keys with the reason why they are, ``tells`` keys that change nothing here, with what is told of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    refuses: ClassVar[dict[str, str]] = {}
    tells: ClassVar[dict[str, str]] = {}

    @classmethod
    def read(cls, given: Any, where: str, tell: Tell) -> Self:
        """Check a part; what changes nothing is told.

        Raises:
            InputRefusedError: ``bad_suite``: a key is unknown, refused or of another type.
        """
        if not isinstance(given, dict):
            raise refused(where, f"it is {_kind(given)}, not a mapping")
        known = {field.alias or name for name, field in cls.model_fields.items()}
        kept: JsonObject = {}
        for key, value in given.items():
            place = f"{where}.{key}" if where else str(key)
            if value is None and key not in known:
                continue
            if key in cls.refuses:
                why, _, hint = cls.refuses[key].partition("|")
                raise refused(place, why, hint or "Remove it, or write the suite in llmops' own format.")
            if key in cls.tells:
                tell(f"{place}: {cls.tells[key]}")
            elif key not in known:
                close = get_close_matches(str(key), [*known, *cls.refuses, *cls.tells], 1)
                raise refused(
                    place, "promptfoo has no such key", f"Did you mean {close[0]}?" if close else "Remove it."
                )
            else:
                kept[key] = value
        try:
            return cls.model_validate(kept)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, (where, *first["loc"]))).strip(".")
            raise refused(place, first["msg"]) from error


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", type(None): "empty"}.get(type(value), f"the value {value!r}"[:60])


class Options(Keys):
    """``options`` of a test."""

    prefix: str = ""
    suffix: str = ""
    repeat: Annotated[int, Field(ge=1)] | None = None
    provider: str | None = None
    disable_var_expansion: Annotated[bool, Field(alias="disableVarExpansion")] = False
    disable_default_asserts: Annotated[bool, Field(alias="disableDefaultAsserts")] = False

    refuses: ClassVar[dict[str, str]] = {
        "postprocess": _CODE,
        "transform": f"{_CODE}|Have the assertions take the answer as it is.",
        "transformVars": _CODE,
        "storeOutputAs": "later tests would depend on the answers to earlier ones|A chain of prompts does that: see chain.",
        "rubricPrompt": "the judge here has a prompt of its own|Write a metric {type: judge, template: …} in a suite.",
        "factuality": "it belongs to an assertion that is refused",
    }
    tells: ClassVar[dict[str, str]] = {
        "disableConversationVar": "no prompt sees earlier answers here",
        "runSerially": "the order of requests changes no answer here",
    }


class Assertion(Keys):
    """One assertion, or a set of them."""

    type: str
    value: Any = None
    threshold: float | int | None = None
    weight: Annotated[float | int, Field(ge=0)] = 1
    metric: str = ""
    provider: Any = None
    asserts: Annotated[list[Any] | None, Field(alias="assert")] = None

    refuses: ClassVar[dict[str, str]] = {
        "transform": f"{_CODE}|Have the assertion take the answer as it is.",
        "contextTransform": _CODE,
        "rubricPrompt": "the judge here has a prompt of its own|Write a metric {type: judge, template: …} in a suite.",
        "config": "it is handed to code or to assertions that are refused",
    }


class Test(Keys):
    """One test, or what all tests have (``defaultTest``)."""

    description: str = ""
    vars: Any = None
    asserts: Annotated[list[Any] | None, Field(alias="assert")] = None
    options: JsonObject | None = None
    threshold: float | int | None = None
    prompts: list[str] | None = None
    metadata: JsonObject | None = None

    refuses: ClassVar[dict[str, str]] = {
        "provider": "a test with a model of its own is not asked here|Write it in a file of its own, and run it with --model.",
        "providers": "a test for some models alone is not asked here|Write it in a file of its own, and run it with --model.",
        "providerOutput": "an answer that is given in the file is not one of a model",
        "assertScoringFunction": f"{_CODE}|Weights and thresholds are carried.",
    }


class Scenario(Keys):
    """Tests for several sets of values."""

    description: str = ""
    config: list[Any]
    tests: Any = None


class Prompt(Keys):
    """One prompt with a name."""

    id: str = ""
    label: str = ""
    raw: str = ""

    refuses: ClassVar[dict[str, str]] = {
        "config": "settings of single prompts are not carried|Give them to the provider, or run the prompt in a suite.",
        "function": _CODE,
        "template": "promptfoo fills it in itself",
    }
    tells: ClassVar[dict[str, str]] = {"display": "it is a name for promptfoo's own pages"}


class Provider(Keys):
    """A model of promptfoo's; of it the parameters are carried."""

    id: str = ""
    label: str = ""
    config: JsonObject | None = None

    refuses: ClassVar[dict[str, str]] = {
        "prompts": "prompts for some models alone are not carried|Write a file for each model.",
        "transform": _CODE,
        "inputs": "models with several inputs are not asked here",
    }
    tells: ClassVar[dict[str, str]] = {
        "delay": "requests are not slowed down here",
        "env": "models here need none",
    }


class EvaluateOptions(Keys):
    """``evaluateOptions``."""

    repeat: Annotated[int, Field(ge=1)] | None = None

    refuses: ClassVar[dict[str, str]] = {
        "generateSuggestions": f"{_WEB} for prompts",
        "suggestionsCount": f"{_WEB} for prompts",
        "isRedteam": "red teams of promptfoo are not read",
        "filterRange": "it asks some tests alone|llmops eval run --limit asks a sample.",
    }
    tells: ClassVar[dict[str, str]] = dict.fromkeys(
        (
            "maxConcurrency",
            "delay",
            "cache",
            "showProgressBar",
            "timeoutMs",
            "maxEvalTimeMs",
            "silent",
            "interactiveProviders",
        ),
        "how requests are run is set by llmops eval run",
    )


class CommandLineOptions(Keys):
    """``commandLineOptions``: those that only say how promptfoo runs are told, the others refused."""

    refuses: ClassVar[dict[str, str]] = dict.fromkeys(
        (
            "prompts", "providers", "vars", "tests", "config", "assertions", "modelOutputs", "grader", "filterErrorsOnly",
            "filterFailing", "filterFailingOnly", "filterFirstN", "filterMetadata", "filterPattern", "filterPrompts",
            "filterProviders", "filterRange", "filterSample", "filterSampleSeed", "filterTargets", "var", "repeat",
            "promptPrefix", "promptSuffix", "generateSuggestions", "suggestionsCount", "extension", "envPath",
        ),
        "it changes what is asked|Write it into the tests, or give it to llmops eval run.",
    )  # fmt: skip
    tells: ClassVar[dict[str, str]] = dict.fromkeys(
        (
            "description", "output", "maxConcurrency", "delay", "verbose", "tableCellMaxLength", "write", "cache", "table",
            "share", "noShare", "progressBar", "watch", "tags", "retryErrors",
        ),
        "it is for promptfoo's own command line",
    )  # fmt: skip


class Configuration(Keys):
    """The whole file."""

    description: str = ""
    prompts: Any = None
    providers: Any = None
    targets: Any = None
    tests: Any = None
    scenarios: list[Any] | None = None
    default_test: Annotated[Any, Field(alias="defaultTest")] = None
    evaluate_options: Annotated[Any, Field(alias="evaluateOptions")] = None
    command_line_options: Annotated[Any, Field(alias="commandLineOptions")] = None

    refuses: ClassVar[dict[str, str]] = {
        "nunjucksFilters": _CODE,
        "extensions": _CODE,
        "derivedMetrics": "formulas over metrics are not carried|Metrics by name, weights and thresholds are.",
        "redteam": "red teams of promptfoo are not read|The bundled suites jailbreak and injection ask for refusals.",
        "plugins": "red teams of promptfoo are not read",
        "strategies": "red teams of promptfoo are not read",
        "tracing": "traces of promptfoo's providers do not exist here",
        "env": "it sets the environment of promptfoo's providers, and templates may read it|Models here need none: remove it.",
    }
    tells: ClassVar[dict[str, str]] = {
        "outputPath": "llmops eval export writes results",
        "sharing": "nothing is shared",
        "writeLatestResults": "every run is kept",
        "tags": "they are not kept",
        "metadata": "they are not kept",
        "$schema": "it names the format",
    }


PARAMETERS = ("temperature", "max_tokens", "top_p", "top_k", "min_p", "seed", "stop", "frequency_penalty",
              "presence_penalty", "repeat_penalty")  # fmt: skip
# How a provider is reached, and what it costs: models here are known by name.
REACHED = {
    "apiKey", "apiKeyEnvar", "apiHost", "apiBaseUrl", "apiVersion", "organization", "headers", "cost", "inputCost",
    "outputCost", "basePath", "showThinking", "timeout", "maxRetries", "url",
}  # fmt: skip
