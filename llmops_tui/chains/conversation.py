"""A conversation as the inputs of a chain: where one is served as a model, and where a dataset's rows are conversations."""

from __future__ import annotations

from collections.abc import Sequence

from llmops_tui.chains.definition import Chain
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.inference.wire import ChatMessage


def inputs_of(chain: Chain, messages: Sequence[ChatMessage]) -> Variables:
    """What the inputs are in a conversation: one of the type messages has all of it, one text its only turn.

    Raises:
        InputRefusedError: ``bad_conversation``: it has more than the chain takes, or the chain needs more than it has.
    """
    wanted = [one for one in chain.inputs.values() if one.required]
    whole = next((one for one in chain.inputs.values() if one.type == "messages"), None)
    if whole is not None and all(one is whole for one in wanted):
        return {whole.name: [{"role": str(m.get("role")), "content": text_of(m)} for m in messages]}
    texts = [one for one in wanted if one.type == "text"] or [
        one for one in chain.inputs.values() if one.type == "text"
    ]
    others = [one.name for one in wanted if one not in texts[:1]]
    if not texts or others:
        names = ", ".join(one.name for one in wanted) or "none that is a text"
        raise InputRefusedError(
            "bad_conversation",
            f"a conversation fills one input, and the chain needs {names}",
            "Give the others a default, or take an input of the type messages.",
        )
    if len(messages) != 1 or messages[0].get("role") != "user":
        raise InputRefusedError(
            "bad_conversation",
            f"the chain takes one turn of the user's as {texts[0].name!r}, not {len(messages)} turns with other roles",
            "Send one user message, or give the chain an input of the type messages.",
        )
    return {texts[0].name: text_of(messages[0])}


def text_of(message: ChatMessage) -> str:
    """The text of a turn.

    Raises:
        InputRefusedError: ``bad_conversation``: it has something else, such as an image.
    """
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    if not parts or len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise InputRefusedError("bad_conversation", "a turn of the conversation is no text", "Send texts alone.")
    return "".join(str(text) for text in texts)
