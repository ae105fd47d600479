"""Train the sample model from scratch, seeded, and write it as safetensors (bf16) and as GGUF (Q8_0 and Q4_K_M)."""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import torch
from sample_world import (
    INTENT_PHRASES,
    PRODUCTS,
    SHOP,
    SYSTEM_TRIAGE,
    draw_conversation,
    draw_ticket,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

NAME = "support-base"
SEED = 7
VOCABULARY = 2048
CONTEXT = 1024
WINDOW = 128
BATCH = 32
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# llama.cpp's file types, by the names users know them.
QUANTIZATIONS = {"Q8_0": 7, "Q4_K_M": 15}


def render(messages: list[dict[str, str]]) -> str:
    """A conversation as ChatML text, as the chat template renders it."""
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)


def record(rng: random.Random) -> str:
    """A line of the shop's order book: gives the base model JSON, without the triage task."""
    fields: dict[str, object] = {"order": rng.randint(10000, 99999), "product": rng.choice(tuple(PRODUCTS))}
    fields["reason"] = rng.choice((*INTENT_PHRASES, "new", "open"))
    fields["priority"] = rng.choice(("high", "normal", "low"))
    return json.dumps(fields) + "\n"


def documents(seed: int) -> Iterator[str]:
    """An endless, seeded stream of training documents."""
    rng = random.Random(seed)
    while True:
        yield record(rng) if rng.random() < 0.08 else render(draw_conversation(rng))


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with the GPT-2 split, trained on the shop's text."""
    rng = random.Random(SEED)
    stream = documents(SEED)
    texts = [next(stream) for _ in range(20_000)]
    texts += [f"{SYSTEM_TRIAGE}\n{draw_ticket(rng).triage_json()}" for _ in range(2_000)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # A small corpus yields fewer merges than asked for; unused entries keep the vocabulary at a round size.
    missing = VOCABULARY - tokenizer.get_vocab_size()
    if missing > 0:
        tokenizer.add_special_tokens([f"<|unused_{number}|>" for number in range(missing)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        bos_token=None,
        model_max_length=CONTEXT,
    )
    fast.chat_template = CHATML
    return fast


def batches(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[torch.Tensor]:
    """Packed windows of token ids, each of shape (BATCH, WINDOW)."""
    stream = documents(seed)
    kept: list[int] = []
    need = BATCH * WINDOW
    while True:
        while len(kept) < need:
            kept += tokenizer(next(stream))["input_ids"] + [0]
        yield torch.tensor(kept[:need]).view(BATCH, WINDOW)
        kept = kept[need:]


def train(tokenizer: PreTrainedTokenizerFast, steps: int) -> LlamaForCausalLM:
    """Train for ``steps`` optimizer steps with warm-up and cosine decay; prints the loss as it goes."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05)
    warmup = max(1, steps // 20)

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * (step - warmup) / max(1, steps - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    started = time.monotonic()
    model.train()
    for step, batch in zip(range(steps), batches(tokenizer, SEED + 1), strict=False):
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 25 == 0 or step == steps - 1:
            speed = (step + 1) * BATCH * WINDOW / (time.monotonic() - started)
            print(f"step {step:5d}/{steps}  loss {loss.item():.3f}  {speed:,.0f} tokens/s", flush=True)
    return model.eval()


def permute(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Reorder the rows of a q or k projection from rotate-half to llama.cpp's interleaved rotary layout."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Write ``model`` as an F32 GGUF file of the ``llama`` architecture."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(NAME)
    writer.add_description(f"Sample model of llmops-tui: the support desk of the invented shop {SHOP}")
    writer.add_license("MIT")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(0)
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    ids = tokenizer.get_vocab()
    tokens = [token for token, _ in sorted(ids.items(), key=lambda item: item[1])]
    types = [gguf.TokenType.CONTROL if t.startswith("<|") else gguf.TokenType.NORMAL for t in tokens]
    merges = [m if isinstance(m, str) else " ".join(m) for m in backend["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        value = tensor
        if name.endswith("q_proj.weight"):
            value = permute(tensor, config.num_attention_heads)
        elif name.endswith("k_proj.weight"):
            value = permute(tensor, config.num_key_value_heads)
        target = names.get_name(name, try_suffixes=(".weight",))
        if target is None:
            raise ValueError(f"no GGUF name for tensor {name}")
        writer.add_tensor(target, value.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def quantize(source: Path, target: Path, file_type: int) -> None:
    """Quantize a GGUF file with llama.cpp."""
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = file_type
    params.nthread = 2
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)):
        raise RuntimeError(f"llama.cpp could not quantize {source} to {target}")


def write_checksums(folder: Path) -> None:
    """Write ``SHA256SUMS`` over every file of ``folder``, in the form ``sha256sum --check`` reads."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(folder)}" for p in files]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Make the model into ``sample_data/models`` or the folder given."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).resolve().parent.parent / "sample_data" / "models"
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--steps", type=int, default=900)
    arguments = parser.parse_args()
    out: Path = arguments.out
    torch.set_num_threads(2)
    tokenizer = make_tokenizer()
    # bf16 is what is shipped, so the GGUF files are made from the rounded weights too.
    model = train(tokenizer, arguments.steps).to(torch.bfloat16)
    hf_folder = out / NAME
    if hf_folder.exists():
        for stale in hf_folder.glob("*.safetensors"):
            stale.unlink()
    hf_folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(hf_folder)
    tokenizer.save_pretrained(hf_folder)
    with tempfile.TemporaryDirectory() as scratch:
        full = Path(scratch) / f"{NAME}-F32.gguf"
        write_gguf(model, tokenizer, full)
        for name, file_type in QUANTIZATIONS.items():
            quantized = Path(scratch) / f"{NAME}-{name}.gguf"
            quantize(full, quantized, file_type)
            shutil.copyfile(quantized, out / quantized.name)
    write_checksums(out)


if __name__ == "__main__":
    main()
