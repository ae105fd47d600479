"""The prompts by which rows are asked for, kept as versions like any others, and the conversations that they become."""

from __future__ import annotations

from typing import TypedDict

from llmops_tui.datasets.records import Row, dump_json
from llmops_tui.inference.answer_settings import refuse_settings
from llmops_tui.inference.template_renderer import TemplateRenderer, Variables
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.prompts.store import PromptStore, PromptVersion
from llmops_tui.synthesis.plan import SynthesisPlan, Way
from llmops_tui.synthesis.shape import RowShape
from llmops_tui.synthesis.tasks import Seed, Task


class BuiltIn(TypedDict):
    """A prompt that comes with the program."""

    name: str
    system: str
    template: str


# Examples are turns of the conversation: what was asked for each, and the row as its answer.
_ROWS: BuiltIn = {
    "name": "synthesise-rows",
    "system": "You write rows of a dataset, each as a JSON object with {{ fields | join(', ') }}. They are realistic and varied."
    "{% if guidance %} {{ guidance }}{% endif %}",
    "template": "{% for name, value in given.items() %}{{ name }}: {{ value }}\n{% endfor %}"
    "{% if topic %}topic: {{ topic }}\n{% endif %}"
    "{% if again %}Write another row, in other words.{% else %}Write a row.{% endif %}",
}
_PARAPHRASE: BuiltIn = {
    "name": "synthesise-paraphrase",
    "system": "You say texts in other words. Their meaning, names and numbers stay."
    "{% if guidance %} {{ guidance }}{% endif %}",
    "template": "Say this in other words, and keep its meaning:\n\n{{ text }}",
}
_TRANSLATION: BuiltIn = {
    "name": "synthesise-translation",
    "system": "You are a translator. You reply with the translation and nothing else."
    "{% if guidance %} {{ guidance }}{% endif %}",
    "template": "Translate into {{ language }}:\n\n{{ text }}",
}
BUILT_IN: dict[Way, BuiltIn] = {"rows": _ROWS, "paraphrase": _PARAPHRASE, "back-translation": _TRANSLATION}
LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "et": "Estonian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian",
    "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sk": "Slovak", "sl": "Slovenian", "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def prompt_of(plan: SynthesisPlan, prompts: PromptStore) -> PromptVersion:
    """The prompt version that asks; the built-in one is kept, so that it can be looked at and changed.

    Raises:
        NotFoundError: the plan names one that is not there.
        InputRefusedError: ``settings_unsupported``: it holds more than texts.
    """
    if plan.prompt:
        version = prompts.get(plan.prompt)
        refuse_settings(version, "the synthesis of rows, whose plan says model, sampling, shape and examples,")
        return version
    own = BUILT_IN[plan.way]
    version, _ = prompts.save(
        own["name"], template=own["template"], system=own["system"], note="asks for synthetic rows", settings=None
    )
    return version


class Conversations:
    """Makes the conversation that asks for a row; what was rendered is kept, since most begin alike."""

    def __init__(self, plan: SynthesisPlan, prompt: PromptVersion, shape: RowShape, renderer: TemplateRenderer) -> None:
        self._plan, self._prompt, self._shape, self._renderer = plan, prompt, shape, renderer
        self._known: dict[str, str] = {}

    @property
    def ref(self) -> str:
        """The version of the prompt that asks."""
        return self._prompt.ref

    def for_row(self, task: Task) -> list[ChatMessage]:
        """The conversation of a task for a new row: the examples as turns, then the question."""
        turns: list[ChatMessage] = []
        shown = [*task.shown, *([task.base] if task.base is not None else [])]
        for seed in shown:
            asked = self._asked("", seed, again=False)
            turns.append(ChatMessage(role="user", content=asked))
            turns.append(ChatMessage(role="assistant", content=_answer_text(seed.answer)))
        turns.append(ChatMessage(role="user", content=self._asked(task.topic, task.base, again=bool(shown))))
        return [*self._system(), *turns]

    def for_text(self, text: str, language: str = "") -> list[ChatMessage]:
        """The conversation that asks for a text in other words, or in another language."""
        named = LANGUAGES.get(language, language)
        return [*self._system(), ChatMessage(role="user", content=self._said({"text": text, "language": named}))]

    def _system(self) -> list[ChatMessage]:
        if not self._prompt.system.strip():
            return []
        return [ChatMessage(role="system", content=self._rendered(self._prompt.system, {}))]

    def _asked(self, topic: str, seed: Seed | None, *, again: bool) -> str:
        given: Row = self._shape.given(seed.row) if seed is not None else {}
        return self._said({"topic": topic, "given": given, "again": again})

    def _said(self, variables: Variables) -> str:
        return self._rendered(self._prompt.template, variables)

    def _rendered(self, template: str, variables: Variables) -> str:
        defaults = {"topic": "", "given": {}, "again": False, "text": "", "language": ""}
        fields = {"fields": list(self._shape.write), "guidance": self._plan.guidance}
        named = {**defaults, **fields, **variables}
        key = f"{template}\0{dump_json(named)}"
        if key not in self._known:
            self._known[key] = self._renderer.render(template, named).strip()
        return self._known[key]


def _answer_text(answer: Row) -> str:
    """A row as the model is to write it: as JSON with blanks, which the grammar has too."""
    import json

    return json.dumps(answer, ensure_ascii=False)
