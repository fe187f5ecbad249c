"""One run of one contender: ``-m benchmarks.harness_child <race> <contender> <folder> <case>``; prints a Sample."""

import importlib
import json
import resource
import sys
import time
from pathlib import Path


def main(race: str, contender: str, folder: str, case: str) -> None:
    """Runs the contender's own preparation, then its timed part."""
    module = importlib.import_module(f"benchmarks.{race}")
    timed, describe = module.run(contender, Path(folder), case)
    began, cpu = time.perf_counter(), _cpu()
    made = timed()
    seconds, cpu_seconds = time.perf_counter() - began, _cpu() - cpu
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    output, more = describe(made)
    print(
        json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "rss_bytes": rss, "output": output, "more": more})
    )


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
