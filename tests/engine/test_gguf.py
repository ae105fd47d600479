from __future__ import annotations

import pickle
import random
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.models.gguf import read_header
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog


def test_the_header_agrees_with_the_reference_reader(model_file: Path) -> None:
    header = read_header(model_file)
    reference = gguf.GGUFReader(model_file)
    assert header.tensor_count == len(reference.tensors)
    assert header.parameter_count == sum(int(np.prod(t.shape)) for t in reference.tensors)
    assert header.tensor_bytes == sum(int(t.n_bytes) for t in reference.tensors)
    assert header.chat_template == reference.fields["tokenizer.chat_template"].contents()
    assert header.array_lengths["tokenizer.ggml.tokens"] == len(reference.fields["tokenizer.ggml.tokens"].data)
    assert (header.architecture, header.quantization, header.context_length) == ("llama", "Q4_K_M", 1024)


def test_every_truncation_is_refused(model_file: Path, tmp_path: Path) -> None:
    raw = model_file.read_bytes()
    rng = random.Random(1)
    target = tmp_path / "cut.gguf"
    for size in [0, 1, 4, 23, 24, len(raw) - 1, *(rng.randrange(len(raw)) for _ in range(40))]:
        target.write_bytes(raw[:size])
        with pytest.raises(InputRefusedError):
            read_header(target)


def test_two_hundred_mutations_of_the_header_are_read_or_refused_and_never_crash(
    model_file: Path, tmp_path: Path
) -> None:
    raw = model_file.read_bytes()
    rng = random.Random(2)
    target = tmp_path / "mutated.gguf"
    refused = 0
    for _ in range(200):
        copy = bytearray(raw)
        at = rng.randrange(4, 60_000)
        kind = rng.randrange(3)
        if kind == 0:
            copy[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            copy[at : at + 8] = struct.pack("<Q", rng.choice([2**64 - 1, 2**63, 2**40, 2**31]))
        else:
            copy[at : at + 4] = rng.randbytes(4)
        target.write_bytes(copy)
        try:
            read_header(target)
        except InputRefusedError:
            refused += 1
    assert refused > 20


def header_with(**changes: bytes) -> bytes:
    parts = {
        "magic": b"GGUF",
        "version": struct.pack("<I", 3),
        "tensors": struct.pack("<Q", 0),
        "pairs": struct.pack("<Q", 0),
        "rest": b"",
    } | changes
    return b"".join(parts.values()) + bytes(64)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (pickle.dumps({"a": list(range(50))}), "pickle"),
        (b"PK\x03\x04" + bytes(60), "zip"),
        (header_with(version=struct.pack(">I", 3)), "version"),
        (header_with(tensors=struct.pack("<Q", 2**60)), "tensors"),
        (header_with(pairs=struct.pack("<Q", 1), rest=struct.pack("<Q", 2**62)), "claims"),
        (header_with(), "architecture"),
        (b"GGUF" * 30, "version"),
    ],
)
def test_what_is_no_model_is_refused_with_the_reason(tmp_path: Path, raw: bytes, reason: str) -> None:
    target = tmp_path / "bad.gguf"
    target.write_bytes(raw)
    with pytest.raises(InputRefusedError, match=reason):
        read_header(target)


def test_the_registry_keeps_the_hash_and_notices_a_changed_byte(
    catalog: Catalog, model_file: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "model.gguf"
    copy.write_bytes(model_file.read_bytes())
    registry = ModelRegistry(catalog)
    registry.add(copy, "small")
    assert registry.verify("small").verified_at is not None
    raw = bytearray(copy.read_bytes())
    raw[-1] ^= 1
    copy.write_bytes(raw)
    assert registry.get("small").present
    with pytest.raises(InputRefusedError, match="not the file"):
        registry.verify("small")


def test_names_are_checked_and_never_taken_twice(catalog: Catalog, model_file: Path, tmp_path: Path) -> None:
    registry = ModelRegistry(catalog)
    for name in ("", "../x", "a b", "-x", "x" * 101):
        with pytest.raises(InputRefusedError):
            registry.add(model_file, name)
    registry.add(model_file, "one")
    registry.add(model_file, "one")
    other = tmp_path / "other.gguf"
    other.write_bytes(model_file.read_bytes() + b"\0")
    with pytest.raises(InputRefusedError, match="another model"):
        registry.add(other, "one")
    with pytest.raises(NotFoundError, match="two"):
        registry.get("two")
    with pytest.raises(InputRefusedError, match="cannot read"):
        registry.add(tmp_path / "missing.gguf", "missing")
