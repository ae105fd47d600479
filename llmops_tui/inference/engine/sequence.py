"""One running request: its tokens, its sampler, its text and its figures."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.engine.grammar import Matcher
from llmops_tui.inference.engine.logprobs import log_normalizers, top_logprobs
from llmops_tui.inference.engine.native import NativeModel
from llmops_tui.inference.engine.prefix_cache import Mark
from llmops_tui.inference.engine.prompt_lookup import Draft
from llmops_tui.inference.engine.sampler import TokenSampler
from llmops_tui.inference.engine.thinking_budget import ThinkingBudget
from llmops_tui.inference.engine_wire import Event, Generated, TextEvent, TokenRecord
from llmops_tui.inference.streaming_text import StreamingText

if TYPE_CHECKING:
    # Checked by the server; the engine's process starts sooner without pydantic.
    from llmops_tui.inference.sampling import SamplingParameters

# Text is told at once when tokens are slower than this, else gathered: nobody reads faster than 50 pieces a second.
FLUSH_SECONDS = 0.02
# Scored tokens are told in parts of so many: with 20 alternatives one is a kilobyte of JSON.
SCORED_PART = 256


@dataclass(frozen=True)
class Request:
    """What is asked of the engine, in tokens.

    Attributes:
        logprobs: how many alternatives to tell beside each generated or scored token; none: no log-probabilities.
        score_from: index of the first given token whose log-probability is wanted; none: no given token's.
        truncate: what to do with a prompt longer than the context: ``""`` refuses it, ``left`` drops its beginning,
            ``middle`` keeps both ends.
        reuse: whether parts that were evaluated before may be taken from the cache.
        cut: how many tokens of what was given were left out before.
        hidden: how many of the first tokens were not given but added, and are not told of.
        sizes: whether the bytes of each token are told.
        ignore_eos: whether to go on after the model ended its answer.
        begun: how many of the last tokens are the beginning of the answer.
        thinking: what its thinking is held to; this request's alone, as the matcher is.
        matcher: what the answer is held to; it is this request's alone.
    """

    id: str
    tokens: list[int]
    parameters: SamplingParameters
    adapter: str = ""
    logprobs: int | None = None
    score_from: int | None = None
    matcher: Matcher | None = None
    truncate: str = ""
    reuse: bool = True
    cut: int = 0
    hidden: int = 0
    sizes: bool = False
    ignore_eos: bool = False
    begun: int = 0
    thinking: ThinkingBudget | None = None


@dataclass
class Slot:
    """One sequence of the context: the tokens its cache holds, the first ``evaluated`` of ``tokens``; a way back to fewer."""

    id: int
    tokens: list[int] = field(default_factory=list)
    evaluated: int = 0
    adapter: str = ""
    running: Running | None = None
    mark: Mark | None = None


class Running:
    """A request between its submission and its end.

    Raises:
        InputRefusedError: ``no_generation``, ``empty_prompt``, ``context_length_exceeded``, ``bad_token``,
            ``answer_ended``.
    """

    def __init__(
        self, request: Request, native: NativeModel, now: float, drafts: Callable[[], Draft] | None = None
    ) -> None:
        if not native.generates:
            kind, door = ("an embedding", "embeddings")
            if native.ranks:
                kind, door = ("a classifying", "classify") if native.labels else ("a reranking", "rerank")
            raise InputRefusedError(
                "no_generation", f"this model is {kind} model; it generates no text", f"Use /v1/{door}."
            )
        self.request = request
        self.truncated = request.cut
        self.tokens = self._fit(request, native)
        native.check_tokens(self.tokens)
        self.prompt_length = len(self.tokens)
        self.left = min(request.parameters.max_tokens, native.n_ctx - self.prompt_length)
        self.slot: Slot | None = None
        self.started = now
        self.made = 0
        self.reused = 0
        # What is held to a form or a budget, or told token by token, is not guessed ahead.
        guesses = request.logprobs is None and request.matcher is None and request.thinking is None
        self.draft = drafts() if drafts is not None and guesses else None
        self.failure: LlmopsError | None = None
        self._native = native
        self._sampler = TokenSampler(native, request.parameters, request.matcher, goes_on=request.ignore_eos)
        self.plain = self._sampler.plain_greedy
        self._text = StreamingText(request.parameters.stop)
        if request.begun:
            self._text.feed(self._cut_character(request, native))
        self._per_token = bool(request.parameters.stop) or request.logprobs is not None
        self._raw: list[bytes] = []
        self._sizes: list[int] = []
        self._out: list[str] = []
        self._records: list[tuple[int, TokenRecord]] = []
        self._decoded = self._released = 0
        self._scored: list[TokenRecord] = []
        self._scored_told = request.score_from is None
        # The first given token that has a log-probability of its own and none yet.
        self._unscored = max(1, request.score_from or 0)
        self._begun = self._told = False
        self._first_at: float | None = None
        self._last_at = now
        self._flushed_at = 0.0

    @property
    def missing(self) -> int:
        """How many of its tokens are not evaluated yet."""
        return len(self.tokens) - (self.slot.evaluated if self.slot is not None else 0)

    @property
    def reusable(self) -> int:
        """How many tokens of the prompt may come from a cache: the last one, and those scored, are evaluated here."""
        if not self.request.reuse:
            return 0
        if self.request.score_from is None:
            return len(self.tokens) - 1
        return min(len(self.tokens) - 1, max(0, self.request.score_from - 1))

    @property
    def wanted(self) -> int:
        """How many tokens it can use in one step."""
        return min(self.missing, self._native.batch if self.request.score_from is None else self._native.max_scored)

    def outputs(self, start: int, count: int) -> list[int]:
        """Which of the prompt's tokens from ``start`` on need logits."""
        flags = [0] * count
        if self.request.score_from is not None:
            # The logits at a token say how likely the one after it is.
            for index in range(max(start, self.request.score_from - 1), min(start + count, self.prompt_length - 1)):
                flags[index - start] = 1
        if start + count == len(self.tokens):
            flags[-1] = 1
        return flags

    def score(self, start: int, outputs: list[int], rows: Any) -> None:
        """Keep the log-probabilities of given tokens; ``rows`` are the logits of those with an output."""
        if self.request.score_from is None or start >= self.prompt_length:
            return
        places = [start + n for n, wanted in enumerate(outputs) if wanted]
        # What is evaluated once more, since a step was broken off, has been scored.
        scored = [(row, at + 1) for row, at in enumerate(places) if self._unscored <= at + 1 < self.prompt_length]
        if not scored:
            return
        self._unscored = scored[-1][1] + 1
        normalizers = log_normalizers(rows[: scored[-1][0] + 1])
        for row, place in scored:
            token = self.tokens[place]
            self._scored.append(self._record(token, rows[row], float(normalizers[row])))

    def take(self, row: Any, likeliest: int | None, now: float) -> str | None:
        """Choose the next token from its logits; returns why the request ends with it, or none.

        ``failed`` where there is no such token; :attr:`failure` then says why.
        """
        thinking = self.request.thinking
        forced = thinking.due() if thinking is not None else None
        try:
            if forced is not None:
                token = self._sampler.accept(forced)
            else:
                token = likeliest if likeliest is not None else self._sampler.choose(row)
        except LlmopsError as error:
            self.failure = error
            return "failed"
        self.made += 1
        self.left -= 1
        self._last_at = now
        if self._first_at is None:
            self._first_at = now
        # A mark of thinking may be a token that ends answers elsewhere.
        if token in self._native.ends and forced is None and not self.request.ignore_eos:
            return "stop"
        self.tokens.append(token)
        piece = self._native.piece(token)
        if thinking is not None:
            thinking.take(piece)
        if self.request.sizes:
            self._sizes.append(len(piece))
        if not self._per_token:
            self._raw.append(piece)
        else:
            self._take_slowly(token, piece, row)
            if self._text.stopped:
                return "stop"
        if self._sampler.finished:
            return "stop"
        return "length" if self.left <= 0 else None

    def _take_slowly(self, token: int, piece: bytes, row: Any) -> None:
        """Where stop strings or log-probabilities ask for it: every token's text on its own."""
        if self.request.logprobs is not None:
            normalizer = float(log_normalizers(row[None, :])[0])
            self._records.append((self._decoded, self._record(token, row, normalizer)))
        text = self._text.feed(piece)
        self._decoded = self._released + len(text) + self._text.held
        self._released += len(text)
        if text:
            self._out.append(text)

    def _record(self, token: int, row: Any, normalizer: float) -> TokenRecord:
        raw = self._native.raw_piece
        top = [[t, list(raw(t)), p] for t, p in top_logprobs(row, normalizer, self.request.logprobs or 0)]
        return [token, list(raw(token)), float(row[token]) - normalizer, top]

    def due(self, now: float) -> bool:
        """Whether enough time went by to tell what came since."""
        return now - self._flushed_at >= FLUSH_SECONDS

    def flush(self, now: float, *, ended: bool) -> list[Event]:
        """The events that are due: text that is certain, and the records of its tokens."""
        if not ended and not self.due(now):
            return []
        if self._raw:
            self._out.append(self._text.feed(b"".join(self._raw)))
            self._raw.clear()
        if ended:
            self._out.append(self._text.finish())
            self._released += len(self._out[-1])
        text = "".join(self._out)
        self._out.clear()
        events: list[Event] = []
        due = [r for at, r in self._records if at < self._released]
        if ended and not self._text.stopped:
            due = [r for _, r in self._records]
        self._records = self._records[len(due) :]
        if text or due:
            self._flushed_at = now
            event: TextEvent = {"id": self.request.id, "event": "text", "text": text}
            if not self._told:
                event["prompt_tokens"], event["reused_tokens"] = self.prompt_length, self.reused
            self._told = True
            if due:
                event["tokens"] = due
            if self._sizes:
                event["sizes"], self._sizes = self._sizes, []
            events.append(event)
        return events

    def scored_events(self) -> list[Event]:
        """The given tokens that were scored since, in parts; the last part of all says that it is."""
        if self._scored_told:
            return []
        tokens, self._scored = self._scored, []
        if not self._begun:
            first = max(1, self.request.score_from or 0)
            given = self.tokens[: self.prompt_length][:first]
            before = [[t, list(self._native.raw_piece(t)), None, []] for t in given]
            tokens = before[self.request.hidden :] + tokens
            self._begun = True
        self._scored_told = self.slot is not None and self.slot.evaluated >= self.prompt_length
        parts = [tokens[at : at + SCORED_PART] for at in range(0, len(tokens), SCORED_PART)]
        if self._scored_told:
            parts = parts or [[]]
        return [
            {
                "id": self.request.id,
                "event": "scored",
                "tokens": part,
                "last": self._scored_told and n == len(parts) - 1,
            }
            for n, part in enumerate(parts)
        ]

    def finish(self, reason: str, now: float) -> list[Event]:
        """The last events, ``done`` with the request's figures; times in milliseconds."""
        events = self.flush(now, ended=True)
        span = self._last_at - self._first_at if self._first_at is not None else 0.0
        result: Generated = {
            "finish_reason": reason,
            "prompt_tokens": self.prompt_length,
            "completion_tokens": self.made,
            "reused_tokens": self.reused,
            "truncated_tokens": self.truncated,
            "ttft_ms": (self._first_at - self.started) * 1000 if self._first_at is not None else None,
            "total_ms": (now - self.started) * 1000,
            "tokens_per_s": (self.made - 1) / span if self.made > 1 and span > 0 else None,
            "context": self._native.n_ctx,
            "seed": self.request.parameters.seed,
        }
        if self.request.thinking is not None and self.request.thinking.closed:
            result["thinking_closed"] = True
        if self._text.stopped_by is not None:
            result["stopped_by"] = self._text.stopped_by
        if self.draft is not None:
            result["drafted_tokens"], result["accepted_tokens"] = self.draft.drafted, self.draft.accepted
        return [*events, {"id": self.request.id, "event": "done", "result": result}]

    @staticmethod
    def _cut_character(request: Request, native: NativeModel) -> bytes:
        """The bytes at the end of the answer's given beginning that are no whole character yet.

        Raises:
            InputRefusedError: ``answer_ended``: the beginning has a token behind which nothing follows.
        """
        begun = request.tokens[-request.begun :]
        native.check_tokens(begun)
        ending = next((token for token in begun if token in native.ends), None)
        if ending is not None:
            shown = native.raw_piece(ending).decode("utf-8", "replace")
            raise InputRefusedError(
                "answer_ended", f"the token {shown!r} ends the answer; nothing follows it", "Go on with another token."
            )
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        decoder.decode(b"".join(map(native.piece, begun)))
        return decoder.getstate()[0]

    def close(self) -> None:
        """Free what llama.cpp holds for it."""
        self._sampler.close()

    def _fit(self, request: Request, native: NativeModel) -> list[int]:
        """The prompt's tokens, cut by the request's own policy where they are too many."""
        tokens, context = list(request.tokens), native.n_ctx
        if not tokens:
            raise InputRefusedError("empty_prompt", "the prompt has no tokens", "Give a text to complete.")
        # A prompt that is only scored needs no room for an answer.
        room = context if request.parameters.max_tokens == 0 else context - 1
        if len(tokens) <= room:
            return tokens
        excess = len(tokens) - room
        if request.truncate not in {"left", "middle"}:
            raise InputRefusedError(
                "context_length_exceeded",
                f"the prompt has {len(tokens):,} tokens, {excess:,} too many for the context of {context:,}",
                "Shorten the prompt, load the model with a larger context, or name a truncation policy.",
            )
        room = native.room(request.parameters.max_tokens)
        self.truncated += len(tokens) - room
        if request.truncate == "left":
            return tokens[-room:]
        head = room // 2
        return tokens[:head] + tokens[len(tokens) - (room - head) :]
