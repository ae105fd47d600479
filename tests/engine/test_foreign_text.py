"""Files of others that are made to take all memory or to end the interpreter: each is refused in one line."""

from __future__ import annotations

import datetime as dt
import json
import struct
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import yaml

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import MAX_DEPTH, parse_json, parse_toml, parse_yaml, text_of
from llmops_tui.models.engine_settings import EngineSettings
from llmops_tui.models.gguf import read_header
from llmops_tui.models.memory import estimate
from llmops_tui.models.safetensors import read_folder, read_tensors


def lined(count: int, row: Callable[[int], str]) -> str:
    return "".join(row(n) + "\n" for n in range(count))


# Ten lists of ten aliases each, of the list before: ten thousand million values.
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + lined(9, lambda n: f"a{n + 1}: &a{n + 1} [{','.join([f'*a{n}'] * 10)}]")
MERGED = "a0: &a0 {x: 1}\n" + lined(9, lambda n: f"a{n + 1}: &a{n + 1} {{<<: [{','.join([f'*a{n}'] * 10)}]}}")
HOSTILE = {
    "aliases of aliases": BOMB,
    "merged aliases": MERGED,
    "aliases nested deep": "a0: &a0 [1]\n" + lined(400, lambda n: f"a{n + 1}: &a{n + 1} [*a{n}]"),
    "brackets": "[" * 300,
    "indented": lined(2000, lambda n: " " * n + "a:"),
    "itself": "a: &a [*a]",
    "digits": "a: " + "9" * 5000,
    "no date": "a: 2020-99-99",
    "a call": "!!python/object/apply:os.system [ls]",
}


def readers() -> dict[str, Callable[[Path], Any]]:
    from llmops_tui.evaluation.promptfoo.reader import read_promptfoo
    from llmops_tui.evaluation.suite_file import read_suite
    from llmops_tui.monitoring.rules import parse_rules
    from llmops_tui.prompts.prompt_files import parse
    from llmops_tui.training.foreign_recipes import read_recipe
    from llmops_tui.training.search_space import read_space

    return {
        "suite": read_suite,
        "promptfoo": read_promptfoo,
        "recipe": read_recipe,
        "sweep": read_space,
        "prompt": lambda path: parse(path.read_text(), str(path)),
        "alerts": lambda path: parse_rules(path.read_text(), str(path)),
    }


@pytest.mark.parametrize("what", HOSTILE)
def test_every_reader_of_yaml_refuses_it_in_one_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(HOSTILE[what])
    for name, read in readers().items():
        with pytest.raises(InputRefusedError) as refused:
            read(path)
        told = refused.value.message
        assert len(told) < 2000, name
        assert told.strip(), name


@pytest.mark.parametrize(("what", "why"), [
    ("aliases of aliases", "expand to more"), ("merged aliases", "expand to more"), ("aliases nested deep", "nested deeper"),
    ("brackets", "nested deeper"), ("indented", "nested deeper"), ("itself", "contains itself"), ("digits", "digits"),
])  # fmt: skip
def test_why_is_told(what: str, why: str) -> None:
    with pytest.raises(yaml.YAMLError, match=why):
        parse_yaml(HOSTILE[what])


@pytest.mark.parametrize("text", [
    "!!bool foo", "!!int ''", "!!float ''", "!!timestamp foo", "!!null x", "!!int {}", "!!timestamp []", "!!binary é", "!!set [a]",
    "!!omap x", "!!pairs {a: 1}", "? [a]\n: 1", "<<: 1", "!!int '0x'", "!!int '1:a'", "!!float '1:'", "!!merge a", "!!value a",
])  # fmt: skip
def test_a_tag_that_does_not_fit_its_text_is_an_error_of_yaml_or_read(text: str) -> None:
    for given in (text, f"a: {text}" if "\n" not in text else text):
        try:
            plain = yaml.safe_load(given)
        except Exception:  # noqa: BLE001 - what the library lets out is what this is about
            with pytest.raises(yaml.YAMLError, match=r"."):
                parse_yaml(given)
        else:
            assert parse_yaml(given) == plain


@pytest.mark.parametrize("text", ["!!bool foo", "!!int ''", "!!timestamp foo"])
def test_a_value_that_its_tag_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="cannot be read"):
        parse_yaml(text)


def test_plain_yaml_is_read_as_ever() -> None:
    for text in (
        "",
        "a: 1",
        "[1, 2.5, true, null]",
        "a: &x {k: v}\nb: *x\nc: {<<: *x, l: 1}",
        "- |\n  text\n",
    ):
        assert parse_yaml(text) == yaml.safe_load(text)
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_yaml(deep) == yaml.safe_load(deep)
    with pytest.raises(yaml.YAMLError):
        parse_yaml("[" + deep + "]")


def test_json_and_toml_that_are_nested_deep_are_wrong_as_any_other() -> None:
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_json(deep) == json.loads(deep)
    for text in ("[" + deep + "]", "[" * 100_000, '{"a":' * 100_000, "9" * 5000, "{"):
        with pytest.raises(ValueError, match=r"."):
            parse_json(text)
    with pytest.raises(tomllib.TOMLDecodeError):
        parse_toml("a = " + "[" * 100_000)
    assert parse_toml("a = [1]") == {"a": [1]}


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 11)
    assert text_of(path, 11) == "x" * 11
    with pytest.raises(InputRefusedError, match="larger than 10 bytes"):
        text_of(path, 10)


def header(path: Path, **facts: Any) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in facts.items():
        key = "llama." + name.replace("__", ".")
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, float):
            writer.add_float64(key, value)
        else:
            writer.add_uint64(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    "facts",
    [
        {"block_count": 10**9}, {"block_count": "many"}, {"block_count": 1e300}, {"block_count": float("inf")},
        {"context_length": 2**62}, {"embedding_length": 2**40}, {"attention__head_count": 2**31},
        {"attention__head_count_kv": [1, 10**9]}, {"feed_forward_length": [1.5]}, {"nextn_predict_layers": 10**6},
        {"attention__key_length": 2**40}, {"attention__sliding_window": -1.0},
    ],
)  # fmt: skip
def test_a_header_that_claims_what_no_model_has_is_refused_by_name(facts: dict[str, Any], tmp_path: Path) -> None:
    path = header(tmp_path / "trap.gguf", **facts)
    with pytest.raises(InputRefusedError) as refused:
        read_header(path)
    assert refused.value.code == "gguf_damaged"
    assert "llama." + next(iter(facts)).replace("__", ".") in refused.value.message


def test_a_header_at_the_limit_is_estimated(tmp_path: Path) -> None:
    path = header(
        tmp_path / "large.gguf", block_count=4096, embedding_length=8192, attention__head_count=64, context_length=4096
    )
    assert estimate(read_header(path), EngineSettings()).layers == 4096


def test_counts_that_cannot_lie_in_the_file_are_refused_before_they_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "trap.gguf"
    for tensors, pairs in ((199_999, 1), (1, 19_999)):
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + b"\0" * 76)
        with pytest.raises(InputRefusedError, match="in a file of 100 bytes"):
            read_header(path)
    key = b"general.architecture"
    items = struct.pack("<Q", len(key)) + key + struct.pack("<IIQ", 9, 8, 19_000_000)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + items)
    with pytest.raises(InputRefusedError, match="claims 19,000,000 items"):
        read_header(path)


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 10**9},
        {"hidden_size": "x"},
        {"text_config": {"num_hidden_layers": 10**9}},
        {"vocab_size": -1},
    ],
)
def test_a_configuration_that_claims_what_no_model_has_is_refused_by_name(
    config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"} | config))
    with pytest.raises(InputRefusedError) as refused:
        read_folder(tmp_path)
    assert refused.value.code == "model_damaged"
    assert str(next(iter(config.get("text_config", config)))) in refused.value.message


def test_a_safetensors_header_that_is_nested_deep_is_damaged(tmp_path: Path) -> None:
    raw = b'{"a":' * 50_000
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)
    with pytest.raises(InputRefusedError, match="damaged"):
        read_tensors(path)


def test_a_value_that_is_typed_for_a_field_is_one_or_is_refused() -> None:
    from llmops_tui.training.recipe_input import from_text

    assert from_text("optimizer.learning_rate", "1.5") == 1.5
    for text in ("[" * 300, "a: b: c", "9" * 5000):
        with pytest.raises(InputRefusedError, match=r"optimizer\.learning_rate"):
            from_text("optimizer.learning_rate", text)


def test_odd_parts_of_a_model_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    body = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", len(body)) + body + b"\0" * 4)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": [1, {"name": "default", "template": "x"}]}')
    assert read_folder(tmp_path).chat_template == "x"
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": 5}')
    with pytest.raises(InputRefusedError, match="does not map tensors to files"):
        read_folder(tmp_path)
    for shape in (b"[Infinity]", b"[1e400]", b"[[1]]", b'"x"'):
        odd = body.replace(b"[1]", shape)
        weights.write_bytes(struct.pack("<Q", len(odd)) + odd + b"\0" * 4)
        with pytest.raises(InputRefusedError, match="damaged"):
            read_tensors(weights)


def test_a_date_is_the_text_that_it_is_written_as() -> None:
    assert parse_yaml("a: 2024-01-02\nb: [2024-01-02T10:00:00Z]\nc: !!timestamp 2024-01-02") == {
        "a": "2024-01-02",
        "b": ["2024-01-02T10:00:00Z"],
        "c": "2024-01-02",
    }
    assert parse_yaml("2024-13-45") == "2024-13-45"
    assert parse_yaml("2024-01-02", core=True) == dt.date(2024, 1, 2)


@pytest.mark.parametrize("core", [False, True])
@pytest.mark.parametrize("kind", ["!!binary aGk=", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]"])
def test_what_json_does_not_have_is_no_value(kind: str, core: bool) -> None:
    with pytest.raises(yaml.YAMLError, match=f"{kind.split(maxsplit=1)[0]} is no text, number, list or mapping"):
        parse_yaml(f"a: {kind}", core=core)
