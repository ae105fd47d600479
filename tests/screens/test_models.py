from __future__ import annotations

from pathlib import Path
from unittest.mock import AsyncMock, MagicMock

import pytest
from textual.widgets import Input, OptionList, Static

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.leases import Holder, Lease, MemoryShortError
from llmops_tui.models.discovery import FoundModel
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.lineage import record_edges
from screens.models import classify_text
from screens.models.facts import Details
from screens.models.models_pane import ModelsPane
from screens.models.screen import ModelsScreen
from screens.shell.memory_choice import make_room
from screens.widgets.dialogs import ChoiceDialog, ConfirmDialog, LineDialog
from screens.widgets.table import Table
from tests.engine.engines import write_adapter
from tests.fakes import FakeModelServer
from tests.hub import FakeHub, Repo
from tests.screens.conftest import OpenApp, notices, settle, until


async def opened(pilot) -> ModelsScreen:  # type: ignore[no-untyped-def]
    await pilot.press("f9")
    await pilot.press("5")
    await until(
        pilot,
        lambda: isinstance(pilot.app.screen, ModelsScreen) and bool(pilot.app.screen.query_one(ModelsPane).models),
    )
    await settle(pilot)
    return pilot.app.screen


def text_of(screen: ModelsScreen, selector: str) -> str:
    return str(screen.query_one(selector, Static).render())


@pytest.mark.slow
async def test_memory_facts_and_engine_are_shown(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {
        "running": 1,
        "waiting": 0,
        "requests": 1200,
        "prompt_tokens": 1000,
        "reused_tokens": 870,
        "cached_tokens": 512,
        "cache_capacity": 4096,
        "snapshots": 3,
        "snapshot_bytes": 5_000_000,
        "generated_tokens": 90_000,
        "drafted_tokens": 100,
        "accepted_tokens": 61,
    }
    engine = {
        "state": state,
        "n_ctx": 1024,
        "parallel": 4,
        "waiting": 2,
        "last_failure": "the engine was \x1b[2Jkilled",
    }
    memory = {
        "weights": 5e6,
        "kv_cache": 1e7,
        "compute": 8e6,
        "embedding": 4e6,
        "gpu": 0,
        "host": 2e8,
        "context": 1024,
        "parallel": 4,
        "on": (),
        "layers": 5,
        "device": "host",
        "sizes": {"host": 200_000_000},
        "fits": True,
        "cache_types": ("q8_0", "q8_0"),
        "cache_bytes": 1 << 30,
        "notes": ("context: less",),
        "draft": 10_000_000,
        "processes": 180_000_000,
        "gpu_overhead": 0,
    }
    shared = {"aliases": ["gpt-4o", "qwen3:\x1b8b"], "shared_address": "http://127.0.0.1:8080/v1"}
    monkeypatch.setattr("screens.models.facts_pane.read_details", lambda _s, _m, _a: Details(memory, engine, **shared))
    async with open_app() as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: "87%" in text_of(screen, "#facts-text"))
        shown = text_of(screen, "#facts-text")
        assert "61% of 100 guesses" in shown
        assert "1 running, 2 waiting, 1,200" in shown
        assert "fits now" in shown
        assert "180.0 MB" in shown or "0.2 GB" in shown
        assert "context: less" in shown
        assert "GPU overhead" not in shown
        assert "gpt-4o, qwen3:" in shown
        assert "http://127.0.0.1:8080/v1, with all models" in " ".join(shown.split())
        assert "\x1b" not in shown
        assert "GB free" in text_of(screen, "#memory-bars")


@pytest.mark.slow
async def test_adapters_and_addresses_stand_beside_models_and_can_be_chosen(
    open_app: OpenApp, sample: Workspace, tmp_path: Path
) -> None:
    async with open_app() as pilot:
        models = pilot.app.services.models  # type: ignore[attr-defined]
        models.add(write_adapter(tmp_path / "tone.gguf", seed=1), "tone")
        models.add_remote("http://127.0.0.1:1", "away", {"remote_model": "m", "lacks": {"seed": "not honoured"}})
        screen = await opened(pilot)
        table = screen.query_one("#model-list", Table)
        lines = ["".join(part for part, _ in table._line_of(n, 60)) for n in range(table.count)]
        assert " ".join(lines[0].split()) == "◇ away remote – – –"
        assert " ".join(lines[-1].split()).startswith("+ tone adapter")
        tone, base = models.get("tone"), models.get("support-base-hf")
        models.catalog.write(
            lambda db: record_edges(db, output=tone.sha256, kind="train", recipe="r", inputs=[base.sha256, "a" * 64])
        )
        table.move_to(table.count - 1)
        await until(pilot, lambda: "made from" in text_of(screen, "#facts-text"))
        shown = text_of(screen, "#facts-text")
        assert "support-base-hf, by train\n" in shown
        # An adapter has no context and no words of its own.
        assert "context" not in shown
        assert "vocabulary" not in shown
        table.move_to(0)
        await until(pilot, lambda: "seed: not honoured" in text_of(screen, "#facts-text"))
        await pilot.press("f9")
        await pilot.press("1")
        await settle(pilot)
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        names = [c.label for c in pilot.app.screen._choices]  # type: ignore[attr-defined]
        assert "support-base+tone" in names
        assert "away" in names
        assert "tone" not in names


async def test_what_other_programs_keep_is_offered(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, model_file: Path
) -> None:
    found = [FoundModel(model_file, "llama-8b", "Ollama", 5_000_000_000)]
    monkeypatch.setattr("llmops_tui.models.discovery.find_models", lambda: found)
    async with open_app() as pilot:
        screen = await opened(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        # What is asked for next, and left, does not end the wait for the first.
        await until(pilot, lambda: "add llama-8b continues in the background" in notices(pilot))
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("escape")
        await until(pilot, lambda: "llama-8b is registered." in notices(pilot))
        await until(pilot, lambda: any(m.name == "llama-8b" for m in screen.query_one(ModelsPane).models))


@pytest.mark.slow
async def test_a_model_is_quantized_from_the_screen_after_a_warning(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = await opened(pilot)
        screen.query_one("#model-list", Table).move_to(0)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        pilot.app.screen.query_one(Input).value = "Q4_0"
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: any(m.name == "support-base-Q4_0" for m in screen.query_one(ModelsPane).models))


@pytest.mark.slow
async def test_where_memory_is_short_one_chooses_and_the_run_goes_on(
    open_app: OpenApp, server: FakeModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease("l", {"gpu0": 9_000_000_000}, "qwen", "server", "w", 1, 1.0, 1.0)
    holders = [Holder("qwen", 9_000_000_000, lease)]
    error = MemoryShortError("support-base", "gpu0", 4_000_000_000, 1_000_000_000, holders)
    error.smaller = (2048, 1)
    stopped: list[str] = []
    async with open_app() as pilot:
        services = pilot.app.services  # type: ignore[attr-defined]
        ensure = services.ensure_server

        def short(model):  # type: ignore[no-untyped-def]
            if stopped:
                return ensure(model)
            raise error

        monkeypatch.setattr(services, "ensure_server", short)
        monkeypatch.setattr(services.servers, "stop", stopped.append)
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        labels = [c.label for c in pilot.app.screen._choices]  # type: ignore[attr-defined]
        assert labels == ["Unload qwen", "Load it smaller", "Wait until there is room"]
        await pilot.press("enter")
        await until(pilot, lambda: len(server.requests) == 1)
        assert stopped == ["qwen"]


async def test_where_a_model_cannot_be_unloaded_that_is_told_and_nothing_is_tried_again() -> None:
    lease = Lease("l", {"gpu0": 9_000_000_000}, "qwen", "server", "w", 1, 1.0, 1.0)
    short = MemoryShortError("support-base", "gpu0", 4_000_000_000, 0, [Holder("qwen", 9_000_000_000, lease)])
    stuck = LlmopsError("stuck", "qwen does not end")
    shell = MagicMock(ask=AsyncMock(return_value="unload qwen"))
    shell.services.servers.stop.side_effect = stuck
    assert not await make_room(shell, short)
    shell.services.servers.stop.assert_called_once_with("qwen")
    shell.report.assert_called_once_with(stuck)


@pytest.mark.slow
async def test_a_model_is_fetched_from_the_screen_after_it_was_shown(
    open_app: OpenApp, sample: Workspace, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = FakeHub()
    data = model_file.read_bytes()
    hub.repos["maker/small"] = Repo({"s-Q8_0.gguf": data + bytes(64), "s-Q4_K_M.gguf": data, "mmproj-s.gguf": data})
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    async with open_app() as pilot:
        screen = await opened(pilot)

        async def ask(text: str) -> None:
            await pilot.press("d")
            await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
            field = pilot.app.screen.query_one(Input)
            assert field.value == "smollm2-135m"
            assert "92.9 MB" in str(pilot.app.screen.query(".dialog-text").last(Static).render())
            field.value = text
            await pilot.press("enter")

        # The known one: what it is, and a no.
        await ask("smollm2-135m")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        shown = str(pilot.app.screen.query_one(".dialog-text", Static).render())
        assert "Apache-2.0" in shown
        assert "HuggingFaceTB" in shown
        await pilot.press("n")
        # One of a repository, chosen and agreed to.
        await ask("hf:maker/small mine")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        dialog = pilot.app.screen
        choices = dialog.query_one(OptionList)
        await until(pilot, lambda: choices.option_count > 0)
        assert "s-Q4_K_M.gguf" in str(choices.get_option_at_index(0).prompt)
        assert "fits" in str(choices.get_option_at_index(0).prompt)
        assert "mmproj-s.gguf" in str(dialog.query_one(".dialog-title", Static).render())
        assert hub.bytes_sent() == 0
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: "mine" in {m.name for m in screen.query_one(ModelsPane).models})
        assert hub.bytes_sent() == len(data)
        screen.query_one("#model-list", Table).move_to(
            [m.name for m in screen.query_one(ModelsPane).models].index("mine")
        )
        await until(pilot, lambda: "hf:maker/small" in text_of(screen, "#facts-text"))
        # Of several of one type, those are offered.
        hub.repos["maker/two"] = Repo({"a/s-Q8_0.gguf": data, "b/s-Q8_0.gguf": data, "s-Q4_K_M.gguf": data})
        await ask("hf:maker/two:Q8_0")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        assert [c.label for c in pilot.app.screen._choices] == ["a/s-Q8_0.gguf", "b/s-Q8_0.gguf"]  # type: ignore[attr-defined]
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        # What is not understood is said, and nothing happens.
        await ask("maker/small")
        await until(pilot, lambda: "hf:maker/small" in notices(pilot))
    hub.close()


@pytest.mark.slow
async def test_a_text_gets_its_labels(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def ask(_services: object, model: object, text: str) -> dict[str, object]:
        asked.append(text)
        return {"labels": ["billing", "delivery"], "data": [{"index": 0, "label": "delivery", "probs": [0.125, 0.875]}]}

    monkeypatch.setattr(classify_text, "_ask", ask)
    async with open_app() as pilot:
        await opened(pilot)
        await pilot.press("C")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        pilot.app.screen.query_one(Input).value = "where is it"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await settle(pilot)
        shown = [str(option.prompt) for option in pilot.app.screen.query_one(OptionList).options]
        assert ["delivery" in shown[0], "0.875" in shown[0], "billing" in shown[1]] == [True] * 3
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ModelsScreen))
        assert asked == ["where is it"]
