"""The words for where work is: each has one meaning, on all screens, in the command line and in the docs.

Kinds of work have some of them: see :class:`llmops_tui.jobs.store.JobState` for those of a job.
"""

from __future__ import annotations

from typing import NamedTuple


class State(NamedTuple):
    """What a word means, whether that is ``good``, ``bad``, to be looked at (``warn``) or neither, and its mark."""

    meaning: str
    tone: str
    mark: str


STATES = {
    "queued": State("waits to start", "muted", "·"),
    "starting": State("its process is being started", "muted", "·"),
    "waiting": State("a training run whose process waits for a device or a node that others use", "muted", "·"),
    "running": State("is at work", "accent", "▶"),
    "paused": State("wrote a checkpoint on request and left the device; resume goes on from that", "warn", "‖"),
    "done": State("finished", "good", "✓"),
    "incomplete": State("finished, and tells what it had to leave", "warn", "✓"),
    "cancelled": State("somebody ended it before it was done; what it made until then is kept", "warn", "■"),
    "stopped": State("somebody ended a training run or an experiment; a run goes on from its last checkpoint", "warn", "■"),
    "rolled back": State("an experiment ended since its new model was worse", "bad", "✗"),
    "failed": State("failed; the reason is shown", "bad", "✗"),
    "all failed": State("an evaluation ended in which no request was answered; the reason is shown", "bad", "✗"),
    "killed": State(
        "was killed; it shows by which signal, and whether the kernel ran out of memory", "bad", "✗"
    ),
    "lost": State(
        "its processes disappeared, for example after a power cut, or the process that started it was killed before the "
        "work began", "bad", "✗",
    ),
    "interrupted": State("an erasure began and did not end; resume completes it", "bad", "✗"),
    "unreadable": State("its record cannot be read", "bad", "✗"),
}  # fmt: skip


def tone_of(word: str) -> str:
    """The name of the colour of a state; of words that are none, the pale one."""
    return STATES[word].tone if word in STATES else "muted"


def mark_of(word: str) -> str:
    """The sign before a state."""
    return STATES[word].mark if word in STATES else "·"
