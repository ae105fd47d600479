"""The engine without processes around it, and small models made on the spot, for tests."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.sample_files import sample_folder

MODEL = sample_folder() / "models" / "support-base-Q8_0.gguf"
WORDS = [
    "refund",
    "kettle",
    "rug",
    "open",
    "hello",
    "please",
    "urgent",
    "price",
    "of",
    "the",
    "desk",
    "lamp",
    "warranty",
    "cancel",
    "my",
    "order",
    "thanks",
    "when",
    "where",
    "is",
    "it",
    "broken",
    "late",
    "parcel",
    "money",
    "back",
    "return",
    "shop",
    "address",
    "hours",
    "Saturday",
    "invoice",
    "wrong",
    "colour",
]


def questions(count: int, seed: int = 4) -> list[str]:
    """Conversations of one turn each, rendered as the sample model's template does."""
    rng = random.Random(seed)
    asked = [" ".join(rng.choices(WORDS, k=rng.randint(1, 12))) for _ in range(count)]
    return [f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n" for q in asked]


@dataclass
class Answer:
    """What one request came to."""

    text: str = ""
    tokens: list[list[Any]] = field(default_factory=list)
    scored: list[list[Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None


class Bench:
    """A scheduler, run by hand."""

    def __init__(self, path: Path = MODEL, **options: Any) -> None:
        from llmops_tui.inference.engine.parameters import EngineOptions
        from llmops_tui.inference.engine.scheduler import Scheduler

        self.events: list[dict[str, Any]] = []
        given = {"context": 512, "threads": 1, "parallel": 4} | options
        self._visible = given.pop("visible", ())
        self.options = EngineOptions(str(path), **given)
        self.scheduler = Scheduler(self.options, self.events.append)
        self.native = self.scheduler.native
        self.native.show(self._visible)
        self._count = 0
        self._tokenizer: Any = None

    def matcher(self, form: dict[str, Any]) -> Any:
        """What holds one answer to a form; refused as the checking process refuses it."""
        from llmops_tui.inference.constraints import enforced
        from llmops_tui.inference.engine.grammar import Matcher, make_tokenizer

        self._tokenizer = self._tokenizer or make_tokenizer(self.native.vocab, self._visible)
        return Matcher(self._tokenizer, enforced(form).grammar, self.native.n_vocab)

    def submit(
        self, prompt: str | Sequence[int], *, parameters: Any = None, form: dict[str, Any] | None = None, **more: Any
    ) -> str:
        from llmops_tui.inference.engine.sequence import Request

        self._count += 1
        name = f"r{self._count}"
        tokens = self.native.tokenize(prompt, add_special=False) if isinstance(prompt, str) else list(prompt)
        given = {"max_tokens": 24} | (parameters or {})
        if form is not None:
            more["matcher"] = self.matcher(form)
        self.scheduler.submit(Request(name, tokens, SamplingParameters(**given), **more))
        return name

    def run(self) -> dict[str, Answer]:
        while self.scheduler.busy:
            self.scheduler.step()
        return self.answers()

    def answers(self) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        for event in self.events:
            answer = found.setdefault(event["id"], Answer())
            if event["event"] == "text":
                answer.text += event["text"]
                answer.tokens += event.get("tokens", [])
            elif event["event"] == "scored":
                answer.scored += event["tokens"]
            elif event["event"] == "done":
                answer.result = event["result"]
            else:
                answer.error = event["error"]
        return found

    def ask(self, prompt: str | Sequence[int], **more: Any) -> Answer:
        name = self.submit(prompt, **more)
        return self.run()[name]

    def refused(self, prompt: str | Sequence[int], **more: Any) -> LlmopsError:
        try:
            self.submit(prompt, **more)
        except LlmopsError as error:
            return error
        raise AssertionError("it was not refused")


def write_adapter(path: Path, *, seed: int, strength: float = 1.0, layers: int = 5, width: int = 256) -> Path:
    """A LoRA adapter of random weights that fits the sample model."""
    import gguf

    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for layer in range(layers):
        name = f"blk.{layer}.attn_output.weight"
        writer.add_tensor(f"{name}.lora_a", rng.normal(size=(4, width)).astype(np.float32) * strength / 16)
        writer.add_tensor(f"{name}.lora_b", rng.normal(size=(width, 4)).astype(np.float32) / 2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_mamba(path: Path) -> Path:
    """A tiny recurrent model of random weights with the sample's vocabulary."""
    import gguf

    width, inner, state, conv, rank, layers = 64, 128, 16, 4, 4, 2
    rng = np.random.default_rng(2)
    reader = read_gguf(MODEL)
    tokens = [
        bytes(reader.fields["tokenizer.ggml.tokens"].parts[i]) for i in reader.fields["tokenizer.ggml.tokens"].data
    ]
    merges = [
        bytes(reader.fields["tokenizer.ggml.merges"].parts[i]) for i in reader.fields["tokenizer.ggml.merges"].data
    ]
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(1024)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(conv)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    writer.add_token_merges(merges)

    def random(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    writer.add_tensor("token_embd.weight", random(len(tokens), width) * 4)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for n in range(layers):
        writer.add_tensor(f"blk.{n}.attn_norm.weight", np.ones(width, np.float32))
        writer.add_tensor(f"blk.{n}.ssm_in.weight", random(2 * inner, width))
        writer.add_tensor(f"blk.{n}.ssm_conv1d.weight", random(inner, conv))
        writer.add_tensor(f"blk.{n}.ssm_conv1d.bias", random(inner))
        writer.add_tensor(f"blk.{n}.ssm_x.weight", random(rank + 2 * state, inner))
        writer.add_tensor(f"blk.{n}.ssm_dt.weight", random(inner, rank))
        writer.add_tensor(f"blk.{n}.ssm_dt.bias", random(inner))
        writer.add_tensor(f"blk.{n}.ssm_a", -np.abs(random(inner, state)) - 0.1)
        writer.add_tensor(f"blk.{n}.ssm_d", np.ones(inner, np.float32))
        writer.add_tensor(f"blk.{n}.ssm_out.weight", random(width, inner))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


SCHEMA = {
    "type": "object",
    "properties": {
        "intent": {"enum": ["refund", "order", "hours"]},
        "urgency": {"type": "integer", "minimum": 0, "maximum": 9},
        "note": {"type": "string", "maxLength": 12},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["intent", "urgency", "note", "tags"],
    "additionalProperties": False,
}


def read_gguf(path: Path) -> Any:
    """A file as the library reads it; the sample's model is read once."""
    import gguf

    return _sample_model() if path == MODEL else gguf.GGUFReader(path)


@functools.cache
def _sample_model() -> Any:
    import gguf

    return gguf.GGUFReader(MODEL)


def rewrite_gguf(
    source: Path, target: Path, drop: set[str], change: Callable[[Any], None] = lambda _writer: None, **options: Any
) -> Path:
    """The same model in another file, some keys left out and others added by ``change``."""
    import gguf

    reader = read_gguf(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents(), **options)
    for name, known in reader.fields.items():
        if not name.startswith("GGUF.") and name not in {"general.architecture", *drop}:
            kind = known.types[0]
            inner = known.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, known.contents(), kind, sub_type=inner)
    change(writer)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def write_with_template(path: Path, template: str) -> Path:
    """The sample model with another chat template."""
    return rewrite_gguf(MODEL, path, {"tokenizer.chat_template"}, lambda writer: writer.add_chat_template(template))
