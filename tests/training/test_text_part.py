"""Models of text and images: their text part is converted, read back and asked as the text model that it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmops_tui.models.gguf import read_contents
from llmops_tui.models.safetensors import read_folder
from llmops_tui.training.export import tensors
from llmops_tui.training.export.conversion import convert
from llmops_tui.training.export.merge import merge_safetensors
from llmops_tui.training.export.proof import Case
from tests.later import Later
from tests.training.models import make_model

reference = Later("llmops_tui.training.worker.reference")
CASE = Case("", list(range(20, 60)), list(range(100, 112)))
WRAPPED = {"gemma3": "gemma3_text", "mistral3": "ministral3", "qwen3_5": "qwen3_5_text"}


def wrap(text: Path, target: Path, wrapper: str, *, older: bool) -> Path:
    """The text model as the text part of one of text and images, as older or newer versions of transformers save it."""
    target.mkdir()
    values = dict(tensors.read_all(text))

    def renamed(name: str) -> str:
        if older:
            return f"language_model.{name}"
        return name if name.startswith("lm_head.") else name.replace("model.", "model.language_model.", 1)

    every = {renamed(name): value for name, value in values.items()}
    every["vision_tower.patch.weight"] = np.ones((4, 4), np.float32)
    tensors.write(target / "model.safetensors", [(n, v.shape) for n, v in every.items()], iter(every.values()), "F32")
    config = json.loads((text / "config.json").read_text("utf-8"))
    body: dict[str, Any] = {"model_type": wrapper, "text_config": config, "dtype": "float32"}
    body["tie_word_embeddings"] = bool(config.get("tie_word_embeddings"))
    (target / "config.json").write_text(json.dumps(body), encoding="utf-8")
    for file in text.iterdir():
        if file.name not in {"config.json", "model.safetensors"}:
            shutil.copyfile(file, target / file.name)
    return target


def test_a_text_part_is_the_same_file_as_its_text_model(tmp_path: Path) -> None:
    text = make_model("gemma3_text", tmp_path / "text")
    convert(text, tmp_path / "text.gguf", "one", lambda _share, _told: None)
    for older in (True, False):
        whole = wrap(text, tmp_path / f"whole{older}", "gemma3", older=older)
        folder = read_folder(whole)
        assert (folder.family, folder.wrapper) == ("gemma3_text", "gemma3")
        assert list(folder.beside) == ["vision_tower.patch.weight"]
        convert(whole, tmp_path / f"{older}.gguf", "one", lambda _share, _told: None)
        assert (tmp_path / f"{older}.gguf").read_bytes() == (tmp_path / "text.gguf").read_bytes()
        # What sees images stays where it was.
        merge_safetensors([], whole, tmp_path / f"merged{older}", lambda _share, _told: None)
        assert set(dict(tensors.read_all(tmp_path / f"merged{older}"))) == set(dict(tensors.read_all(whole)))


@pytest.mark.slow
@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("wrapper", sorted(WRAPPED))
def test_transformers_loads_the_text_part_alone(wrapper: str, older: bool, tmp_path: Path) -> None:
    text = make_model(WRAPPED[wrapper], tmp_path / "text")
    whole = wrap(text, tmp_path / "whole", wrapper, older=older)
    convert(text, tmp_path / "text.gguf", "one", lambda _share, _told: None)
    convert(whole, tmp_path / "whole.gguf", "one", lambda _share, _told: None)
    one, two = (read_contents(tmp_path / f"{name}.gguf") for name in ("text", "whole"))
    assert one.metadata == two.metadata
    want, found = (reference.ask(folder, None, [CASE], set()) for folder in (text, whole))
    assert np.array_equal(want.logprobs[0], found.logprobs[0])
