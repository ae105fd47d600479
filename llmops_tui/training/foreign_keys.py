"""What becomes of the keys of another program's configuration: carried into a recipe, or left out with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.training.methods import METHODS
from llmops_tui.training.recipe import Recipe, check

_SHOWN = 80
# Keys whose datasets are looked up by name, which is told.
DATA = frozenset({"datasets", "pretraining_dataset", "dataset", "load_dataset", "name"})
# Keys that are on where nobody says otherwise, there and here: that they are off is something to say.
_ON = frozenset({
    "shuffle_merged_datasets", "ignore_pad_token_for_loss", "finetune_language_layers", "finetune_attention_modules",
    "finetune_mlp_modules",
})  # fmt: skip
NO_COUNTERPART = "has no counterpart here"
_GENERATED = "is about answers that are generated, not about training"
# Of a run that learns from its own answers they are what it learns from; fields of a recipe, where there are such.
_OF_GRPO = {
    "temperature": "temperature", "num_generations": "generations", "max_completion_length": "max_tokens",
    "reward_funcs": "rewards", "reward_weights": "rewards", "num_iterations": "iterations", "epsilon": "clip",
    "scale_rewards": "scale",
}  # fmt: skip
TEMPLATE = "is a template by name, and is not taken over: the base's own is used; chat_template takes a Jinja template"

_NO_ADAPTER = "is an adapter to go on from; start names a finished run of this workspace"
WEIGHTS = "is how the datasets are mixed; data has a weight for each"
# Keys that are not carried although a recipe has something of their kind.
_NEAR = {
    "lora_model_dir": _NO_ADAPTER, "adapter_name_or_path": _NO_ADAPTER, "interleave_probs": WEIGHTS,
}  # fmt: skip

# Keys that change nothing of what is learned, by what they are about; a name that ends in * stands for all that begin so.
_HARMLESS: dict[str, tuple[str, ...]] = {
    "is about where and what is written; a run keeps its own records here": (
        "output_dir", "save_dir", "logging_*", "report_to", "run_name", "plot_loss", "overwrite_output_dir", "wandb_*",
        "mlflow_*", "hf_mlflow_*", "comet_*", "swanlab_*", "trackio_*", "otel_*", "gradio_*", "use_wandb", "use_mlflow",
        "use_comet", "use_swanlab", "use_tensorboard", "use_trackio", "use_otel_metrics", "hub_*", "push_to_hub*",
        "push_dataset_to_hub", "save_only_model", "save_safetensors", "save_first_step", "save_strategy", "save_on_*",
        "saves_per_epoch", "log_*", "include_tkps", "include_tokens_per_second", "include_num_input_tokens_seen",
        "include_effective_tokens_per_second", "profiler_*", "enable_torch_profiler", "profile_modules", "disable_tqdm",
        "tokenizer_save_jinja_files", "print_param_status", "restore_callback_states_from_checkpoint", "merge_lora",
        "merge_method", "export_*", "dynamic_checkpoint", "project", "num_dataset_shards_to_save", "enable_jit_checkpoint",
    ),
    "is about when something is measured": (
        "eval_strategy", "evaluation_strategy", "evals_per_epoch", "eval_on_*", "eval_delay", "eval_sample_packing",
        "eval_batch_size", "per_device_eval_batch_size", "eval_accumulation_steps", "eval_table_size",
        "eval_max_new_tokens", "eval_causal_lm_metrics", "eval_sequence_len", "do_bench_eval", "bench_dataset",
        "bench_split", "do_causal_lm_eval", "generate_samples", "num_generation_samples", "generation_*",
        "compute_accuracy", "predict_with_generate", "do_eval", "do_predict", "do_train", "prediction_loss_only",
        "batch_eval_metrics", "eval_do_concat_batches", "eval_use_gather_object", "eval_num_beams", "n_shot", "task",
        "task_dir", "lang", "lm_eval_*", "loss_watchdog_*", "include_for_metrics",
        "include_inputs_for_metrics", "metric_for_best_model",
        "greater_is_better", "dpo_generate_during_eval",
    ),
    _GENERATED: (
        "do_sample", "temperature", "top_p", "top_k", "num_beams", "max_length", "max_new_tokens", "repetition_penalty",
        "length_penalty", "skip_special_tokens", "infer_backend", "infer_dtype", "vllm*", "sglang_*", "use_kv_cache",
        "generation_config",
    ),
    "is about several devices or processes; here devices names the GPUs, each with batch.size × batch.accumulation rows a step": (
        "deepspeed", "deepcompile", "fsdp*", "ddp*", "local_rank", "world_size", "tensor_parallel_size",
        "context_parallel_size", "sequence_parallel_degree", "dp_*", "heads_k_stride", "ring_attn_func", "ray_*", "use_ray",
        "resources_per_worker", "accelerator_config", "parallelism_config", "qlora_sharded_model_loading", "master_*",
        "hyper_parallel_args", "use_hyper_parallel", "use_mca", "expert_parallel_*", "average_tokens_across_devices",
        "data_shared_file_system",
    ),
    "is about how attention is computed, not about what is learned; attention takes what the base has, or names one": (
        "*_attention", "attn_implementation", "flash_attn", "flash_attn_d512", "sdpa_varlen",
    ),
    "is about speed and memory, not about what is learned": (
        "flash_attn_*", "flash_optimum", "flex_attn_*", "fused_attn_kernel", "torch_compile*", "torch_empty_cache_steps",
        "torchdistx_path", "tf32",
        "low_cpu_mem_usage", "device", "device_map", "max_memory", "gpu_memory_limit", "lora_on_cpu", "lora_*_kernel",
        "liger_*", "use_liger_kernel", "enable_liger_kernel", "dpo_use_liger_kernel", "cut_cross_entropy",
        "chunked_cross_entropy*", "use_unsloth", "use_unsloth_gc", "use_kernels", "use_v1_kernels",
        "gradient_checkpointing_kwargs", "use_reentrant_gc", "activation_offloading", "layer_offloading", "ple_cpu_offload",
        "selective_checkpointing", "offload_folder", "dataloader_num_workers", "dataloader_pin_memory",
        "dataloader_prefetch_factor", "dataloader_persistent_workers", "gc_*", "use_cpu", "no_cuda", "use_mps_device",
        "bf16_full_eval", "fp16_full_eval", "fp16_opt_level", "fp16_backend", "half_precision_backend", "jit_mode_eval",
        "use_ipex", "skip_memory_metrics", "full_determinism", "precompute_ref_log_probs", "dpo_padding_free",
        "dpo_use_logits_to_keep", "padding_free", "batch_flattening", "pad_to_*", "tiled_mlp*", "quantization_device_map",
        "experimental_skip_move_to_device", "experts_implementation", "expert_backend", "use_scattermoe", "use_sonicmoe",
        "moe_bnb_fast", "moe_dequant_chunk_size", "moe_grouped_backend", "auto_find_batch_size",
        "multipack_real_batches", "sample_packing_*", "neat_packing", "remove_unused_columns", "ignore_data_skip",
        "local_files_only", "use_logits_to_keep", "unsloth_*",
    ),
    "is about how data are read and kept; datasets are imported here, and looked up by name": (
        "dataset_prepared_path", "dataset_dir", "media_dir", "tokenized_path", "dataset_processes", "dataset_num_proc",
        "dataset_keep_in_memory", "overwrite_cache", "preprocessing_*", "preprocess_*", "streaming*", "buffer_size",
        "cache_dir", "download_mode", "is_preprocess", "skip_prepare_dataset", "length_column_name",
        "image_*", "video_*", "audio_*", "use_audio_in_video", "crop_to_patches", "processor_*", "dataset_text_field",
        "dataset_kwargs", "total_num_tokens", "total_supervised_tokens", "pretrain_multipack_*", "max_prompt_len",
    ),
    "is about where a run begins again; llmops train resume does that": (
        "resume_from_checkpoint", "auto_resume_from_checkpoints",
    ),
    "is about accounts and code of others; llmops uses none, and never runs code that comes with a model": (
        "trust_remote_code", "hf_use_auth_token", "hf_hub_token", "ms_hub_token", "om_hub_token", "token", "api_key",
        "axolotl_config_path", "strict", "capabilities", "env_capabilities", "model_type", "type_of_model",
        "base_model_config", "tokenizer_type", "tokenizer_use_fast", "use_fast_tokenizer", "tokenizer_legacy", "is_*_model",
    ),
    "is read from the chat template": (
        "eot_tokens",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Left:
    """A key that was not carried: why, and whether something else is learned without it."""

    key: str
    value: Any
    why: str
    changes: bool

    @property
    def told(self) -> str:
        """In a line."""
        shown = repr(self.value)
        return f"{self.key}: {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'} {self.why}"


@dataclass
class Translation:
    """A configuration of another program on its way to be a recipe.

    Attributes:
        program: whose it is.
        given: its keys and values.
        found: the recipe's fields by dotted path; ``origin`` has the key that each came from.
        left: what was not carried.
        grpo: whether it learns from answers of its own.
    """

    program: str
    given: JsonObject
    found: dict[str, Any]
    grpo: bool = False
    origin: dict[str, str] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    _done: set[str] = field(default_factory=set)

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a key that is seen to; a key that says nothing has the default."""
        self._done.add(key)
        value = self.given.get(key)
        return default if value is None else value

    def put(self, path: str, value: Any, key: str = "") -> None:
        """Set a field, which comes from a key; another key that had set it otherwise is named."""
        before = self.origin.get(path, "")
        if before not in {"", key} and self.found[path] != value and before not in {left.key for left in self.left}:
            self.leave(
                before, self.given.get(before), f"does not count beside {key or 'the rest'}, which sets the same"
            )
        self.found[path] = value
        if key:
            self.origin[path] = key

    def carry(self, names: dict[str, str], convert: Callable[[str, Any], Any]) -> None:
        """Carry keys over to fields; an empty key stays out."""
        for key, path in names.items():
            if key in self.given:
                value = self.take(key)
                if value is not None:
                    self.put(path, convert(path, value), key)

    def leave(self, key: str, value: Any, why: str, *, changes: bool = True) -> None:
        """Name a key that is not carried."""
        self._done.add(key)
        self.left.append(Left(key, value, why, changes))

    def harmless(self, key: str) -> str:
        """Why a key changes nothing of what is learned; empty where that is not known."""
        why = harmless(key)
        return "" if self.grpo and (why == _GENERATED or key in _OF_GRPO) else why

    def lost(self, key: str) -> str:
        """Why a key that changes what is learned is not carried."""
        if self.grpo and (field_name := _OF_GRPO.get(key)):
            return f"is not carried; a recipe with method: grpo has it in reinforcement.{field_name}"
        if self.grpo and harmless(key) == _GENERATED:
            return "is about the answers that it learns from, and is not carried"
        return _NEAR.get(key, NO_COUNTERPART)

    def finish(self, path: Path) -> Recipe:
        """The recipe; what is not known and what does not fit is named.

        Raises:
            InputRefusedError: ``bad_recipe``: it is none even so.
        """
        for key, value in self.given.items():
            if key in self._done:
                continue
            why = self.harmless(key)
            off = key not in _ON and (value in (None, "", False) or value in ([], {}))
            self.leave(key, value, why or (self.lost(key) if not off else "is off"), changes=not why and not off)
        self._name_the_rest()
        self._drop_what_the_method_has_not()
        while True:
            body = _nested(self.found)
            try:
                return Recipe.model_validate(body)
            except ValidationError as error:
                wrong = [(_path(problem["loc"]), str(problem["msg"])) for problem in error.errors()]
                ours = [(place, message) for place, message in wrong if place in self.origin]
                if not ours:
                    ours = self._at_odds(" ".join(message for _, message in wrong))
                if not ours:
                    return check(body, str(path))
                for place, message in ours:
                    key = self.origin.pop(place)
                    value = self.found.pop(place)
                    measured = place.startswith(("evaluation.", "checkpoints."))
                    why = f"is not taken over: {message.removeprefix('Value error, ')}"
                    self.left.append(Left(key, self.given.get(key, value), why, not measured))

    def _at_odds(self, message: str) -> list[tuple[str, str]]:
        """Of fields that a key set and that cannot be together, the one that is named first."""
        found = {place: re.search(rf"(?<![\w.]){re.escape(place)}(?![\w.]*\w)", message) for place in self.origin}
        named = sorted(
            (match.start(), place) for place, match in found.items() if match and place not in ("base", "data")
        )
        return [(named[0][1], message)] if named else []

    def _name_the_rest(self) -> None:
        """Keys that were looked at and left no trace, since they say what happens here."""
        traced = {re.split(r"[\[.]", key)[0] for key in (*self.origin.values(), *(left.key for left in self.left))}
        for key, value in self.given.items():
            if key not in traced and value is not None and key not in DATA:
                self.leave(key, value, "is what happens here", changes=False)

    def _drop_what_the_method_has_not(self) -> None:
        facts = METHODS[self.found.get("method", "sft")]
        for field_path, there in (
            ("batch.packing", facts.packs),
            ("batch.group_by_length", facts.examples != "thumbs"),
        ):
            if self.found.get(field_path) and not there:
                self.leave(
                    self.origin.pop(field_path), self.found.pop(field_path), "cannot be combined with the method"
                )


def harmless(key: str) -> str:
    """Why a key changes nothing of what is learned; empty where that is not known."""
    for why, names in _HARMLESS.items():
        for name in names:
            if name == key or ("*" in name and _matches(name, key)):
                return why
    return ""


def _matches(name: str, key: str) -> bool:
    begin, _, end = name.partition("*")
    return len(key) >= len(begin) + len(end) and key.startswith(begin) and key.endswith(end)


def confirm(path: Path, made: Translation, accepted: Collection[str]) -> list[str]:
    """What is to be told of a translation: each key that was left out, and what became of it.

    ``accepted`` are keys, without the numbers of their datasets, whose loss was confirmed; ``all`` stands for all.

    Raises:
        InputRefusedError: ``foreign_recipe``: something else would be learned, and that was not confirmed.
    """
    changing = {_bare(left.key): left for left in made.left if left.changes}
    strange = [key for key in accepted if key != "all" and key not in changing]
    if strange:
        raise InputRefusedError(
            "foreign_recipe",
            f"--accept {', '.join(strange)}: nothing of this name in {path.name} has to be confirmed",
            f"To be confirmed: {', '.join(changing) or 'nothing'}.",
        )
    open_ = [left for left in made.left if left.changes and not {"all", _bare(left.key)} & set(accepted)]
    if open_:
        keys = dict.fromkeys(_bare(left.key) for left in open_)
        raise InputRefusedError(
            "foreign_recipe",
            f"{path.name} of {made.program} would teach something else here: {'; '.join(left.told for left in open_)}",
            f"Change the file, or confirm: --accept {','.join(keys)}",
        )
    notes = [f"{path.name} was read as a configuration of {made.program}; its datasets are looked up by name here"]
    notes += [f"{left.told} (confirmed)" for left in made.left if left.changes]
    quiet: dict[str, list[str]] = {}
    for left in made.left:
        if not left.changes:
            quiet.setdefault(left.why, []).append(left.key)
    notes += [f"{', '.join(keys)}: {why}" for why, keys in quiet.items()]
    carried = [f"{key} → {place} {made.found[place]!r}" for place, key in made.origin.items()]
    return [*notes, *([f"carried: {', '.join(carried)}"] if carried else [])]


def _bare(key: str) -> str:
    """A key without the number of its dataset."""
    head, bracket, rest = key.partition("[")
    return head + rest.partition("]")[2] if bracket else key


def _path(places: tuple[int | str, ...]) -> str:
    return ".".join(str(place) for place in places if not isinstance(place, int))


def _nested(found: JsonObject) -> JsonObject:
    body: JsonObject = {}
    for path, value in found.items():
        *parents, leaf = path.split(".")
        part = body
        for parent in parents:
            part = part.setdefault(parent, {})
        part[leaf] = value
    return body
