"""GGUF files that llmops writes: read by the field's own reader, and the same bytes each time."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.models import known_models
from llmops_tui.models.bert_gguf import convert_bert
from llmops_tui.models.gguf_writing import write_gguf
from llmops_tui.models.known_models import KNOWN, Converted, cached, fetch_known
from llmops_tui.models.packaged import PackagedFile

FACTS = {
    "general.architecture": "bert",
    "a.whole": 7,
    "a.number": 0.5,
    "a.yes": True,
    "a.words": ["x", "ü"],
    "a.kinds": [1, -2],
}


def test_what_is_written_is_read_by_gguf_s_reader(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    tensors = {
        "one": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.ones((5,), np.float16),
    }
    path = write_gguf(tmp_path / "a.gguf", FACTS, tensors)
    reader = gguf.GGUFReader(path)
    assert {name: reader.fields[name].contents() for name in FACTS} == FACTS
    assert {t.name: t.data.tolist() for t in reader.tensors} == {n: t.tolist() for n, t in tensors.items()}
    again = write_gguf(tmp_path / "b.gguf", FACTS, tensors)
    assert again.read_bytes() == path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def write_folder(folder: Path) -> None:
    """A model as sentence-transformers keeps it, of one layer."""
    folder.mkdir()
    width, words = 8, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "##s"]
    config: dict[str, Any] = {
        "max_position_embeddings": 16,
        "hidden_size": width,
        "num_hidden_layers": 1,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "layer_norm_eps": 1e-12,
        "type_vocab_size": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {w: n for n, w in enumerate(words)}}}))
    rng = np.random.default_rng(0)
    tensors = {
        "embeddings.word_embeddings.weight": rng.random((len(words), width)),
        "embeddings.LayerNorm.bias": rng.random(width),
        "encoder.layer.0.attention.self.query.weight": rng.random((width, width)),
        "pooler.dense.weight": rng.random((width, width)),
    }
    header, data = {}, b""
    for name, value in tensors.items():
        raw = value.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    told = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(told)) + told + data)


def test_a_bert_is_written_without_its_pooler(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    write_folder(tmp_path / "model")
    reader = gguf.GGUFReader(convert_bert(tmp_path / "model", tmp_path / "a.gguf"))
    assert {t.name for t in reader.tensors} == {"token_embd.weight", "token_embd_norm.bias", "blk.0.attn_q.weight"}
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    assert tokens[5:] == ["\u2581hello", "s"]
    assert reader.fields["bert.pooling_type"].contents() == 1


def test_a_package_is_converted_and_its_hash_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "model")
    expected = convert_bert(tmp_path / "model", tmp_path / "expected.gguf").read_bytes()

    def take_out(file: PackagedFile, scratch: Path, _progress: object) -> Path:
        archive = scratch / file.file_name
        with zipfile.ZipFile(archive, "w") as opened:
            for path in (tmp_path / "model").iterdir():
                opened.write(path, path.name)
        return archive

    monkeypatch.setattr(known_models, "take_out", take_out)
    monkeypatch.setenv("LLMOPS_MODEL_CACHE", str(tmp_path / "cache"))
    known = KNOWN["all-minilm-l6-v2"]
    made = Converted("tiny.F32.gguf", len(expected), hashlib.sha256(expected).hexdigest(), known_models._convert_minilm)
    monkeypatch.setitem(KNOWN, known.name, replace(known, converted=made))
    path = fetch_known(known.name)
    assert path == cached(known.name)
    assert path.read_bytes() == expected
    assert {p.name for p in path.parent.iterdir()} == {".lock", "tiny.F32.gguf"}
    wrong = replace(made, sha256="0" * 64)
    monkeypatch.setitem(KNOWN, known.name, replace(known, converted=wrong))
    with pytest.raises(LlmopsError, match="does not match its SHA-256"):
        fetch_known(known.name)
