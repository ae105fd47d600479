"""``llmops monitor``: samples of machine and engines, the Prometheus endpoint, and alerts."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, is_given, session_of
from llmops_tui.cli.serve_address import TlsCert, TlsKey, check_encryption, free_port, in_the_clear, keys_of
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError, sentences
from llmops_tui.safe_text import safe_line

if TYPE_CHECKING:
    from llmops_tui.monitoring.recorder import Moment, Recorder

app = typer.Typer(help="The machine, GPUs and engines; alerts; Prometheus metrics.")
_SETTLE_SECONDS = 0.5
_MOST_CHARACTERS = 2000
# What says nothing without --serve.
_OF_SERVING = ("host", "port", "api_key_file", "no_key", "tls_cert", "tls_key")


@app.callback(invoke_without_command=True)
def monitor(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Print one sample and exit; without it, one line per second.")
    ] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Record, and serve Prometheus metrics at /metrics.")] = False,
    host: Annotated[str, typer.Option(help="Address for --serve.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port for --serve; 0: any free port.")] = 9468,
    api_key_file: Annotated[
        Path | None, typer.Option(help="A file with API keys, one per line; default: a key made in the workspace.")
    ] = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="Require no key; only on a loopback address.")] = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Print a Grafana dashboard.")] = False,
) -> None:
    """Show GPUs, host, engines and latency."""
    if context.invoked_subcommand is not None:
        return
    session = session_of(context)
    if dashboard:
        from llmops_tui.monitoring.dashboard import dashboard_json

        # It is JSON in any case.
        session.stream(dashboard_json() + "\n")
        return
    from llmops_tui.monitoring.recorder import Recorder

    _refuse_unfit(context, serve=serve)
    recorder = Recorder(session.workspace, wants_processes=lambda: not serve)
    if serve:
        _serve(session, recorder, host, port, api_key_file, no_key=no_key, tls=(tls_cert, tls_key))
        return
    try:
        _inspect(session, recorder, once=once)
    finally:
        recorder.stop()


def _refuse_unfit(context: typer.Context, *, serve: bool) -> None:
    """Refuse, by name, what was given and says nothing without --serve, or with it."""
    for name in ("once",) if serve else _OF_SERVING:
        if is_given(context, name):
            flag = f"--{name.replace('_', '-')}"
            told = f"{flag} cannot be combined with --serve" if serve else f"{flag} requires --serve"
            raise LlmopsError("usage", told, "See: llmops monitor --help", exit_code=ExitCode.USAGE)


def _inspect(session: Session, recorder: Recorder, *, once: bool) -> None:
    recorder.inspect()
    recorder.inspect_slowly()
    # Rates and the load of processors are of the time between two looks.
    time.sleep(_SETTLE_SECONDS)
    while True:
        moment = recorder.inspect()
        session.emit(moment.as_dict(), partial(text_of, moment, apart=not once))
        if once:
            return
        time.sleep(1.0)


def _serve(
    session: Session,
    recorder: Recorder,
    host: str,
    port: int,
    key_file: Path | None,
    *,
    no_key: bool,
    tls: tuple[Path | None, Path | None],
) -> None:
    from llmops_tui.inference.server.options import ServerOptions
    from llmops_tui.inference.server_record import address_of
    from llmops_tui.monitoring.endpoint import serve

    certificate, key_of_it = check_encryption(*tls, address=True)
    keys, path = keys_of(session, key_file, no_key=no_key, host=host)
    options = ServerOptions(
        workspace=str(session.workspace.root),
        model="monitor",
        path="",
        sha256="",
        socket="",
        key="",
        chat_template=None,
        host=host,
        port=free_port(host, port),
        keys=keys,
        open_access=no_key,
        tls_cert=certificate,
        tls_key=key_of_it,
    )
    url = f"{address_of(host, options.port, encrypted=bool(certificate))}/metrics"
    data = {"url": url, "api_key_file": str(path) if path else None, "encrypted": bool(certificate)}

    def announce() -> None:
        session.emit(data, lambda: f"url   {data['url']}\nkey   {data['api_key_file'] or 'not required'}")
        if told := in_the_clear(host, encrypted=bool(certificate)):
            session.say(told)

    serve(recorder, options, announce)


def text_of(moment: Moment, *, apart: bool = False) -> str:
    """One sample for people, a line for each thing; names in it may be anybody's, and no name makes a line of its own.

    ``apart``: with an empty line after it, where another sample follows.
    """
    return "\n".join([*(safe_line(line, _MOST_CHARACTERS) for line in _lines(moment)), *([""] if apart else [])])


def _lines(moment: Moment) -> list[str]:
    host = moment.host
    when = time.strftime("%H:%M:%S", time.localtime(moment.at))
    memory = f"memory {host.memory_used / 1e9:.1f} of {host.memory_total / 1e9:.1f} GB"
    lines = [f"{when}  cpu {host.cpu:.0f} %  {memory}"]
    if host.disk_used is not None and host.disk_total:
        lines[0] += f"  disk {100 * host.disk_used / host.disk_total:.0f} %"
    if not moment.gpus.gpus:
        told = moment.gpus.cause or moment.gpus.state
        lines.append(f"gpu   {sentences(told, moment.gpus.remedy) if moment.gpus.remedy else told}")
    for gpu in moment.gpus.gpus:
        parts = [f"gpu{gpu.index}  {gpu.name}"]
        if gpu.trouble:
            parts.append(sentences(gpu.trouble, gpu.remedy))
        for label, value, unit in (
            ("util", gpu.utilisation, "%"),
            ("mem bandwidth", gpu.bandwidth, "%"),
            ("power", gpu.power, "W"),
            ("", gpu.temperature, "°C"),
        ):
            parts.append(f"{label} {'–' if value is None else f'{value:.0f}'} {unit}".strip())
        if gpu.memory_used is not None and gpu.memory_total:
            parts.append(f"{gpu.memory_used / 1e9:.1f} of {gpu.memory_total / 1e9:.1f} GB")
        lines.append("  ".join(parts))
    for engine in moment.engines:
        rate = f"  {engine.decode_rate:,.0f} tok/s" if engine.decode_rate else ""
        lines.append(f"engine {engine.model}  {engine.state}  {engine.running} running  {engine.waiting} waiting{rate}")
    for window in moment.latencies:
        first = window.percentile("first", 0.95)
        told = f"first token p95 {first:,.0f} ms" if first is not None else "no answer yet"
        lines.append(
            f"requests {window.model}  {window.requests} in {window.minutes} min  {told}  {window.failed} failed"
        )
    lines += [f"alert {alert.text}" for alert in moment.alerts]
    return lines


@app.command()
def alerts(
    context: typer.Context,
    rules: Annotated[bool, typer.Option("--rules", help="Print the rules as YAML.")] = False,
    use: Annotated[Path | None, typer.Option(help="Use the rules of this YAML file from now on.")] = None,
    dry_run: Annotated[
        Path | None, typer.Option("--dry-run", help="Show the alerts that the rules of this file would have raised.")
    ] = None,
    hours: Annotated[float, typer.Option(help="Hours of history for --dry-run.", min=0.1, max=24 * 90)] = 24.0,
    limit: Annotated[int, typer.Option(help="Maximum number of alerts.", min=1)] = 50,
) -> None:
    """List alerts, raised and cleared, or the alert rules."""
    from llmops_tui.monitoring.history import History
    from llmops_tui.monitoring.replay import replay
    from llmops_tui.monitoring.rules import dump_rules, load_rules, parse_rules, save_rules, unseen

    session = session_of(context)
    workspace = session.workspace
    history = History(workspace.history)
    try:
        if use is not None:
            kept = save_rules(workspace.alert_rules, _text_of(use))
            for told in unseen(kept, history.series()):
                session.say(told)
            session.emit(
                {"rules": [r.model_dump() for r in kept]}, lambda: f"{counted(len(kept), 'rule')} saved and in use"
            )
        elif rules:
            found = load_rules(workspace.alert_rules)
            session.emit({"rules": [r.model_dump() for r in found]}, lambda: dump_rules(found).rstrip())
        else:
            now = time.time()
            if dry_run is not None:
                shown = replay(history, parse_rules(_text_of(dry_run), str(dry_run)), now - hours * 3600, now)
            else:
                shown = history.alerts(limit)
            rows = [
                [
                    a.id,
                    _when(a.raised_at),
                    _when(a.cleared_at) if a.cleared_at else a.state,
                    a.rule.severity,
                    a.text + (f" ({a.ended})" if a.ended else ""),
                ]
                for a in shown[:limit]
            ]
            data = {"alerts": [a.as_dict() for a in shown[:limit]], "total": len(shown), "dry_run": dry_run is not None}
            session.emit(data, lambda: session.rows(["alert", "raised", "over", "severity", "what"], rows, len(shown)))
    finally:
        history.close()


@app.command()
def incident(
    context: typer.Context,
    alert: Annotated[int, typer.Argument(help="The number of an alert; llmops monitor alerts shows them.", min=1)],
    before: Annotated[float, typer.Option(help="Minutes before the alert to include.", min=0, max=1440)] = 10.0,
    limit: Annotated[int, typer.Option(help="Maximum number of lines; the newest are kept.", min=1)] = 100,
) -> None:
    """Show the activity around an alert: jobs, requests and changes."""
    from llmops_tui.monitoring.history import History
    from llmops_tui.monitoring.incident import incident_of

    session = session_of(context)
    history = History(session.workspace.history)
    try:
        found = incident_of(history.alert(alert), history, session.catalog, session.event_log, time.time(), before * 60)
    finally:
        history.close()
    shown = found.entries[-limit:]
    data = found.as_dict() | {"entries": found.as_dict()["entries"][-limit:], "total": len(found.entries)}

    def human() -> str:
        head = f"{found.alert.text}\nfrom {_when(found.begin)} to {_when(found.end)}"
        head += "; the alert lasted longer, only its first hour is shown" if found.cut else ""
        rows = [[_when(e.at)[11:], e.kind, e.text, e.who, e.of] for e in shown]
        lines = session.rows(["at", "what", "happened", "who", "id"], rows, len(found.entries))
        asked = [[t.model, t.who, t.requests, t.failed, round(t.slowest_ms)] for t in found.traffic]
        heads = ["model", "client", "requests", "failed", "slowest ms"]
        return f"{head}\n\n{lines}\n\n{session.rows(heads, asked) if asked else 'No requests in this time.'}"

    session.emit(data, human)


@app.command()
def energy(context: typer.Context, job: Annotated[str, typer.Argument(help="A job's id, or a prefix of it.")]) -> None:
    """Show the energy that the GPUs used while a job ran, and per thousand generated tokens."""
    from llmops_tui.jobs.store import JobStore
    from llmops_tui.monitoring.energy import energy_of_job
    from llmops_tui.monitoring.history import History

    session = session_of(context)
    found = JobStore(session.event_log).get(job)
    history = History(session.workspace.history)
    try:
        taken = energy_of_job(history, session.event_log, found, time.time())
    finally:
        history.close()
    data = {
        "job": found.id,
        "title": found.title,
        "joules": taken.joules if taken else None,
        "measured_share": taken.covered if taken else 0.0,
        "tokens": taken.tokens if taken else 0,
        "joules_per_thousand_tokens": taken.per_thousand_tokens if taken else None,
    }

    def human() -> str:
        if taken is None:
            return f"{found.title}: not measured; no GPU reported its power while it ran"
        each = taken.per_thousand_tokens
        told = f", {each:,.0f} J per thousand generated tokens" if each is not None else ""
        return f"{found.title}: {taken.joules:,.0f} J{told}; {taken.covered:.0%} of the time was measured"

    session.emit(data, human)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError("no_such_file", f"cannot read {path}: {error}", "Name a YAML file of rules.") from error


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
