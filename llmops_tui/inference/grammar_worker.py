"""The process that tries grammars before an engine gets them: ``PATH [MARK …]``; short of memory, of time, and killable.

``PATH`` is the model's file, of which it loads the vocabulary alone; the marks are control tokens that are text. A
request is a line with a form (:mod:`.forms`); the answer ``{"grammar"}``, which compiled and allows a few tokens within
the engine's own limits, or ``{"error"}``.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.forms import grammar_of

_MORE_MEMORY = 512 * 1024 * 1024
_CPU_SECONDS = 2.0
_STEPS = 8
_STEP_SECONDS = 0.1
_PRIME = 7919


def main() -> None:
    """Answer requests until standard input ends."""
    out = os.dup(1)
    os.dup2(2, 1)
    from llmops_tui.inference.engine.grammar import make_tokenizer

    vocab, vocabulary = _vocabulary(sys.argv[1])
    tokenizer = make_tokenizer(vocab, sys.argv[2:])
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + _MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin.buffer:
        # Time of the processor, not of the clock: a busy machine makes no grammar costly. The signal ends the process,
        # whatever native code it is in.
        signal.setitimer(signal.ITIMER_VIRTUAL, _CPU_SECONDS)
        answer = _answer(json.loads(line), tokenizer, vocabulary)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        data = json.dumps(answer).encode() + b"\n"
        while data:
            data = data[os.write(out, data) :]


def _vocabulary(path: str) -> tuple[Any, int]:
    import llama_cpp

    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    vocab = llama_cpp.llama_model_get_vocab(llama_cpp.llama_model_load_from_file(path.encode(), params))
    return vocab, int(llama_cpp.llama_vocab_n_tokens(vocab))


def _answer(form: dict[str, Any], tokenizer: Any, vocabulary: int) -> dict[str, Any]:
    try:
        grammar = grammar_of(form)
        if grammar:
            _try(tokenizer, grammar, vocabulary)
    except LlmopsError as error:
        told = error.as_dict()
        if form.get("type") != "grammar":
            told["message"] = told["message"].replace("the grammar", "the JSON schema", 1)
            if told["code"] == "grammar_invalid":
                told |= {"code": "schema_invalid", "hint": "Leave that part out, and check it afterwards."}
        return {"error": told}
    except (RecursionError, MemoryError):
        return {"error": _costly("it nests too deep").as_dict()}
    return {"grammar": grammar}


def _try(tokenizer: Any, grammar: str, vocabulary: int) -> None:
    """Compile a grammar and take some steps in it, always by another of the tokens that it allows."""
    from llmops_tui.inference.engine.grammar import Matcher

    matcher = Matcher(tokenizer, grammar, vocabulary)
    for step in range(_STEPS):
        before = time.process_time()
        allowed = matcher.allowed()
        if time.process_time() - before > _STEP_SECONDS:
            raise _costly("a single token takes too long")
        goes_on = [int(t) for t in allowed[step * _PRIME % max(1, len(allowed)) :][:2] if not matcher.ends(int(t))]
        if not goes_on:
            return
        matcher.take(goes_on[0])
        if matcher.finished:
            return


def _costly(reason: str) -> InputRefusedError:
    return InputRefusedError("grammar_too_costly", f"the grammar is too costly: {reason}")


if __name__ == "__main__":
    main()
