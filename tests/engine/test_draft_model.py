"""A small model guesses for a large one: the same answers in fewer steps, or a refusal by name."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference import memory_reservation
from llmops_tui.inference.device_placement import make_plan
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.socket_transport import socket_transport
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.gguf import read_header
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.engine.cards import Cards
from tests.engine.engines import MODEL, Bench, questions, rewrite_gguf, write_adapter
from tests.engine.tiny_models import write_tiny


def draft_of(tmp_path: Path, **given: Any) -> Path:
    return write_tiny(tmp_path / "draft.gguf", "llama", layers=2, **given)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_what_a_model_guesses_for_itself_is_right_and_takes_fewer_steps(temperature: float) -> None:
    plain, guessing = Bench(parallel=1), Bench(parallel=1, draft=str(MODEL))
    given = {"max_tokens": 60, "temperature": temperature, "seed": 5}
    for prompt in questions(3):
        right = plain.ask(prompt, parameters=given, ignore_eos=True)
        found = guessing.ask(prompt, parameters=given, ignore_eos=True)
        assert found.text == right.text
    counters = guessing.scheduler.counters
    assert counters.accepted_tokens > 0.4 * counters.drafted_tokens > 10
    assert counters.steps < plain.scheduler.counters.steps


def test_a_model_that_guesses_badly_gives_up_and_changes_nothing(tmp_path: Path) -> None:
    plain, guessing = Bench(parallel=1), Bench(parallel=1, draft=str(draft_of(tmp_path)))
    given = {"max_tokens": 120}
    for prompt in questions(4):
        assert guessing.ask(prompt, parameters=given).text == plain.ask(prompt, parameters=given).text
    counters = guessing.scheduler.counters
    assert counters.accepted_tokens <= counters.drafted_tokens < 4 * 120


def test_edits_long_prompts_and_other_requests_beside_are_answered_as_without(tmp_path: Path) -> None:
    # Its own weights with a window: the draft goes back and catches up as any model does.
    path = write_tiny(tmp_path / "m.gguf", "gemma3")
    settings: dict[str, Any] = {"context": 1024, "batch": 64, "micro_batch": 64, "precision": "exact"}
    plain, guessing = Bench(path, **settings, parallel=2), Bench(path, **settings, parallel=2, draft=str(path))
    rng = random.Random(1)
    tokens = rng.choices(range(300, 2000), k=400)
    for at in (400, 390, 120, 400):
        tokens = [*tokens[:at], *rng.choices(range(300, 2000), k=12)]
        given = {"max_tokens": 40}
        assert guessing.ask(tokens, parameters=given).text == plain.ask(tokens, parameters=given).text
    names = [b.submit(tokens[:n], parameters={"max_tokens": 30}) for n in (50, 300, 200) for b in (plain, guessing)]
    answers = plain.run(), guessing.run()
    assert [answers[0][n].text for n in names[::2]] == [answers[1][n].text for n in names[1::2]]


def test_another_vocabulary_is_refused_by_name(
    sample: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_reservation, "usable_gpus", list)
    registry = ModelRegistry(Catalog(sample))
    model = registry.get("support-base")
    registry.add(draft_of(tmp_path, vocabulary=1000), "short")
    registry.add(write_adapter(tmp_path / "tone.gguf", seed=1), "tone")
    for name, told in (("short", "1,000 tokens"), ("tone", "kind adapter")):
        with pytest.raises(InputRefusedError, match=told) as caught:
            memory_reservation.plan(sample, model, LoadOptions(draft=name))
        assert f"'{name}'" in caught.value.message
    with pytest.raises(NotFoundError):
        memory_reservation.plan(sample, model, LoadOptions(draft="nobody"))

    def shuffled(writer: Any) -> None:
        import gguf

        known = gguf.GGUFReader(MODEL).fields["tokenizer.ggml.tokens"]
        tokens = [bytes(known.parts[i]) for i in known.data]
        writer.add_token_list([*tokens[:300], *reversed(tokens[300:])])

    other = rewrite_gguf(MODEL, tmp_path / "other.gguf", {"tokenizer.ggml.tokens"}, shuffled)
    with pytest.raises(LlmopsError, match="vocabulary differs"):
        Bench(parallel=1, draft=str(other))


def test_its_memory_is_planned_where_it_goes(tmp_path: Path) -> None:
    header, draft = read_header(MODEL), read_header(draft_of(tmp_path))
    cards = Cards(1)
    free = lambda device: cards.measure(device).free  # noqa: E731
    options = LoadOptions(context=512)
    alone, both = (
        make_plan(header, options, cards.devices(), free),
        make_plan(header, options, cards.devices(), free, draft),
    )
    assert both.draft > draft.tensor_bytes
    assert both.sizes == alone.sizes | {"gpu0": alone.sizes["gpu0"] + both.draft}
    # What the draft takes is not there for layers.
    cards.cards[0] = replace(cards.cards[0], total=alone.sizes["gpu0"])
    assert make_plan(header, options, cards.devices(), free, draft).options.gpu_layers < alone.options.gpu_layers
    on_host = make_plan(header, options, [], free, draft)
    assert on_host.sizes["host"] == make_plan(header, options, [], free).sizes["host"] + on_host.draft


def test_a_server_guesses_with_the_draft_it_was_told(sample: Workspace, tmp_path: Path) -> None:
    import httpx

    registry, supervisor = ModelRegistry(Catalog(sample)), ServerSupervisor(sample)
    model = registry.get("support-base")
    handle = supervisor.ensure(model, LoadOptions(threads=1, context=512, draft="support-base"))
    transport = socket_transport(handle.socket)
    headers = {"Authorization": f"Bearer {handle.key}"}
    with httpx.Client(transport=transport, base_url="http://model", headers=headers, timeout=120) as client:
        body = {
            "model": "support-base",
            "messages": [{"role": "user", "content": "When are you open?"}],
            "max_tokens": 40,
        }
        answer = client.post("/v1/chat/completions", json=body).json()
        assert answer["timings"]["drafted_tokens"] > 0
    supervisor.stop(model.name)
