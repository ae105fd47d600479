"""``llmops eval perplexity``, ``ladder`` and ``pairwise``: measure models without a suite, or compare answers in pairs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.evaluate_options import Fresh
from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import session_of
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.regular_files import read_regular_text
from llmops_tui.user_files import with_home

if TYPE_CHECKING:
    from llmops_tui.evaluation.model_records import Rung
    from llmops_tui.evaluation.records import Judged


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(perplexity)
    app.command()(ladder)
    app.command()(pairwise)


def perplexity(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="The model, or MODEL+ADAPTER.")],
    file: Annotated[Path, typer.Option(help="A UTF-8 text file.")],
    window: Annotated[
        int, typer.Option(min=0, help="Window size in tokens; 0: the model's context, at most 2048.")
    ] = 0,
    stride: Annotated[
        int, typer.Option(min=0, help="Tokens between the starts of two windows; 0: the window size.")
    ] = 0,
    tokens: Annotated[bool, typer.Option("--tokens", help="Also print each token with its log-probability.")] = False,
) -> None:
    """Compute the perplexity of a text by token, word and byte, and its bits per byte."""
    from llmops_tui.cli.serve import own_options
    from llmops_tui.evaluation.perplexity import perplexity as measure
    from llmops_tui.evaluation.statistics.words import too_few_to_say
    from llmops_tui.inference.client import ModelClient
    from llmops_tui.inference.endpoints import open_endpoint
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    try:
        text = read_regular_text(with_home(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError("file_missing", f"{file} cannot be read: {error}", "Give a UTF-8 text file.") from error
    entry = ModelRegistry(session.catalog).get(model)
    if entry.kind == "remote":
        raise InputRefusedError(
            "not_offered", f"{model!r} is a remote endpoint, which returns no log-probabilities of a text"
        )
    endpoint = open_endpoint(ServerSupervisor(session.workspace), entry, own_options(session))

    async def work() -> Any:
        async with ModelClient(endpoint) as client:
            return await measure(client, text, window=window, stride=stride, told=session.progress("reading"))

    found = asyncio.run(work())
    data = {"model": model, "file": str(file), **found.as_dict(tokens=tokens)}
    word = "beyond numbers" if found.by_word is None else f"{found.by_word:.4f}"
    few = f", {too_few_to_say(data['needed'])}" if data["too_few"] else ""
    session.emit(
        data,
        lambda: (
            f"perplexity {data['perplexity']:.4f} [{data['low']:.4f}, {data['high']:.4f}] over {data['tokens']:,} tokens"
            f"{few}\n"
            f"by word {word} · by byte {data['byte_perplexity']:.4f}, {data['bits_per_byte']:.4f} bits\n"
            f"window {data['window']}, stride {data['stride']}"
        ),
    )


def ladder(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="The reference model: the largest GGUF type you have, F16 or Q8_0.")],
    file: Annotated[Path, typer.Option(help="A text of the domain that the model is used for.")],
    kinds: Annotated[list[str] | None, typer.Option("--type", help="A quantization type; repeatable.")] = None,
    suite: Annotated[str | None, typer.Option(help="Also run this suite on every type.")] = None,
    fresh: Fresh = False,
    detach: Annotated[bool, typer.Option("--detach")] = False,
) -> None:
    """Quantize a model to several types and measure the loss of each: perplexity, KL divergence, top token; as a job."""
    from llmops_tui.cli.evaluate_options import store_of, suite_of
    from llmops_tui.evaluation.ladder import ENTRY, STEPS, check_ladder
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    chosen = kinds or list(STEPS)
    path = with_home(file).resolve()
    check_ladder(ModelRegistry(session.catalog), model, chosen, path)
    arguments = {"model": model, "kinds": chosen, "file": str(path)}
    found = run_job(session, kind="ladder", title=f"ladder of {model}", entry=ENTRY, arguments=arguments, detach=detach)
    if found is None:
        return
    if suite is not None:
        store = store_of(session)
        version = suite_of(session, store, suite)
        models = [step["model"] for step in found["steps"]]
        runs = store.start(version, store.columns(version.suite, models, fresh=fresh))
        found["runs"] = [run.name for run in runs]
    rows = [
        (s["model"], s["type"], round(s["size_bytes"] / 1e6, 1), *(_cells(s) if "kl" in s else ("", "", "", "")))
        for s in found["steps"]
    ]
    headers = ("model", "type", "MB", "perplexity", "over the first, 95 %", "KL nats/token", "same best token")
    more = f"\nstarted {', '.join(found['runs'])}" if "runs" in found else ""
    session.emit(found, lambda: session.rows(headers, rows) + more)


def _cells(step: Rung) -> tuple[str, str, str, str]:
    ratio = f"×{step['ratio']:.4f} [{step['ratio_low']:.4f}, {step['ratio_high']:.4f}]"
    return f"{step['perplexity']:.4f}", ratio, f"{step['kl']:.5f}", f"{step['same_top']:.1%}"


def pairwise(
    context: typer.Context,
    baseline: Annotated[str, typer.Argument(help="The baseline run.")],
    candidate: Annotated[str, typer.Argument(help="The candidate run.")],
    judge: Annotated[str, typer.Option(help="The judge model, or plugin:NAME for a judge from a package.")],
    rubric: Annotated[
        str, typer.Option(help="The criterion that the judge applies.")
    ] = "Which answer is more correct and more helpful?",
    fresh: Fresh = False,
    detach: Annotated[bool, typer.Option("--detach")] = False,
) -> None:
    """Have a judge model compare the answers of two runs, in both orders; reports its position bias."""
    from llmops_tui.cli.evaluate_options import store_of
    from llmops_tui.evaluation.judges import PREFIX, find_judge
    from llmops_tui.evaluation.pairwise import ENTRY

    session = session_of(context)
    store = store_of(session)
    if judge.startswith(PREFIX):
        find_judge(judge)
    else:
        store.registry.get(judge)
    # The job loads the judge by them; what is wrong in them is told here, where somebody reads it.
    _ = session.settings
    arguments = {
        "baseline": store.get(baseline).name,
        "candidate": store.get(candidate).name,
        "model": judge,
        "rubric": rubric,
        "since": time.time() if fresh else None,
    }
    title = f"judge {baseline} and {candidate}"
    found = run_job(session, kind="judge", title=title, entry=ENTRY, arguments=arguments, detach=detach)
    if found is not None:
        session.emit(found, lambda: _pairwise_text(found))


def _pairwise_text(found: Judged) -> str:
    head = (
        f"{found['candidate']} against {found['baseline']}, judged by {found['judge']}: {counted(found['wins'], 'win')}, "
        f"{counted(found['ties'], 'tie')}, {counted(found['losses'], 'loss', 'losses')}; {found['unusable']} unusable"
    )
    if "preference" not in found:
        return head
    parts = [head]
    told = (
        (found["preference"], "preferred with probability"),
        (found["position_bias"], "position bias toward the first answer"),
    )
    for f, what in told:
        ends = "" if f["low"] is None else f" [{f['low']:.3f}, {f['high']:.3f}]"
        parts.append(f"{what} {f['mean']:.3f}{ends}")
    return "\n".join(parts)
