"""What a conversation is known by, and the arm that follows from it: the same at every request, whatever was restarted."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.experiments.records import BY_OPENING, HEADER, Arm, Experiment

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEX = 16
_FRACTIONS = 2.0**64


def unit_of(by: str, headers: Mapping[str, str], key: str, given: JsonObject) -> str:
    """What a request's conversation is known by; empty where the request does not say.

    ``by`` is ``user``, ``key``, ``header:NAME``, or ``conversation``: then it is how the conversation begins, up to what
    the user said first, with the key and the user that sent it. ``key`` is what the client's key is called.
    """
    if by.startswith(HEADER):
        return headers.get(by.removeprefix(HEADER).lower(), "").strip()
    user = _user(given)
    if by == "user":
        return user
    if by == BY_OPENING:
        opening = _opening(given)
        return json.dumps([key, user, opening], sort_keys=True) if opening else ""
    return key


def placed(experiment: Experiment, unit: str) -> tuple[str, Arm]:
    """The name that a unit has in an experiment, from which nobody reads it, and its arm.

    Of SHA-256 over the experiment's salt and the unit, one half is the name and the other, as a fraction, is below B's share
    or not: independent of each other, and of all other experiments.
    """
    digest = hashlib.sha256(f"{experiment.salt}\0{unit}".encode("utf-8", "surrogatepass")).digest()
    fraction = int.from_bytes(digest[16:24]) / _FRACTIONS
    return digest.hex()[:_HEX], "b" if fraction < experiment.settings["share"] else "a"


def _user(given: JsonObject) -> str:
    """Who the client says that it asks for, in each API's form."""
    metadata = given.get("metadata")
    told = given.get("user") or (metadata.get("user_id") if isinstance(metadata, dict) else None)
    return told if isinstance(told, str) else ""


def _opening(given: JsonObject) -> list[object]:
    """What stands before the first answer: all that a conversation keeps from one request to the next."""
    before = given.get("previous_response_id")
    if before:
        return ["after", before]
    found = [_words(part) for name in ("system", "instructions") if (part := given.get(name))]
    if variables := given.get("variables"):
        found.append(["variables", variables])
    for name in ("messages", "input", "prompt", "input_prefix"):
        turns = given.get(name)
        if not turns:
            continue
        if not isinstance(turns, list):
            return [*found, turns]
        for turn in turns:
            found.append(_words(turn))
            if isinstance(turn, dict) and turn.get("role") == "user":
                return found
        return found
    return found


def _words(part: object) -> object:
    """What is said in a turn: clients move marks such as ``cache_control`` from one request to the next."""
    if isinstance(part, list):
        return [_words(one) for one in part]
    if not isinstance(part, dict):
        return part
    said = part.get("content", part.get("text"))
    if isinstance(said, list):
        texts = [_words(one) for one in said]
        return [part.get("role"), texts[0] if len(texts) == 1 else texts]
    return (
        [part["role"], said]
        if "role" in part
        else said
        if isinstance(said, str)
        else {name: value for name, value in part.items() if name != "cache_control"}
    )
