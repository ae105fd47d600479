"""The process that scores the answers of a training run.

One question a line, ``{"op", "workspace", "rewards", "items"}``: rewards as recipes have them, which are metrics as suites
have them, or a function in a file; ``describe`` tells what each is, ``score`` scores each of the items, an answer with the
case that it answers. One answer a line, as :class:`llmops_tui.evaluation.reward_scoring.Rewards` has it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from llmops_tui.evaluation.runner.scoring_worker import own_output
from llmops_tui.jobs.process import end_when_orphaned
from llmops_tui.workspace.layout import Workspace

if TYPE_CHECKING:
    from llmops_tui.evaluation.reward_scoring import Rewards


def main() -> None:
    """Answer questions until standard input ends."""
    end_when_orphaned()
    output = own_output()
    known: dict[str, Rewards] = {}
    for line in sys.stdin.buffer:
        question = orjson.loads(line)
        answer: list[Any] = []
        if question["rewards"]:
            # Not before it is asked anything: what a metric needs takes seconds to import.
            from llmops_tui.evaluation.reward_scoring import Rewards

            root = question["workspace"]
            if root not in known:
                known[root] = Rewards(Workspace(Path(root)))
            if question["op"] == "describe":
                answer = [known[root].described(entry) for entry in question["rewards"]]
            else:
                answer = asyncio.run(known[root].scored(question["rewards"], question["items"]))
        left = memoryview(orjson.dumps(answer, default=str) + b"\n")
        while left:
            left = left[output.write(left) :]


if __name__ == "__main__":
    main()
