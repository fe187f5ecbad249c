"""A child that does upkeep until it is killed: ``python upkeep_child.py <lake> <optimize|cluster|vacuum>``."""

import sys
from datetime import timedelta

from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.rewrite import optimize
from mosaic_resources.delta.vacuum import vacuum
from mosaic_resources.delta.writers import DeltaRsWriter


def main(root: str, what: str) -> None:
    lake = Lake(root, DeltaRsWriter())
    print("ready", flush=True)
    sys.stdin.readline()
    if what == "vacuum":
        vacuum(lake, "t", Commit("up"), timedelta(0), {2: ["m"]})
    else:
        optimize(lake, "t", Commit("up"), ["k"] if what == "cluster" else [])
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
