"""Columns of a comparison: sweeps, runs side by side, boards, votes and their ranking."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.evaluation.columns.ranking import ranking_of_board
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.models.registry import Model
from llmops_tui.prompts.compare.boards import TIE, Board, Boards
from llmops_tui.prompts.compare.columns import (
    Column,
    check_count,
    column_of,
    common_title,
    read_sweep,
    swept,
    titles,
    with_next_seed,
)  # fmt: skip
from llmops_tui.prompts.compare.records import Answering
from llmops_tui.prompts.compare.running import ColumnRunner, ColumnStep
from llmops_tui.prompts.run_history import RunHistory
from llmops_tui.prompts.runs import PromptRunner
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.fakes import FakeModelServer


def column(model: str = "a", version: int | None = 1, **parameters: object) -> Column:
    return Column("p", version, "", "Say {{ x }}", model, SamplingParameters.model_validate(parameters))


def test_a_sweep_makes_columns() -> None:
    field, values = read_sweep("temperature 0 0.5, 1")
    made = swept(column(), field, values)
    assert [c.parameters.temperature for c in made] == [0, 0.5, 1]
    assert titles(made) == ["temperature 0", "temperature 0.5", "temperature 1"]
    assert read_sweep("seed 3..5") == ("seed", ["3", "4", "5"])
    thinks = swept(column(), *read_sweep("thinking on off"))
    assert [c.parameters.enable_thinking for c in thinks] == [True, False]
    assert titles(thinks) == ["thinking on", "thinking off"]
    for wrong, word in (
        ("warmth 1 2", "no parameter"), ("", "no parameter"), ("seed 1", "2 to 6"), ("seed 1..9", "2 to 6"), ("stop a b", "no parameter"),
    ):  # fmt: skip
        with pytest.raises(InputRefusedError, match=word):
            read_sweep(wrong)
    with pytest.raises(InputRefusedError, match="temperature 9"):
        swept(column(), "temperature", ["1", "9"])
    with pytest.raises(InputRefusedError, match=r"temperature 0.0 is there twice"):
        swept(column(), *read_sweep("temperature 0 0.0"))
    with pytest.raises(InputRefusedError, match="this one 1,000,000"):
        read_sweep("seed 1..1000000")
    with pytest.raises(InputRefusedError, match="at most 6"):
        check_count(7)


def test_titles_tell_what_differs() -> None:
    assert titles([column("a"), column("b")]) == ["a", "b"]
    assert titles([column("a", 1), column("a", 2), column("a", None)]) == ["p@1", "p@2", "p draft"]
    assert titles([column("a", 1), column("b", 2, seed=5)]) == ["p@1 · a · seed 1", "p@2 · b · seed 5"]
    assert titles([column("a")]) == ["a"]


def test_what_all_columns_have_in_common_is_said_once() -> None:
    assert common_title([column("a", 1), column("b", 1)]) == "p@1"
    assert common_title([column("a", 1), column("a", 2)]) == "p · a"
    assert common_title([column("a", None)]) == "p draft"
    assert common_title([]) == ""


def test_another_seed_for_all_keeps_them_apart() -> None:
    columns = [column(seed=s) for s in (1, 2, 3)]
    seeds = [c.parameters.seed for c in with_next_seed(columns)]
    assert seeds == [4, 5, 6]
    assert [c.parameters.seed for c in with_next_seed([column(), column("b")])] == [2, 2]


@pytest.fixture
def server(event_log: EventLog) -> Iterator[FakeModelServer]:
    with tempfile.TemporaryDirectory(prefix="fake") as folder:
        made = FakeModelServer(Path(folder) / "s", ["one ", "two"], event_log)
        yield made
        made.close()


def model(name: str) -> Model:
    return Model(name, "gguf", Path(f"/{name}.gguf"), "0" * 64, 1, {}, 0.0, None)


class Memory:
    """Servers of which so many fit at once."""

    def __init__(self, server: FakeModelServer, room: int) -> None:
        self.server = server
        self.room = room
        self.loaded: list[str] = []
        self.unloaded: list[str] = []

    def ensure(self, wanted: Model) -> ServerHandle:
        if wanted.base.name not in self.loaded:
            if len(self.loaded) >= self.room:
                raise LlmopsError("memory_short", f"no room for {wanted.name}")
            self.loaded.append(wanted.base.name)
        return self.server.handle

    def unload(self, name: str) -> None:
        self.loaded.remove(name)
        self.unloaded.append(name)


@pytest.fixture
def renderer() -> Iterator[TemplateRenderer]:
    made = TemplateRenderer()
    yield made
    made.close()


async def answered(
    columns: list[Column], memory: Memory, catalog: Catalog, event_log: EventLog, renderer: TemplateRenderer
) -> tuple[list[Answering], list[ColumnStep]]:
    models: Mapping[str, Model] = {c.model: model(c.model) for c in columns if c.model != "unknown"}
    runner = PromptRunner(catalog, event_log, renderer, memory.ensure)
    answers = [Answering() for _ in columns]
    told = []
    steps = ColumnRunner(runner, PromptStore(catalog), models, memory.unload).run(columns, {"x": "hello"})
    async with aclosing(steps):
        async for step in steps:
            answers[step.column].take(step)
            told.append(step)
    return answers, told


async def test_columns_answer_side_by_side(
    catalog: Catalog, event_log: EventLog, renderer: TemplateRenderer, server: FakeModelServer
) -> None:
    columns = [column("a", None), column("a", None, seed=9), column("b", None), column("unknown", None)]
    answers, _ = await answered(columns, Memory(server, 2), catalog, event_log, renderer)
    assert [a.text for a in answers] == ["one two"] * 3 + [""]
    assert answers[3].error is not None
    assert answers[3].error.code == "model_unknown"
    assert sorted(r["seed"] for r in server.requests) == [1, 1, 9]
    assert {r["messages"][0]["content"] for r in server.requests} == {"Say hello"}
    # One text is one version, however many columns have it; each answer is a run of its own.
    assert [v.number for v in PromptStore(catalog).versions("p")] == [1]
    history = RunHistory(catalog, event_log)
    assert len(history.several([a.run for a in answers if a.run])) == 3
    assert history.several(["run_gone"]) == {}


def test_a_run_is_found_by_its_id_however_many_ids_begin_with_it(catalog: Catalog, event_log: EventLog) -> None:
    ids = [f"run_7{number:02}" for number in range(80)] + ["run_7"]
    catalog.write(
        lambda connection: connection.executemany(
            "INSERT INTO requests (id, started_at, model, output, finish_reason, total_ms) VALUES (?, 1, 'small', 'a', 'stop', 9)",
            [[one] for one in ids],
        )
    )
    assert RunHistory(catalog, event_log).get("run_7").id == "run_7"


async def test_a_draft_that_is_no_version_fails_its_columns_alone(
    catalog: Catalog, event_log: EventLog, renderer: TemplateRenderer, server: FakeModelServer
) -> None:
    unfinished = [
        Column("p", None, "", text, "a", SamplingParameters()) for text in ("{% if x %}", "{% include 'y' %}")
    ]
    answers, _ = await answered([column("a", None), *unfinished], Memory(server, 2), catalog, event_log, renderer)
    assert [a.error and a.error.code for a in answers] == [None, "template_failed", "bad_partial"]
    assert (answers[0].text, len(server.requests)) == ("one two", 1)
    assert [v.template for v in PromptStore(catalog).versions("p")] == ["Say {{ x }}"]


async def test_models_without_room_beside_each_other_come_one_after_the_other(
    catalog: Catalog, event_log: EventLog, renderer: TemplateRenderer, server: FakeModelServer
) -> None:
    memory = Memory(server, 1)
    columns = [column("a"), column("b"), column("c"), column("a", seed=2)]
    answers, told = await answered(columns, memory, catalog, event_log, renderer)
    assert [a.text for a in answers] == ["one two"] * 4
    assert memory.unloaded == ["a", "b"]
    waits = [step for step in told if step.waits]
    assert {step.column for step in waits} == {1, 2}
    assert "a" in waits[0].waits
    # Where there is no room for any, that is told of the column and nothing waits for ever.
    none, _ = await answered([column("a")], Memory(server, 0), catalog, event_log, renderer)
    assert none[0].error is not None
    assert none[0].error.code == "memory_short"


async def test_leaving_early_cancels_what_runs(
    catalog: Catalog, event_log: EventLog, renderer: TemplateRenderer, server: FakeModelServer
) -> None:
    server.gated = True
    server.release(1)
    models = {"a": model("a")}
    runner = ColumnRunner(PromptRunner(catalog, event_log, renderer, server.ensure), PromptStore(catalog), models, str)
    steps = runner.run([column("a")], {"x": "y"})
    async with aclosing(steps):
        async for step in steps:
            if step.step is not None and step.step.stage == "text":
                break
    assert await asyncio.to_thread(server.cancelled.wait, 60)


def test_a_board_is_kept(event_log: EventLog) -> None:
    boards = Boards(event_log)
    assert boards.load().columns == ()
    board = Board("mine", (column("a"), column("b", None)), {"x": "1"}).asked(["run_1", "run_2"])
    board = board.voted(1, "ann", blind=True).voted(0, "bo", blind=False).voted(TIE, "ann", blind=True)
    boards.save(board)
    kept = Boards(event_log).load("mine")
    assert (kept.columns, kept.variables, kept.rounds[0].runs) == (board.columns, {"x": "1"}, ("run_1", "run_2"))
    assert [(v["voter"], v["winner"], v["blind"]) for v in kept.rounds[0].votes] == [
        ("bo", 0, False),
        ("ann", TIE, True),
    ]
    assert boards.names() == ["mine"]
    assert (boards.load_or_new("mine"), boards.load_or_new("other")) == (kept, Board("other"))
    with pytest.raises(InputRefusedError, match="no such answer"):
        board.voted(2, "ann", blind=False)
    with pytest.raises(InputRefusedError, match="board name"):
        boards.save(Board("a b"))
    boards.remove("mine")
    for gone in (lambda: boards.load("mine"), lambda: boards.remove("mine")):
        with pytest.raises(NotFoundError):
            gone()


def test_a_board_that_somebody_broke_is_read_as_far_as_it_goes(event_log: EventLog) -> None:
    good = column("a").as_dict()
    event_log.save_draft(
        "board:b",
        {
            "columns": [good, {"prompt": 1}, "x", {**good, "parameters": {"temperature": 99}}],
            "variables": [1],
            "rounds": [
                1,
                {"columns": [good], "runs": []},
                {"columns": [good], "runs": ["r"], "votes": [{"winner": 7}, 3]},
            ],
        },
    )
    found = Boards(event_log).load("b")
    assert (found.columns, found.variables) == ((column_of(good),), {})
    assert [(one.runs, one.votes) for one in found.rounds] == [(("r",), ())]


def test_columns_are_ranked_by_votes() -> None:
    board = Board("b", (column("a"), column("b"), column("c")))
    for n, winner in enumerate([0, 0, 1, 0, 2, 0, 1, TIE]):
        board = (
            Board(board.name, board.columns, {"x": str(n)}, board.rounds)
            .asked(["1", "2", "3"])
            .voted(winner, "me", blind=True)
        )
    found = ranking_of_board(board)
    assert [one["title"] for one in found["columns"]] == ["a", "b", "c"]
    assert (found["votes"], found["inputs"], found["reason"]) == (8, 8, "")
    first = found["columns"][0]
    assert first["wins"] == 4.5
    assert first["low"] is not None
    assert first["high"] is not None
    assert first["strength"] is not None
    assert first["low"] < first["strength"] < first["high"]
    # Other seeds are the same columns; columns that are no more are not counted.
    again = Board("b", tuple(with_next_seed(board.columns)), {}, board.rounds)
    assert ranking_of_board(again)["votes"] == 8
    fewer = Board("b", board.columns[:2], {}, board.rounds)
    assert ranking_of_board(fewer)["votes"] == 0
    assert ranking_of_board(fewer)["reason"] == "there are no votes"


ASKED = (
    "prompt",
    "compare",
    "support@1",
    "support@2",
    "--model",
    "support-base",
    "--var",
    "question=When are you open?",
)


@pytest.mark.slow
def test_the_command_compares_and_keeps_a_board(sample: Workspace) -> None:
    llmops = Llmops(sample)
    found = llmops.run(*ASKED, "--max-tokens", "4", "--board", "mine")
    assert [c["title"] for c in found["columns"]] == ["support@1", "support@2"]
    answers = found["rows"][0]["answers"]
    assert all(answer["text"] and not answer["error"] for answer in answers)
    board = llmops.run("prompt", "board", "mine")
    assert board["rounds"][0]["runs"] == [answer["run"] for answer in answers]
    assert board["ranking"]["reason"] == "there are no votes"
    llmops.run("model", "stop", "support-base")


def test_commands_refuse_what_they_cannot_do(sample: Workspace) -> None:
    llmops = Llmops(sample)
    for wrong, code in (
        ((*ASKED, "--sweep", "warmth 1 2"), "bad_sweep"), ((*ASKED, "--column", "a=b"), "bad_option"),
        ((*ASKED, "--over", "triage"), "bad_option"), ((*ASKED, "--sweep", "seed 1..4"), "too_many_columns"),
        (("prompt", "board", "other"), "board_not_found"), ((*ASKED, "--rows", "20"), "bad_option"),
        (("prompt", "board", "--remove"), "bad_option"),
    ):  # fmt: skip
        assert llmops.run(*wrong, code=3)["error"]["code"] == code
    Boards(EventLog(sample)).save(Board("mine", (column("a"),)))
    assert [one["board"] for one in llmops.run("prompt", "board")["boards"]] == ["mine"]
    llmops.run("prompt", "board", "mine", "--remove")
    assert llmops.run("prompt", "board")["boards"] == []
