"""Whether a model thinks before its answer, and for how long."""

from __future__ import annotations

from llmops_tui.inference.engine_wire import ThinkingRecord
from llmops_tui.inference.server.conversation import Prompt
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.schemas import ChatRequest
from llmops_tui.inference.server.served_format import ServedFormat
from llmops_tui.inference.server.template_features import variables_of
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.inference.wire import Warned


def template_variables(
    chat: ServedFormat, given: Variables, enabled: bool | None, effort: str | None = None
) -> Variables:
    """Further variables of the template: those that are given, and what makes it think or not, if ``enabled`` says so.

    Raises:
        FieldRefusedError: as :func:`variables_of`.
    """
    if enabled is None:
        return variables_of(chat, given, effort)
    try:
        return variables_of(chat, given | {"enable_thinking": enabled}, effort)
    except FieldRefusedError as error:
        asked_here = error.param == "chat_template_kwargs.enable_thinking" and "enable_thinking" not in given
        raise error.renamed("enable_thinking") if asked_here else error from error


def variables_asked(chat: ServedFormat, body: ChatRequest) -> Variables:
    """The further variables that a chat completion asks for."""
    return template_variables(chat, body.chat_template_kwargs, body.enable_thinking, body.reasoning_effort)


def budget_unused(chat: ServedFormat, budget: int | None, param: str) -> list[Warned]:
    """What is told of a budget that has nothing to end, since the model does not think."""
    unused = bool(budget) and chat.answers.thinking is None
    return [Warned(param=param, message="this model does not think")] if unused else []


def thinking_held(chat: ServedFormat, prompt: Prompt, budget: int | None) -> ThinkingRecord | None:
    """How thinking is held to a budget; none without one, and where the model does not think, or has thought already."""
    thinking = chat.answers.thinking
    if budget is None or thinking is None or not thinking.marks.after:
        return None
    before, after = thinking.marks.before, thinking.marks.after
    opening = chat.opening_of(prompt.text) if prompt.begun is None else prompt.begun
    if after in opening:
        return None
    # Where thinking is a message of its own, the next one begins behind it.
    follow = chat.answers.assistant.before if after in chat.answers.ends else ""
    opened = not before or before in opening
    return {"before": before, "after": after, "follow": follow, "open": opened, "budget": budget}
