"""The Dagster face of a raw table that follows a Delta table of another lake."""

from collections.abc import Mapping, Sequence

import dagster as dg
from pydantic import Field

from mosaic_assets.asset_fields import ExploredFields
from mosaic_assets.catalogue import where
from mosaic_assets.orchestration.station import station
from mosaic_assets.work import Made, Work, code_hash
from mosaic_resources.settings.references import check_no_password, check_options, resolved_options

__all__ = ["DeltaSourceComponent"]


class DeltaSourceComponent(ExploredFields, dg.Component, dg.Resolvable):
    """A raw Delta table that follows one of another lake, by its versions or by its changes."""

    key: str = Field(description="Asset key and table name.", examples=["raw/customers"])
    address: str = Field(description="Folder or address of the other table.", examples=["s3://sales/lake/customers"])
    storage_options: Mapping[str, str] = Field(
        {},
        description="Options of its object store; ${NAME} for what is secret.",
        examples=[{"aws_region": "eu-central-1"}],
    )
    changes: bool = Field(
        False,
        description="Whether changed rows are appended, with _change_type, _commit_version, _commit_timestamp (its "
        "change data feed must be on); else each new version replaces the table.",
    )
    deps: Sequence[str] = Field((), description="Assets that must be made before.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the raw table."""
        check_no_password(self.address, where(context, "address"))
        check_options(self.storage_options, where(context, "storage_options"))
        asset = station(
            self,
            key=self.key,
            station_name="tables",
            kinds=("delta",),
            deps=self.deps,
            code=code_hash("delta", self.address, self.changes),
            run=self.execute,
        )
        return dg.Definitions(assets=[asset])

    def execute(self, work: Work) -> Made:
        """Reads what is new in the other table."""
        from mosaic_assets.tables.foreign.load import follow
        from mosaic_assets.work import table_use

        options = resolved_options(self.storage_options, work.asset)
        report = follow(
            work.seams.lake, self.key, self.address, options, changes=self.changes, now_utc=work.now_utc,
            commit=work.commit(),
        )  # fmt: skip
        work.lineage.reads(table_use(self.address, "", report.source_version, None))
        told = {"new_rows": report.num_rows, "source_version": report.source_version}
        return Made(table=self.key, version=report.version, metadata=told)
