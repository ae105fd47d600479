from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_wheel_and_sdist_hold_all_and_the_wheel_runs_in_a_new_environment(tmp_path: Path) -> None:
    source = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(source)],
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    for expected in (
        "llmops_tui/py.typed",
        "screens/app.tcss",
        "screens/playground/screen.tcss",
        "llmops_tui/_sample_data/models/support-base-Q8_0.gguf",
        "llmops_tui/_sample_data/prompts/triage.yaml",
    ):
        assert expected in names
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("sample_data/models/SHA256SUMS") for name in archive.getnames())
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True, capture_output=True
    )
    # Dependencies are those of this environment: what is tried here is our package, not building llama.cpp again.
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    llmops = environment / "bin" / "llmops"
    env = {**os.environ, "PYTHONNOUSERSITE": "1"}
    where = subprocess.run(
        [python, "-c", "import llmops_tui; print(llmops_tui.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    assert str(environment) in where
    version = subprocess.run([llmops, "--version"], capture_output=True, text=True, check=True, env=env, cwd=tmp_path)
    assert version.stdout.startswith("llmops ")
    subprocess.run(
        [llmops, "init", "--sample", "--workspace", str(tmp_path / "ws")], check=True, capture_output=True, cwd=tmp_path
    )
    shown = subprocess.run(
        [llmops, "model", "list", "--workspace", str(tmp_path / "ws")],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert "support-base" in shown.stdout
