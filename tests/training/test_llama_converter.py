"""llama.cpp's own converter as the reference: the same tensors, byte by byte, and the same figures.

It comes from the source distribution of llama-cpp-python, which is fetched with pip; a folder that has it already is named by
the variable LLMOPS_TEST_LLAMA_CPP.
"""

from __future__ import annotations

import importlib.metadata
import json
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
# All families by one process: most of what it takes is to load torch. The sample's tokenizer is in none of the converter's lists,
# and other ways to read it need other packages.
_DRIVER = """
import json, runpy, sys, traceback
root, asked = sys.argv[1], json.loads(sys.argv[2])
sys.path[:0] = [root, root + "/gguf-py"]
import conversion.base as base
text, whole = base.TextModel, base.TextModel.prepare_metadata
text.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
def prepare(self, vocab_only):
    self.set_vocab = self._set_vocab_gpt2
    return whole(self, vocab_only)
text.prepare_metadata = prepare
for folder, out, options in asked:
    sys.argv = ["convert", folder, "--outfile", out, "--outtype", "f16", *options]
    try:
        runpy.run_path(root + "/convert_hf_to_gguf.py", run_name="__main__")
    except BaseException:
        open(out + ".failed", "w").write(traceback.format_exc())
"""
_OPTIONS = {"qwen3_5_text": ["--no-nextn"]}
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


@pytest.fixture(scope="module")
def made(converter: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Of each family that is asked for the model, our file of it, and theirs."""
    root = tmp_path_factory.mktemp("families")
    asked = []
    for family in {item.callspec.params["family"] for item in request.session.items if item.fspath == request.fspath}:  # type: ignore[attr-defined]
        folder = root / family
        base = make_model(family, folder / "base")
        convert(base, folder / "ours.gguf", "base", lambda _share, _told: None)
        asked.append([str(base), str(folder / "theirs.gguf"), _OPTIONS.get(family, [])])
    arguments = [sys.executable, "-c", _DRIVER, str(converter), json.dumps(asked)]
    found = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=3600)
    assert found.returncode == 0, found.stderr[-2000:]
    return root


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("family", FAMILIES)
def test_our_file_is_that_of_llama_cpps_converter(family: str, made: Path) -> None:
    folder = made / family
    failed = folder / "theirs.gguf.failed"
    assert not failed.exists(), failed.read_text()[-2000:]
    ours, theirs = tensors_of(folder / "ours.gguf"), tensors_of(folder / "theirs.gguf")
    assert set(ours) == set(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    one, two = (read_contents(folder / f"{name}.gguf").metadata for name in ("ours", "theirs"))
    apart = _OTHERWISE.get(family, set())
    told = {key: value for key, value in two.items() if not key.startswith(_BESIDE) and key not in apart}
    # All that it says is said here, too; what it leaves to llama.cpp is said as llama.cpp takes it.
    assert {key: one.get(key) for key in told} == told
