"""Runs a race: every contender in a process of its own, interleaved, one warm-up, medians; losses are printed too.

A race is a module ``benchmarks.<race>`` with ``PEERS`` (pinned requirements of the peers' own environment), ``CASES``,
``CONTENDERS`` (name → ``Contender``), ``prepare(folder, case)`` (makes the input once) and
``run(contender, folder, case)`` (returns the timed part, and what describes its output). Peers are installed into
``benchmarks/.peers/<race>``, never into the project's environment.
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Contender", "Sample", "main"]

HERE = Path(__file__).parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Args:
        ours: Whether it is this project.
        equal: Whether it does the same work, so that its output's hash must be the same.
        peers: Whether it runs in the peers' environment.
        repeats: Timed runs; 1 for what takes minutes.
        cut_seconds: After so long it is ended and printed as cut.
    """

    ours: bool = False
    equal: bool = True
    peers: bool = True
    repeats: int = 5
    cut_seconds: float = 600.0


@dataclass(frozen=True)
class Sample:
    """One run of one contender.

    Args:
        seconds: Wall time of the timed part.
        cpu_seconds: CPU time of the process tree in it.
        rss_bytes: Peak resident set of the process.
        output: Hash of what was made.
        more: Further figures.
    """

    seconds: float
    cpu_seconds: float
    rss_bytes: int
    output: str
    more: Mapping[str, Any] = field(default_factory=dict)


def main() -> int:
    """Runs the races that are named, all without a name; returns 1 where equal contenders differ."""
    parser = argparse.ArgumentParser(
        description="Runs the races; results go to benchmarks/results/ and docs/benchmarks.md."
    )
    parser.add_argument("race", nargs="*", help="races to run; default: all")
    parser.add_argument("--only", action="append", help="contender to run; may be repeated")
    parser.add_argument("--case", action="append", help="case to run; may be repeated")
    parser.add_argument("--repeats", type=int, help="timed runs instead of each contender's own number")
    arguments = parser.parse_args()
    races = arguments.race or sorted(
        file.stem for file in HERE.glob("*.py") if "CONTENDERS" in file.read_text() and file.stem != "harness"
    )
    return max(_race(name, arguments) for name in races)


def _race(name: str, arguments: argparse.Namespace) -> int:
    race = importlib.import_module(f"benchmarks.{name}")
    peers = _peers(name, race.PEERS)
    folder = Path(os.environ.get("MOSAIC_BENCH", ROOT / ".mosaic" / "bench")) / name
    results = []
    for case in race.CASES:
        if arguments.case and case not in arguments.case:
            continue
        race.prepare(folder / case, case)
        chosen = {key: one for key, one in race.CONTENDERS.items() if not arguments.only or key in arguments.only}
        results += _case(name, case, chosen, folder / case, peers, arguments.repeats)
    found = {
        "race": name,
        "machine": _machine(),
        "at": f"{datetime.now(UTC):%Y-%m-%d}",
        "peers": race.PEERS,
        "rows": results,
    }
    target = HERE / "results" / f"{name}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(as_table(found))
    return int(any(row["wrong"] for row in results))


def _case(
    race: str, case: str, contenders: Mapping[str, Contender], folder: Path, peers: Path, repeats: int | None
) -> list[dict[str, Any]]:
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    stopped: dict[str, str] = {}
    most = max(repeats or one.repeats for one in contenders.values())
    for turn in range(most + 1):  # the first turn warms up
        for name, one in contenders.items():
            wanted = repeats or one.repeats
            if name in stopped or turn > wanted or (turn == 0 and wanted == 1):
                continue
            outcome = _run_once(race, case, name, one, folder, peers)
            told = outcome if isinstance(outcome, str) else f"{outcome.seconds:.2f} s"
            print(f"  {case} {name} {turn or 'warm-up'}: {told}", flush=True)
            if isinstance(outcome, str):
                stopped[name] = outcome
            elif turn:
                samples[name].append(outcome)
    right = {one.output for name, found in samples.items() if contenders[name].equal for one in found}
    return [_row(case, name, contenders[name], samples[name], stopped.get(name), len(right) > 1) for name in contenders]


def _run_once(race: str, case: str, name: str, one: Contender, folder: Path, peers: Path) -> Sample | str:
    python = str(peers / "bin" / "python") if one.peers else sys.executable
    command = [python, "-m", "benchmarks.harness_child", race, name, str(folder), case]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("OPENBLAS_CORETYPE", None)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=one.cut_seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return f"cut at {one.cut_seconds / 60:.0f} min"
    if done.returncode:
        return "failed: " + (done.stderr.strip().splitlines() or ["?"])[-1][:200]
    return Sample(**json.loads(done.stdout.splitlines()[-1]))


def _row(
    case: str, name: str, one: Contender, found: Sequence[Sample], stopped: str | None, differs: bool
) -> dict[str, Any]:
    row: dict[str, Any] = {"case": case, "contender": name, "ours": one.ours, "equal": one.equal, "stopped": stopped}
    row["wrong"] = differs and one.equal
    if found:
        row |= {
            "seconds": statistics.median(one.seconds for one in found),
            "cpu_seconds": statistics.median(one.cpu_seconds for one in found),
            "rss_bytes": max(one.rss_bytes for one in found),
        }
    return row | {"samples": [asdict(one) for one in found]}


def as_table(found: Mapping[str, Any]) -> str:
    """Returns a race's results as Markdown, each row beside ours."""
    lines = [
        "| case | contender | median s | CPU s | peak RSS GB | × ours |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        ours = next(
            (one for one in found["rows"] if one["case"] == row["case"] and one["ours"] and "seconds" in one), None
        )
        name = (
            f"**{row['contender']}**" if row["ours"] else row["contender"] + ("" if row["equal"] else " (unequal work)")
        )
        if "seconds" not in row:
            lines.append(f"| {row['case']} | {name} | {row['stopped']} | | | |")
            continue
        ratio = f"{row['seconds'] / ours['seconds']:.2f}" if ours else ""
        wrong = " **output differs**" if row["wrong"] else ""
        lines.append(
            f"| {row['case']} | {name}{wrong} | {row['seconds']:.2f} | {row['cpu_seconds']:.2f} "
            f"| {row['rss_bytes'] / 1e9:.2f} | {ratio} |"
        )
    return "\n".join(lines)


def _peers(race: str, requirements: Sequence[str]) -> Path:
    """Returns the peers' environment, made where it is missing or older than its list."""
    folder = HERE / ".peers" / race
    mark = folder / ".requirements"
    if requirements and (not mark.is_file() or mark.read_text() != "\n".join(requirements)):
        uv = str(ROOT / ".tools" / "bin" / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        python = str(folder / "bin" / "python")
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *requirements], check=True
        )
        mark.write_text("\n".join(requirements))
    return folder


def _machine() -> dict[str, Any]:
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "?",
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
        "numpy": version("numpy"),
        "pyarrow": version("pyarrow"),
        "started": time.strftime("%H:%M:%S"),
    }


if __name__ == "__main__":
    sys.exit(main())
