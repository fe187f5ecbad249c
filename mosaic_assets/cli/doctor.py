"""``mosaic doctor``: what this machine and this project lack, one verdict for each thing."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mosaic_assets.cli.machine import Finding, machine, port_free
from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of

if TYPE_CHECKING:
    from mosaic_resources.settings.settings import Settings

__all__ = ["doctor", "examine"]

ENGINE_SECONDS = 90.0
COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


def doctor(
    engine: Annotated[bool, typer.Option(help="Start the engine and run a query.")] = True,
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Look at Python, disk, memory, ports, Java, the engine, MLflow and lineage; exit 1 on a problem."""
    with errors(output):
        from mosaic_resources.settings.settings import load_settings

        findings = list(examine(load_settings(root_of(project)), with_engine=engine))
        emit([asdict(finding) for finding in findings], output, lambda: _show(findings))
        if any(finding.verdict == "problem" for finding in findings):
            raise typer.Exit(1)


def examine(settings: "Settings", *, with_engine: bool = True) -> Iterator[Finding]:
    """Yields one finding for each thing that the project stands on."""
    yield from machine(settings.state)
    yield from _ports(settings.state)
    yield _java(needed=settings.engine == "spark")
    if with_engine:
        yield _engine(settings)
    yield _mlflow(settings.mlflow_tracking_uri)
    yield _lineage(settings)
    yield _one_emitter(settings.state)


def _ports(state: Path) -> Iterator[Finding]:
    """Yields one finding for each port that a server prefers, and for each that this project has taken."""
    from mosaic_assets.orchestration.up_record import own_ports

    own = own_ports(state)
    preferred = {3000: "Dagster", 5000: "MLflow", 8000: "endpoint"}
    for port in sorted({*preferred, *own}):
        yield port_free(port, preferred.get(port, ""), own)


def _java(*, needed: bool) -> Finding:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    try:
        told = subprocess.run([java or "java", "-version"], capture_output=True, text=True, timeout=20, check=False)
        found = (told.stderr or told.stdout).splitlines()
    except (OSError, subprocess.TimeoutExpired):
        found = []
    if found:
        return Finding("java", "ok", found[0])
    if needed:
        return Finding(
            "java", "problem", "None found, and the engine 'spark' needs it.", "Install Java 17, or use 'sail'."
        )
    return Finding("java", "ok", "none; only the engine 'spark' needs it")


def _engine(settings: "Settings") -> Finding:
    from mosaic_resources.seams import Seams

    def query() -> str:
        holder = Seams(settings).engine
        try:
            value = holder.session().sql("select 1 + 1 as two").collect()[0][0]
        finally:
            holder.engine.stop()
        return "answers" if value == 2 else f"says that 1 + 1 is {value}"

    outcome = _bounded(query, ENGINE_SECONDS)
    if outcome == "answers":
        return Finding("engine", "ok", f"'{settings.engine}' answers")
    return Finding("engine", "problem", str(outcome), "Look into the engine's log in the state folder.")


def _mlflow(address: str) -> Finding:
    if not address.startswith(("http://", "https://")):
        return Finding("mlflow", "ok", f"embedded: {_without_password(address)}")
    import httpx

    try:
        status = httpx.get(f"{address.rstrip('/')}/health", timeout=5.0).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        text = f"{_without_password(address)} does not answer: {type(exc).__name__}."
        return Finding("mlflow", "problem", text, "Start it, or unset MLFLOW_TRACKING_URI.")
    verdict: Literal["ok", "problem"] = "ok" if status < 400 else "problem"
    return Finding("mlflow", verdict, f"{_without_password(address)} answers {status}")


def _lineage(settings: "Settings") -> Finding:
    from mosaic_resources.errors import MosaicError
    from mosaic_resources.outbox.outbox import Outbox

    outbox = Outbox(settings.outbox, timeout_seconds=2.0)
    try:
        rows = outbox.check() if outbox.exists else 0
        waiting = outbox.backlog() if outbox.exists else 0
    except MosaicError as exc:
        return Finding("lineage", "problem", exc.what, exc.do or "")
    goes_to = _without_password(settings.openlineage_url) if settings.openlineage_url else "a file in the state folder"
    return Finding("lineage", "ok", f"{rows} rows, {waiting} wait; they go to {goes_to}")


def _one_emitter(state: Path) -> Finding:
    file = Path(os.environ.get("DAGSTER_HOME") or state / "dagster") / "dagster.yaml"
    if file.is_file() and "dagster_openlineage" in file.read_text():
        text = f"{file} also sends lineage, by dagster-openlineage: every event would be told twice."
        return Finding("lineage emitter", "problem", text, "Take its 'event_log_storage' out.")
    return Finding("lineage emitter", "ok", "ours alone")


def _bounded(work: Callable[[], Any], seconds: float) -> Any:
    """Returns what ``work`` returns, or the text of its error, or that it took too long."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as exc:
            outcome.append(f"{exc}")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else f"No answer within {seconds:.0f} s."


def _without_password(address: str) -> str:
    from mosaic_assets.lineage.redact import redact

    return redact(address)


def _show(findings: list[Finding]) -> None:
    for finding in findings:
        colour = COLOURS[finding.verdict]
        console.print(f"[{colour}]{finding.verdict:8}[/{colour}] {finding.about:16} ", end="")
        console.print(f"{finding.text} {finding.do}".rstrip(), markup=False, highlight=False, soft_wrap=True)
