"""What makes a model's rows: the same while rows arrive, another once a view's SQL changes."""

import json

import pyarrow as pa

from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.models.definition import code_version_at, rows_definition
from mosaic_resources.delta.commit import Commit


def test_definition_changes_with_code_and_columns_and_not_with_rows(lake):
    def wrote(code_version, value):
        return lake.write("features/x", pa.table({"v": [value]}), Commit("features/x", code_version=code_version))

    def defined(version, columns=("v",), code_version="dataset"):
        manifest = fake_manifest("d", tables={"features/x": version}, code_version=code_version)
        return rows_definition(lake, manifest, columns)

    first, more, changed, unnamed = wrote("a", 1), wrote("a", 2), wrote("b", 3), wrote("", 4)
    assert defined(first) == defined(more) != defined(changed)
    assert defined(unnamed) == defined(changed)  # A commit that names no code, such as an upkeep, changes none.
    assert len({defined(first), defined(first, ("v", "w")), defined(first, code_version="other")}) == 3


def test_code_version_is_read_from_either_writers_history():
    rs = [{"version": 2, "code_version": "b"}, {"version": 1, "code_version": "a"}, {"version": 0}]
    spark = [{"version": 1, "userMetadata": json.dumps({"code_version": "s"})}, {"version": 0, "userMetadata": None}]
    assert [code_version_at(rs, version) for version in (2, 1, 0)] == ["b", "a", ""]
    assert [code_version_at(spark, version) for version in (1, 0)] == ["s", ""]
