"""The base model for training: safetensors only, quantized as the recipe says, with the adapter attached."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedTokenizerFast

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.models.safetensors import ModelFolder, read_folder
from llmops_tui.models.text_part import KEY_MAPPING, WRAPPERS
from llmops_tui.training.families import EMBEDDINGS, OUTPUT, linear_targets
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.worker import kernels
from llmops_tui.training.worker.attention import attention_of, refuse_unknown

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def device() -> str:
    """Where this process trains: the GPU of its rank, such as ``cuda:0``, or ``cpu``."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def compute_type(recipe: Recipe) -> torch.dtype:
    """The type that is computed in."""
    if recipe.quantization.compute != "auto":
        return _TYPES[recipe.quantization.compute]
    # Runs that begin on this machine's processor name their type; a node of a cluster has the same one as any other node.
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16


def check_folder(path: Path) -> ModelFolder:
    """Read a base model's folder, and refuse an architecture that cannot be trained.

    Raises:
        InputRefusedError: ``unknown_architecture``, and what reading the folder raises.
    """
    folder = read_folder(path)
    refuse_unknown(folder.family, path)
    return folder


def load_tokenizer(path: Path, template: str | None = None) -> Any:
    """The tokenizer of a model folder, with a padding token that is not the end token where there is one.

    It has the chat ``template`` that is trained with, where that is not the folder's own.

    Raises:
        InputRefusedError: ``no_tokenizer``.
    """
    if not (path / "tokenizer.json").is_file():
        raise InputRefusedError(
            "no_tokenizer", f"{path} has no tokenizer.json", "Save the model's fast tokenizer there."
        )
    folder = read_folder(path)
    special = {name: folder.special(name) or None for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(path / "tokenizer.json"), **special
    )
    tokenizer.pad_token = padding_token(folder, set(tokenizer.get_vocab())) or tokenizer.eos_token
    tokenizer.chat_template = template or folder.chat_template
    return tokenizer


def padding_token(folder: ModelFolder, vocabulary: set[str]) -> str:
    """A token to pad with that is not the end token, or nothing: a model padded with its end never learns to stop.

    Labels of padding are masked by position here, so the end token is learned in any case; programs that mask by id
    would lose it.
    """
    end = folder.special("eos_token")
    own = folder.special("pad_token")
    if own and own != end:
        return own
    reserved = ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|endoftext|>", "<unk>", "<|vision_pad|>")
    return next((token for token in reserved if token in vocabulary and token != end), "")


def pretrained(path: Path, *, dtype: torch.dtype, use_cache: bool = True, on: str = "", **options: Any) -> Any:
    """The text model of a folder on its device, or ``on`` another; of a model of text and images its text part."""
    config: Any = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    if config.model_type in WRAPPERS:
        config, options = config.get_text_config(), {"key_mapping": KEY_MAPPING, **options}
    config.use_cache = use_cache
    return AutoModelForCausalLM.from_pretrained(
        path,
        config=config,
        dtype=dtype,
        device_map={"": on or device()},
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        **options,
    )


def load_base(recipe: Recipe, path: Path) -> Any:
    """The base model on its device, its weights frozen as they are.

    Raises:
        LlmopsError: ``model_load_failed``, and what :func:`attention_of` and :func:`kernels.put_on` raise.
    """
    attention = attention_of(recipe, check_folder(path).family)
    # All weights are trained in 32 bits, as an adapter's are: in 16 small updates of AdamW are rounded away.
    compute = torch.float32 if recipe.tuning == "full" else compute_type(recipe)
    quantization = None
    if recipe.quantization.type != "none":
        quantization = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type=recipe.quantization.type,
            bnb_4bit_use_double_quant=recipe.quantization.double,
            bnb_4bit_compute_dtype=compute,
            # Only what is stored as numbers with a point can be divided among devices.
            bnb_4bit_quant_storage=compute if recipe.fsdp else torch.uint8,
        )
    try:
        model = pretrained(
            path,
            dtype=compute,
            quantization_config=quantization,
            attn_implementation=attention,
            use_cache=False,
            # What no card can hold goes there in parts.
            on="cpu" if recipe.fsdp else "",
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        raise LlmopsError(
            "model_load_failed",
            f"transformers could not load {path}: {str(error).splitlines()[0][:300]}",
            "llmops model verify checks the files.",
        ) from error
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # On some processors bitsandbytes packs the weights anew at the first evaluation and computes otherwise, and
            # less exactly, from then on: a run that goes on from a checkpoint would part from one never stopped.
            module.support_avx512bf16_for_cpu = False
    kernels.put_on(recipe, model)
    return model


def adapter_config(recipe: Recipe, family: str, *, apart: bool = False) -> LoraConfig:
    """The adapter as peft describes it, for a model of a family.

    With new tokens the embedding is trained whole, and the output layer where it is ``apart``: TRL computes losses of the
    output layer's own matrix, and not of one in which some rows stand beside it.
    """
    ends = [EMBEDDINGS, *([OUTPUT] if apart else [])] if recipe.tokens else []
    whole = [*recipe.lora.modules_to_save, *(end for end in ends if end not in recipe.lora.modules_to_save)]
    targets = linear_targets(family) if recipe.lora.targets == ["all-linear"] else recipe.lora.targets
    return LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,  # type: ignore[arg-type]
        lora_dropout=recipe.lora.dropout,
        target_modules=targets,
        use_dora=recipe.lora.dora,
        use_rslora=recipe.lora.rslora,
        task_type="CAUSAL_LM",
        bias="none",
        # LoftQ: what quantization loses is known where the base is loaded: it is put in then.
        init_lora_weights=True if recipe.lora.init == "default" or recipe.lora.init == "loftq" else recipe.lora.init,  # noqa: PLR1714
        modules_to_save=whole or None,
        # One matrix that is two modules is learned as one.
        ensure_weight_tying=bool(whole) and not apart,
    )
