"""Programs that use the clients, each in a process of its own, with the interpreter of the environment that has them.

The Python clients want other versions of some packages than we do, and than each other, so they have environments beside
ours, one for each file in ``environments``. They lie below ours, or in the folder that ``LLMOPS_CLIENTS`` names; what node
runs lies beside them in ``clients-js``, and the coding agents in ``coding-agents``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.clients.scripted import Scripted

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
# Programs that have an environment of their own.
APART = {
    "instructor_modes": "clients-instructor",
    "openai_agents": "clients-agents",
    "anthropic_messages": "clients-agents",
}
# Nothing leaves this machine: no telemetry, and no list of prices or of models.
_QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false",
    "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INSPECT_DISPLAY": "none",
}  # fmt: skip


def beside(name: str) -> Path:
    """An environment below ours, or below the folder that is named for all of them."""
    return Path(os.environ.get("LLMOPS_CLIENTS", sys.prefix)) / name


def command_of(program: str) -> list[str]:
    """How a program is started; the test is skipped where what runs it is not installed."""
    if program.endswith(".mjs"):
        node, modules = shutil.which("node"), beside("clients-js") / "node_modules"
        if node is None:
            pytest.skip("node is not installed")
        if not modules.is_dir():
            pytest.skip(f"{modules} is not there: make test-slow installs it where npm is")
        return [node, str(modules.parent / program)]
    python = beside(APART.get(program, "clients")) / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python} is not there: make test-slow installs it")
    return [str(python), str(PROGRAMS / f"{program}.py")]


@dataclass
class Program:
    """One program, started when it is first asked for something."""

    name: str

    @cached_property
    def _process(self) -> subprocess.Popen[str]:
        command = command_of(self.name)
        if self.name.endswith(".mjs"):
            # Packages are looked for from where a script lies.
            for script in PROGRAMS.glob("*.mjs"):
                shutil.copy(script, command[1].removesuffix(self.name))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | _QUIET
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, encoding="utf-8"
        )

    def does(self, case: str, served: Scripted | None = None) -> Any:
        """What came of a case; the program's own traceback where that failed."""
        process = self._process
        place = {"url": served.url, "key": served.key, "model": served.model} if served is not None else {}
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"case": case, "place": place}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, f"{self.name} ended with {process.wait()}"
        answer = json.loads(line)
        assert "failed" not in answer, answer["failed"]
        return answer["told"]

    def close(self) -> None:
        """End it."""
        if (process := self.__dict__.get("_process")) is not None:
            process.stdin.close()
            process.stdout.close()
            process.wait(600)
