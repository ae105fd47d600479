"""Answers whose beginning is given in tokens: an alternative of a token is gone on with exactly, never tokenized again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from llmops_tui.inference.engine_wire import Call, EngineInfo, Told
from llmops_tui.inference.server.conversation import Prompt
from llmops_tui.inference.server.inputs import check_vocabulary
from llmops_tui.inference.server.served_format import ServedFormat


async def begun_with(
    chat: ServedFormat,
    prompt: Prompt,
    tokens: Sequence[int],
    info: EngineInfo,
    ask: Callable[[Call], Awaitable[Told]],
) -> Prompt:
    """The prompt with the tokens that its answer begins with.

    Raises:
        FieldRefusedError: one is not in the vocabulary.
    """
    given = list(tokens)
    check_vocabulary(given, info.get("n_vocab", 0), "answer_token_ids")
    text = str((await ask({"op": "detokenize", "tokens": given}))["text"])
    # The bytes of a character that is not whole come with the first token behind them.
    return replace(prompt, begun=chat.opening_of(prompt.text) + text.removesuffix("\ufffd"), begun_tokens=tuple(given))
