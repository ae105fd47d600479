"""llama.cpp's own converter as the reference: the same tensors, byte by byte, and the same figures.

It comes from the source distribution of llama-cpp-python, which is fetched with pip; a folder that has it already is named by
the variable LLMOPS_TEST_LLAMA_CPP.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.models.gguf import read_contents
from llmops_tui.training.export.conversion import convert
from tests.training.models import FAMILIES, make_model

FOLDER_VARIABLE = "LLMOPS_TEST_LLAMA_CPP"
_INSIDE = "vendor/llama.cpp/"
_WANTED = ("convert_hf_to_gguf.py", "conversion/", "gguf-py/")
# The sample's tokenizer is in none of the converter's lists, and other ways to read it need other packages.
_DRIVER = """
import runpy, sys
root, folder, out = sys.argv[1:4]
sys.path[:0] = [root, root + "/gguf-py"]
import conversion.base as base
text, whole = base.TextModel, base.TextModel.prepare_metadata
text.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
def prepare(self, vocab_only):
    self.set_vocab = self._set_vocab_gpt2
    return whole(self, vocab_only)
text.prepare_metadata = prepare
sys.argv = ["convert", folder, "--outfile", out, "--outtype", "f16", *sys.argv[4:]]
runpy.run_path(root + "/convert_hf_to_gguf.py", run_name="__main__")
"""
# What it writes of a family beyond what llama.cpp needs, or leaves to the vocabulary.
_BESIDE = ("general.", "tokenizer.")
# What it says otherwise: of phi it takes the inner width to be four times the outer one, whatever the configuration says;
# of phi3 it writes a window of 0 and 4096 for a length, where the model has neither.
_OTHERWISE = {
    "phi": {"phi2.feed_forward_length"},
    "phi3": {"phi3.rope.scaling.original_context_length", "phi3.attention.sliding_window"},
}


@pytest.fixture(scope="module")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the converter; the tests are skipped where it cannot be had."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given)
    folder = tmp_path_factory.mktemp("llama.cpp")
    version = importlib.metadata.version("llama-cpp-python")
    command = ["pip", "download", "-q", "--no-deps", "--no-binary", "llama-cpp-python", "-d", str(folder)]
    found = subprocess.run(
        [sys.executable, "-m", *command, f"llama-cpp-python=={version}"], check=False, timeout=1200, capture_output=True
    )
    archives = list(folder.glob("llama_cpp_python*.tar.gz"))
    if found.returncode or not archives:
        pytest.skip("the source distribution of llama-cpp-python, which has llama.cpp's converter, cannot be fetched")
    with tarfile.open(archives[0]) as tar:
        members = [
            one
            for one in tar.getmembers()
            if _INSIDE in one.name and one.name.partition(_INSIDE)[2].startswith(_WANTED)
        ]
        tar.extractall(folder, members, filter="data")
    return next(folder.glob(f"*/{_INSIDE}"))


def tensors_of(path: Path) -> dict[str, tuple[Any, Any, bytes]]:
    """Type, shape and bytes of each tensor."""
    raw = path.read_bytes()
    places = read_contents(path).tensors
    return {name: (p.kind, p.shape, raw[p.offset : p.offset + p.length]) for name, p in places.items()}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_our_file_is_that_of_llama_cpps_converter(family: str, converter: Path, tmp_path: Path) -> None:
    base = make_model(family, tmp_path / "base")
    convert(base, tmp_path / "ours.gguf", "base", lambda _share, _told: None)
    options = ["--no-nextn"] if family == "qwen3_5_text" else []
    arguments = [sys.executable, "-c", _DRIVER, str(converter), str(base), str(tmp_path / "theirs.gguf"), *options]
    found = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=1800)
    assert found.returncode == 0, found.stderr[-2000:]
    ours, theirs = tensors_of(tmp_path / "ours.gguf"), tensors_of(tmp_path / "theirs.gguf")
    assert set(ours) == set(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    one, two = (read_contents(tmp_path / f"{name}.gguf").metadata for name in ("ours", "theirs"))
    apart = _OTHERWISE.get(family, set())
    told = {key: value for key, value in two.items() if not key.startswith(_BESIDE) and key not in apart}
    # All that it says is said here, too; what it leaves to llama.cpp is said as llama.cpp takes it.
    assert {key: one.get(key) for key in told} == told
