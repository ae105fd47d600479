"""Where a trace comes from, in one line: a client with its key, a step of a chain, or another application."""

from __future__ import annotations

import json

from llmops_tui.foreign_text import JsonObject


def client_words(client: JsonObject) -> str:
    """Who sent a request from outside, and what was said with it; of one of this workspace, what it is part of."""
    work = f"{made.get('kind')} {made.get('name')}" if isinstance(made := client.get("work"), dict) else ""
    if isinstance(step := client.get("chain"), dict):
        return f"step {step.get('step')} of {step.get('chain')}" + (f", {work}" if work else "")
    if isinstance(span := client.get("otlp"), dict):
        return f"{span.get('operation')} of {span.get('service') or 'another application'}, trace {span.get('trace')}"
    if "key" not in client and (work or "retrieved" in client):
        return work
    said, key, part = client.get("metadata"), client.get("key"), client.get("experiment")
    of = f", {str(part.get('arm')).upper()} of {part.get('id')}" if isinstance(part, dict) else ""
    of += "".join(
        f", {what} {name}"
        for what, name in (("of recording", client.get("recording")), ("answered by", client.get("replayed")))
        if name
    )
    of += f", {work}" if work else ""
    of += _guards_words(client.get("guards"))
    return (f"key {key}" if key else "no key") + of + (f", says {json.dumps(said, ensure_ascii=False)}" if said else "")


def _guards_words(verdicts: object) -> str:
    """What guards found or failed at, and how long all of them took."""
    if not isinstance(verdicts, list) or not verdicts:
        return ""
    said = [
        f"{one.get('guard')} {one.get('verdict')} in the {one.get('side')}"
        + (" (shadow)" if one.get("mode") != "on" else "")
        for one in verdicts
        if one.get("verdict") != "pass"
    ]
    took = sum(float(one.get("ms") or 0.0) for one in verdicts)
    return f", guards: {'; '.join(said) or 'nothing found'}, {took:.1f} ms"
