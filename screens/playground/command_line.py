"""The command line equivalent of the playground's state."""

from __future__ import annotations

import shlex

from screens.playground.state import PlaygroundState


def prompt_run(state: PlaygroundState) -> str:
    """``llmops prompt run`` with the variables and parameters of the screen."""
    matching = state.matching
    ref = matching.ref if matching is not None else state.name
    parts = ["llmops", "prompt", "run", ref, "--model", state.model_name or "MODEL"]
    for name, value in state.values(state.settings).items():
        parts += ["--var", f"{name}={value}"]
    # What the version holds need not be said again.
    held = state.settings.parameters.model_fields_set if matching is not None and state.settings is not None else set()
    own = state.parameters.model_dump(exclude_defaults=True, exclude={"stop", *held})
    for name, value in own.items():
        if name == "enable_thinking":
            parts.append("--thinking" if value else "--no-thinking")
        else:
            parts += [f"--{name.replace('_', '-')}", str(value)]
    for text in state.parameters.stop if "stop" not in held else ():
        parts += ["--stop", text]
    for server in state.tool_servers:
        parts += ["--mcp", server]
    return shlex.join(parts)
