"""GGUF files as bases: their weights, figures and tokenizers, back in Hugging Face's form."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from tokenizers import Tokenizer

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.tokenizer import Tokenizer as ModelTokenizer
from llmops_tui.maintenance import gc
from llmops_tui.models.gguf import read_contents
from llmops_tui.models.safetensors import read_folder
from llmops_tui.sample_files import sample_folder
from llmops_tui.settings import Settings
from llmops_tui.training import network, pre_tokenizers
from llmops_tui.training.bases import as_served
from llmops_tui.training.export import tensors
from llmops_tui.training.export.conversion import convert
from llmops_tui.training.families import Family
from llmops_tui.training.preflight_base import check_base
from llmops_tui.training.recipe import changed, check
from llmops_tui.training.runs import RunStore
from llmops_tui.training.unpacking.cache import announcement
from llmops_tui.training.unpacking.vocabulary import Vocabulary
from llmops_tui.workspace.layout import Workspace
from tests.later import Later
from tests.representatives import representatives
from tests.training.hard_strings import hard_strings
from tests.training.models import FAMILIES, make_model

unpacking = Later("llmops_tui.training.worker.unpack")


def quiet(_share: float, _message: str = "") -> None:
    """Nobody watches."""


def bytes_of(path: Path) -> dict[str, bytes]:
    """The bytes of each tensor of a GGUF file."""
    raw = path.read_bytes()
    places = read_contents(path).tensors
    return {name: raw[place.offset : place.offset + place.length] for name, place in places.items()}


def without_figures(config: dict[str, Any]) -> dict[str, Any]:
    """What a configuration says of the network itself, and not of the file, of training or of generation."""
    ignored = {
        "transformers_version", "dtype", "architectures", "initializer_range", "attention_dropout", "use_cache", "model_type",
        "resid_pdrop", "embd_pdrop", "output_router_logits", "router_aux_loss_coef", "router_jitter_noise", "use_sliding_window",
        "pretraining_tp", "max_window_layers", "layer_types", "hidden_activation", "bos_token_id", "eos_token_id", "pad_token_id",
        "embedding_dropout", "hidden_dropout", "num_local_experts", "head_dim", "partial_rotary_factor", "sliding_window",
        "qk_layernorm", "use_bidirectional_attention", "rope_parameters", "num_key_value_heads", "no_rope_layers",
        "original_max_position_embeddings", "norm_topk_prob", "attention_bias", "mlp_bias",
        "full_attn_idxs", "block_multiple_of", "block_auto_adjust_ff_dim", "block_ffn_dim_multiplier",
    }  # fmt: skip
    return {name: value for name, value in config.items() if name not in ignored}


@pytest.mark.parametrize("family", representatives(FAMILIES, *list(FAMILIES)[::3]))
def test_a_model_comes_back_as_it_was(family: str, tmp_path: Path) -> None:
    base = make_model(family, tmp_path / "base")
    convert(base, tmp_path / "base.gguf", "base", quiet)
    unpacking.unpack([tmp_path / "base.gguf"], tmp_path / "back", "F32", quiet)
    first, second = dict(tensors.read_all(base)), dict(tensors.read_all(tmp_path / "back"))
    assert set(first) == set(second)
    for name, value in first.items():
        if family.startswith("gemma") and name.endswith("norm.weight"):
            # One is added and taken away in 32 bits; what counts is the sum.
            assert np.array_equal(value + 1, second[name] + 1), name
        elif name.endswith("A_log"):
            # A logarithm of an exponential.
            np.testing.assert_allclose(value, second[name], rtol=1e-6, atol=1e-6)
        elif name.endswith("norm.weight") and family == "qwen3_5_text" and "linear_attn" not in name:
            assert np.array_equal(value + 1, second[name] + 1), name
        else:
            assert np.array_equal(value, second[name]), name
    before, after = (json.loads((p / "config.json").read_text("utf-8")) for p in (base, tmp_path / "back"))
    wanted = without_figures(before)
    if family == "lfm2":
        # Adjusted by the other figures there, and plain here.
        wanted["intermediate_size"] = 64
    assert wanted == {name: after.get(name) for name in wanted}
    assert after["model_type"] == ("llama" if family == "mistral" else family)
    again = read_folder(tmp_path / "back")
    assert again.chat_template == read_folder(base).chat_template
    # What is made of it is the same file again.
    convert(tmp_path / "back", tmp_path / "again.gguf", "base", quiet)
    one, two = (read_contents(tmp_path / f"{name}.gguf") for name in ("base", "again"))
    assert {k: v for k, v in one.metadata.items() if not k.startswith("general.")} == {
        k: v for k, v in two.metadata.items() if not k.startswith("general.")
    }
    first_bytes, again_bytes = bytes_of(tmp_path / "base.gguf"), bytes_of(tmp_path / "again.gguf")
    assert {k: v for k, v in first_bytes.items() if not k.endswith("ssm_a")} == {
        k: v for k, v in again_bytes.items() if not k.endswith("ssm_a")
    }


@pytest.mark.parametrize("kind", ["Q8_0", "Q5_1", "Q4_0", "BF16"])
def test_quantized_tensors_are_what_the_package_of_gguf_makes_of_them(kind: str, tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base")
    convert(base, tmp_path / "base.gguf", "base", quiet)
    reader = gguf.GGUFReader(tmp_path / "base.gguf")
    wanted = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(tmp_path / "small.gguf", "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    for tensor in reader.tensors:
        if len(tensor.shape) > 1:
            packed = quantize(np.array(tensor.data, np.float32), wanted)
            writer.add_tensor(tensor.name, packed, raw_dtype=wanted)
        else:
            writer.add_tensor(tensor.name, np.array(tensor.data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unpacking.unpack([tmp_path / "small.gguf"], tmp_path / "wide", "F32", quiet)
    unpacking.unpack([tmp_path / "small.gguf"], tmp_path / "half", "BF16", quiet)
    family = Family("llama", json.loads((base / "config.json").read_text("utf-8")))
    packed_tensors = {t.name: t for t in gguf.GGUFReader(tmp_path / "small.gguf").tensors}
    half = dict(tensors.read_all(tmp_path / "half"))
    for name, value in tensors.read_all(tmp_path / "wide"):
        packed = packed_tensors[family.tensor_name(name)]
        assert np.array_equal(family.value(name, value), dequantize(packed.data, packed.tensor_type)), name
        assert np.array_equal(tensors.to_bf16(value), tensors.to_bf16(half[name])), name


# ── the folder that is kept ──


def test_a_file_is_unpacked_once_and_removed_when_it_is_not_needed(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(sample)
    base = store.registry.get("support-base")
    recipe = check({"name": "r", "base": "support-base", "data": ["triage"], "quantization": {"type": "none"}})
    told: list[str] = []
    assert f"{base.name} is a GGUF file" in announcement(sample, base, "auto")
    first = unpacking.weights_of(sample, base, recipe, lambda _share, text: told.append(text))
    assert read_folder(first).dtype == "BF16"
    assert told
    assert announcement(sample, base, "auto") == ""
    made = (first / "model.safetensors").stat().st_mtime_ns
    assert unpacking.weights_of(sample, base, recipe, lambda _share, text: pytest.fail(text)) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == made
    wide = changed(recipe, {"quantization.compute": "float32"})
    assert read_folder(unpacking.weights_of(sample, base, wide, quiet)).dtype == "F32"
    # What is used stays; what was not for long goes, and so does what is left of a model that is gone.
    here = {removal.path for removal in gc.plan(sample, Settings())}
    assert here.isdisjoint({first, first.with_name(f"{base.sha256}-F32")})
    later = time.time() + 40 * 86_400
    found = {r.path: r for r in gc.plan(sample, Settings(), now=later, clock_is_right=True)}
    assert "dequantized weights of support-base" in found[first].why
    assert found[first].size > 1_000_000
    store.registry.remove("support-base")
    soon = {r.path: r for r in gc.plan(sample, Settings(), now=time.time() + 4000, clock_is_right=True)}
    assert "no longer registered" in soon[first].why
    full = shutil.disk_usage(sample.root)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    shutil.rmtree(first)
    with pytest.raises(LlmopsError, match=r"take \d+ MB, and 0 MB are free"):
        unpacking.weights_of(sample, base, recipe, quiet)
    assert list(first.parent.glob(".*.part")) == []


def test_what_another_process_unpacked_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path)
    base: Any = SimpleNamespace(kind="gguf", sha256="a" * 64, name="base", files=[], header={})
    recipe = check({"name": "r", "base": "base", "data": ["d"], "quantization": {"compute": "float32"}})
    final = workspace.models / ".unpacked" / f"{base.sha256}-F32"

    def slow(_files: list[Path], target: Path, _kind: str, _told: Any) -> None:
        for folder, text in ((final, "theirs"), (target, "ours")):
            folder.mkdir()
            (folder / "config.json").write_text(text)

    monkeypatch.setattr("llmops_tui.training.worker.unpack.unpack", slow)
    assert (unpacking.weights_of(workspace, base, recipe, quiet) / "config.json").read_text() == "theirs"
    assert [path.name for path in final.parent.iterdir()] == [final.name]


def test_what_is_trained_of_a_gguf_file_is_told_before(sample: Workspace) -> None:
    base = RunStore(sample).registry.get("support-base")
    recipe = check({"name": "r", "base": "support-base", "data": ["triage"]})
    folder = read_folder(unpacking.weights_of(sample, base, recipe, quiet))
    assert [f.code for f in check_base(recipe, base, folder)] == ["gguf_base", "gguf_requantized"]
    (found,) = check_base(as_served(recipe, base), base, folder)
    assert "GGUF file in Q8_0" in found.message
    assert base.sha256[:16] in found.message
    assert "serves on this very file" in found.message


# ── figures ──


def llama_of(rotary: dict[str, Any], **more: Any) -> Family:
    figures = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "vocab_size": 8,
    }
    return Family("llama", {**figures, "max_position_embeddings": 131072, "rope_parameters": rotary, **more})


def config_again(family: Family) -> dict[str, Any]:
    metadata = {"general.architecture": "llama"} | {f"llama.{k}": v for k, v in network.figures(family).items()}
    # 32 bits are what a file has.
    metadata = {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in metadata.items()}
    return network.configuration(metadata, {"token_embd.weight": (8, 64)}, dict(network.rotary_factors(family)))


@pytest.mark.parametrize(
    "scaling",
    [
        {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
        {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
        {"factor": 16.0, "low_freq_factor": 2.0, "high_freq_factor": 6.0, "original_max_position_embeddings": 4096},
    ],
)
def test_the_rotary_scaling_of_llama_3_is_found_in_its_factors(scaling: dict[str, Any]) -> None:
    rotary = {"rope_type": "llama3", "rope_theta": 500000.0} | scaling
    family = llama_of(rotary, head_dim=128)
    ((_, factors),) = network.rotary_factors(family)
    again = config_again(family)["rope_parameters"]
    ((_, found),) = network.rotary_factors(llama_of(again, head_dim=128))
    np.testing.assert_allclose(found, factors, rtol=1e-5)
    if scaling["original_max_position_embeddings"] == 8192:
        # As all known models have it; of others the frequencies are the same, and the figures are others.
        assert again == rotary


def test_other_rotary_scalings_come_back_and_unknown_ones_are_refused() -> None:
    linear = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
    yarn = {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 32768}
    for rotary in (linear, yarn, {"rope_type": "default", "rope_theta": 10000.0}):
        assert config_again(llama_of(rotary))["rope_parameters"] == rotary
    for odd in ({"beta_fast": 16}, {"mscale": 0.7}, {"attention_factor": 1.0}, {"truncate": False}):
        with pytest.raises(InputRefusedError, match=f"YaRN with {next(iter(odd))}"):
            network.figures(llama_of(yarn | odd))
    assert network.figures(llama_of(yarn | {"attention_factor": 1.1386294, "beta_slow": 1}))
    said = {f"llama.{k}": v for k, v in network.figures(llama_of(yarn)).items()} | {"general.architecture": "llama"}
    for name, value, refused in (
        ("yarn_beta_fast", 32.0, False),
        ("yarn_beta_slow", 2.0, True),
        ("attn_factor", 0.5, True),
    ):
        given = said | {f"llama.rope.scaling.{name}": value}
        with pytest.raises(InputRefusedError, match=f"YaRN with {name}") if refused else nullcontext():
            network.configuration(given, {"token_embd.weight": (8, 64)}, {})
    with pytest.raises(InputRefusedError, match="unknown kind"):
        metadata = {"general.architecture": "llama"} | {
            f"llama.{k}": v for k, v in network.figures(llama_of(linear)).items()
        }
        factors = np.linspace(1, 5, 8, dtype=np.float32) ** 2
        network.configuration(metadata, {"token_embd.weight": (8, 64)}, {"rope_freqs.weight": factors})


def test_files_whose_parts_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.gguf").write_bytes(b"")
    with pytest.raises(InputRefusedError, match="only 0 bytes"):
        read_contents(tmp_path / "empty.gguf")
    tokens = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["a", "b"]}
    for name in ("token_type", "scores"):
        with pytest.raises(InputRefusedError, match=f"2 tokens, and a {name} of 1"):
            Vocabulary({**tokens, f"tokenizer.ggml.{name}": [1]})
    for merge in ("", " ", "ab", "a "):
        byte_level = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": [merge]}
        with pytest.raises(InputRefusedError, match="not two tokens"):
            Vocabulary(tokens | byte_level).tokenizer()
    for kind, wanted in (("linear", "factor"), ("yarn", "factor")):
        figures = network.figures(llama_of({"rope_type": "default"})) | {"rope.scaling.type": kind}
        metadata = {"general.architecture": "llama"} | {f"llama.{k}": v for k, v in figures.items()}
        with pytest.raises(InputRefusedError, match=f"lacks rope.scaling.{wanted}, which"):
            network.configuration(metadata, {"token_embd.weight": (8, 64)}, {})


def test_files_that_are_not_of_their_family_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError, match="'mamba' cannot"):
        network.configuration({"general.architecture": "mamba"}, {}, {})
    base = make_model("qwen3", tmp_path / "base")
    convert(base, tmp_path / "base.gguf", "base", quiet)
    # The same bytes under the name of a family without norms of queries.
    raw = (tmp_path / "base.gguf").read_bytes()
    (tmp_path / "other.gguf").write_bytes(raw.replace(b"qwen3", b"qwen2"))
    with pytest.raises(InputRefusedError, match=r"lacks blk\.0\.attn_k\.bias"):
        unpacking.unpack([tmp_path / "other.gguf"], tmp_path / "back", "F32", quiet)
    assert not (tmp_path / "back").exists()


# ── tokenizers ──


def write_vocabulary(path: Path, **fields: Any) -> Path:
    """A GGUF file of a vocabulary alone."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(fields["model"])
    writer.add_tokenizer_pre(fields.get("pre", "default"))
    writer.add_token_list(fields["tokens"])
    writer.add_token_types(fields["types"])
    if "merges" in fields:
        writer.add_token_merges(fields["merges"])
    if "scores" in fields:
        writer.add_token_scores(fields["scores"])
        writer.add_add_space_prefix(fields["prefix"])
    writer.add_add_bos_token(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tokens_of(path: Path, texts: list[str]) -> tuple[list[list[int]], list[list[int]]]:
    """The tokens of texts by llama.cpp and by what is made of the same file."""
    ours = Tokenizer.from_str(json.dumps(Vocabulary(read_contents(path).metadata).tokenizer()))
    with ModelTokenizer(path) as engine:
        theirs = [[token for token, _ in found] for found in engine.many(texts)]
    return [ours.encode(text, add_special_tokens=False).ids for text in texts], theirs


def telling_vocabulary(texts: list[str]) -> dict[str, Any]:
    """Bytes, and a token for each pair of bytes that occurs: a pair across a split is never joined, so splits show."""
    from tokenizers.pre_tokenizers import ByteLevel

    whole = ByteLevel(add_prefix_space=False, use_regex=False)
    pairs = [
        p for text in texts for (raw, _) in whole.pre_tokenize_str(text) for p in map("".join, itertools.pairwise(raw))
    ]
    unique = list(dict.fromkeys(pairs))
    random.Random(5).shuffle(unique)
    tokens = [*sorted(ByteLevel.alphabet()), *unique]
    return {"tokens": tokens, "types": [1] * len(tokens), "merges": [f"{pair[0]} {pair[1]}" for pair in unique]}


@pytest.mark.parametrize("way", representatives(pre_tokenizers.PRE_TOKENIZERS, 0, 4, 8), ids=lambda way: way.names[0])
def test_texts_are_split_as_llama_cpp_splits_them(way: pre_tokenizers.PreTokenizer, tmp_path: Path) -> None:
    texts = hard_strings()
    path = write_vocabulary(tmp_path / "v.gguf", model="gpt2", pre=way.names[0], **telling_vocabulary(texts))
    ours, theirs = tokens_of(path, texts)
    assert len(texts) > 200
    assert [(t, a, b) for t, a, b in zip(texts, ours, theirs, strict=True) if a != b] == []


@pytest.mark.slow
def test_all_names_of_llama_cpp_split_so(tmp_path: Path) -> None:
    texts = hard_strings()
    vocabulary = telling_vocabulary(texts)
    for name in (name for way in pre_tokenizers.PRE_TOKENIZERS for name in way.names[1:]):
        ours, theirs = tokens_of(
            write_vocabulary(tmp_path / f"{name}.gguf", model="gpt2", pre=name, **vocabulary), texts
        )
        assert ours == theirs, name


def test_a_way_to_split_is_found_by_what_it_does() -> None:
    from llmops_tui.training.export.conversion import _splits

    def of(pre_tokenizer: Any, **model: Any) -> str:
        return pre_tokenizers.find({"pre_tokenizer": pre_tokenizer, "model": model}, _splits).names[0]

    for way in pre_tokenizers.PRE_TOKENIZERS:
        assert of(pre_tokenizers.as_json(way), ignore_merges=way.whole_words) == way.names[0]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    assert of(byte_level) == "gpt-2"
    # SmolLM's, which was once taken for GPT-2's.
    assert of({"type": "Sequence", "pretokenizers": [digits, byte_level]}) == "smollm"
    with pytest.raises(InputRefusedError, match="no name for"):
        of({"type": "Whitespace"})
    with pytest.raises(InputRefusedError, match="'kimi-k2'"):
        pre_tokenizers.named("kimi-k2")


@pytest.mark.slow
@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_vocabularies_make_the_same_tokens(prefix: bool, tmp_path: Path) -> None:
    """Tokens of the sample's words, best first, with bytes to fall back on, marks, and a run of blanks as one token."""
    drawn = random.Random(7)
    rows = (sample_folder() / "datasets" / "triage-train.jsonl").read_text("utf-8").splitlines()[:200]
    words = ["▁" + word for row in rows for word in json.loads(row)["messages"][1]["content"].split()]
    pieces = {w[i:j] for w in words for i in range(len(w)) for j in range(i + 1, min(len(w), i + 9) + 1)}
    chosen = drawn.sample(sorted(p for p in pieces if len(p) > 1), 700) + sorted({c for w in words for c in w})
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), "    ", *dict.fromkeys(chosen)]
    types = [2, 3, 3, *[6] * 256, 4, *[1] * (len(tokens) - 260)]
    scores = [0.0] * 260 + [-float(n) for n in drawn.sample(range(len(tokens) - 260), len(tokens) - 260)]
    path = write_vocabulary(
        tmp_path / "v.gguf", model="llama", tokens=tokens, types=types, scores=scores, prefix=prefix
    )
    texts = [*hard_strings(), *(json.loads(row)["messages"][1]["content"] for row in rows), "a     b", "<s>Hello</s> x"]
    ours, theirs = tokens_of(path, texts)
    assert [(t, a, b) for t, a, b in zip(texts, ours, theirs, strict=True) if a != b] == []


def test_the_tokenizer_of_a_real_model_is_llama_cpps(smollm2: Path) -> None:
    ours, theirs = tokens_of(smollm2, hard_strings())
    assert ours == theirs
