"""The process that checks grammars before an engine gets them, and finished answers against their schemas.

Started as ``PATH [MARK …]``; limited in memory and time, and killable.

``PATH`` is the model's file, of which it loads the vocabulary alone; the marks are control tokens that are text. A
request is a line ``SECONDS SLICE FORM``: the processor's time that the form (:mod:`.forms`) may take, and how long of the
clock the answer may be waited for. The answer is ``{"grammar"}``, which compiled and allows a few tokens within the
engine's own limits, ``{"error"}``, ``{"ended": "time"}``, ``{"killed"}`` with how, where that came from outside, or
``{"paused"}``: the same request again goes on with it.

Each form is tried in a fork, which has the vocabulary already, so that ending one costs no start.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.constraints import Form, Held, Verdict, enforced, in_words_of, refusal_of_tool, too_costly
from llmops_tui.inference.helper_process import SENT
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.inference.schema_loosening import Doubts
from llmops_tui.inference.schema_validation import prepare, problems_of
from llmops_tui.jobs.process import describe_exit, die_with_parent

_MORE_MEMORY = 512 * 1024 * 1024
# A form that takes longer than this yields to the streams, too.
_QUICK_SECONDS = 0.2
_STEPS = 8
_STEP_SECONDS = 0.1
_PRIME = 7919


def main() -> None:
    """Answer requests until standard input ends."""
    out = os.dup(1)
    os.dup2(2, 1)
    # A fork has the thread that forked alone.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from llmops_tui.inference.engine.grammar import make_tokenizer

    vocab, vocabulary = _vocabulary(sys.argv[1])
    tokenizer = make_tokenizer(vocab, sys.argv[2:])
    # Forks have what was imported before them.
    prepare()
    paused: _Trial | None = None
    for line in sys.stdin.buffer:
        seconds, slice_seconds, form = line.split(b" ", 2)
        if paused is not None and paused.line == line:
            trial, paused = paused, None
        else:
            trial = _Trial(line, form, float(seconds), tokenizer, vocabulary)
        answer = trial.run(float(slice_seconds))
        if answer is None:
            if paused is not None:
                paused.end()
            paused, answer = trial, b'{"paused": true}\n'
        while answer:
            answer = answer[os.write(out, answer) :]


def _vocabulary(path: str) -> tuple[Any, int]:
    import llama_cpp

    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise SystemExit(f"error: llama.cpp cannot load the vocabulary of {path}")
    vocab = llama_cpp.llama_model_get_vocab(model)
    return vocab, int(llama_cpp.llama_vocab_n_tokens(vocab))


class _Trial:
    """One form in a process of its own, which runs only while :meth:`run` does."""

    def __init__(self, line: bytes, form: bytes, seconds: float, tokenizer: Any, vocabulary: int) -> None:
        self.line = line
        self._answer = b""
        self._reader, writer = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._reader)
                _limit(seconds, parent)
                answer = json.dumps(_answer(form, tokenizer, vocabulary)).encode() + b"\n"
                while answer:
                    answer = answer[os.write(writer, answer) :]
            finally:
                os._exit(0)
        os.close(writer)

    def run(self, seconds: float) -> bytes | None:
        """The answer; or nothing after so long of the clock, and it stands still."""
        os.kill(self._pid, signal.SIGCONT)
        deadline = time.monotonic() + seconds
        while select.select([self._reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = os.read(self._reader, 1 << 16)
            if not part:
                os.close(self._reader)
                status = os.waitpid(self._pid, 0)[1]
                return self._answer if self._answer.endswith(b"\n") else _ending(os.waitstatus_to_exitcode(status))
            self._answer += part
        os.kill(self._pid, signal.SIGSTOP)
        return None

    def end(self) -> None:
        """End it where it stands."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._reader)


def _limit(seconds: float, parent: int) -> None:
    die_with_parent(parent)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + _MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if seconds > _QUICK_SECONDS:
        with contextlib.suppress(OSError):
            os.nice(10)
    # Time of the processor, not of the clock: a busy machine makes no grammar costly. The signal ends the process,
    # whatever native code it is in.
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _ending(code: int) -> bytes:
    if code == -signal.SIGPROF:
        return b'{"ended": "time"}\n'
    if -code in SENT:
        return json.dumps({"killed": describe_exit(code, None)}).encode() + b"\n"
    # Python and native code alike end where their address space does, by an exception, SIGABRT or SIGSEGV.
    return json.dumps({"error": too_costly("it required too much memory").as_dict()}).encode() + b"\n"


def _answer(line: bytes, tokenizer: Any, vocabulary: int) -> Verdict:
    try:
        form: Form = json.loads(line)
        if form.get("type") == "answer":
            return _checked(form)
        found = _compiled(form, tokenizer, vocabulary)
    except LlmopsError as error:
        refusal = in_words_of(form.get("type"), error)
        if refusal.code == "schema_invalid" and (name := _tool_that_fails(form, tokenizer, vocabulary)):
            return refusal_of_tool(name, refusal)
        return {"error": refusal.as_dict()}
    except (RecursionError, MemoryError):
        return {"error": too_costly("it nests too deep").as_dict()}
    return {"grammar": found.grammar, "told": list(found.told), "checked": found.checked}


def _checked(question: Form) -> Verdict:
    """What a finished answer does not keep of a schema."""
    try:
        return {"problems": problems_of(question["schema"], question["text"])}
    except ValueError as error:
        return {"unsure": str(error)}


def _compiled(form: Form, tokenizer: Any, vocabulary: int) -> Held:
    """How a form is enforced, tried; schemas that are refused are loosened step by step."""

    def tried(doubts: Doubts | None) -> Held:
        found = enforced(form, doubts)
        if found.grammar:
            _try(tokenizer, found.grammar, vocabulary)
        return found

    def holds(schema: Schema) -> bool:
        try:
            Matcher(tokenizer, enforced({"type": "json_schema", "json_schema": {"schema": schema}}).grammar, vocabulary)
        except LlmopsError as error:
            return error.code != "grammar_invalid"
        return True

    from llmops_tui.inference.engine.grammar import Matcher

    last: LlmopsError | None = None
    for doubts in (None, Doubts(holds), Doubts(holds, any_of=True)):
        try:
            return tried(doubts)
        except LlmopsError as error:
            if error.code != "grammar_invalid" or form.get("type") == "grammar":
                raise
            last = error
    assert last is not None
    raise last


def _tool_that_fails(form: Form, tokenizer: Any, vocabulary: int) -> str:
    """The name of the first function that is refused alone as well; the library tells no place in a grammar of several."""
    for function in form.get("functions", ()):
        alone: Form = {**form, "functions": [function], "required": True}
        alone.pop("answer", None)
        try:
            _compiled(alone, tokenizer, vocabulary)
        except LlmopsError:
            return function["name"]
    return ""


def _try(tokenizer: Any, grammar: str, vocabulary: int) -> None:
    """Compile a grammar and take some steps in it, always by another of the tokens that it allows."""
    from llmops_tui.inference.engine.grammar import Matcher

    matcher = Matcher(tokenizer, grammar, vocabulary)
    for step in range(_STEPS):
        before = time.process_time()
        allowed = matcher.allowed()
        if time.process_time() - before > _STEP_SECONDS:
            raise too_costly("a single token takes too long")
        goes_on = [int(t) for t in allowed[step * _PRIME % max(1, len(allowed)) :][:2] if not matcher.ends(int(t))]
        if not goes_on:
            return
        matcher.take(goes_on[0])
        if matcher.finished:
            return


if __name__ == "__main__":
    main()
