"""Which field an error names in the answer to a line that names a prompt: one that stands in the line.

What is asked of the model is made of the prompt, so it has fields that nobody wrote, such as the messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from llmops_tui.inference.filed.output import Answered


def written_name(param: str, body: Mapping[str, object]) -> str:
    """What of a line's body a field comes from: itself where it was written, else the variables, else the prompt's name."""
    root = re.split(r"[.\[]", param, maxsplit=1)[0]
    if root in body or root == "variables":
        return param
    return "variables" if body.get("variables") else "model"


def named_as_written(answer: Answered, body: Mapping[str, object]) -> Answered:
    """An answer whose error names a field, if any, with the name that stands in the line's ``body``."""
    error = answer["body"].get("error")
    if not isinstance(error, dict) or not isinstance(param := error.get("param"), str):
        return answer
    name = written_name(param, body)
    if name == param:
        return answer
    message = str(error.get("message") or "")
    told = f"{name}: {message.removeprefix(f'{param}: ')}" if message.startswith(f"{param}: ") else message
    return {**answer, "body": {**answer["body"], "error": {**error, "param": name, "message": told}}}
