"""A child that releases a quarantine and kills itself at a commit: its number, before or after."""

import os
import signal
import sys

from pyspark.sql import SparkSession

from mosaic_assets.tables.expectations import rules_of
from mosaic_assets.tables.quarantine import release
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter


class FragileLake(Lake):
    """A lake whose writer dies at its nth commit."""

    def __init__(self, root: str, number: int, after: bool) -> None:
        super().__init__(root, DeltaRsWriter())
        self.left, self.after = number, after

    def write(self, *args, **how):
        self.left -= 1
        if self.left == 0 and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        version = super().write(*args, **how)
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return version


def main(root: str, remote: str, number: str, when: str) -> None:
    session = SparkSession.builder.remote(remote).getOrCreate()
    lake = FragileLake(root, int(number), when == "after")
    rules = rules_of({"expect_or_quarantine": {"positive": "n > 0"}}, "here")
    release(lake, session, "tables/t", rules, Commit("release"), partition_by="month")


if __name__ == "__main__":
    main(*sys.argv[1:])
