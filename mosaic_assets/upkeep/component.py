"""The Dagster face of upkeep: an asset, a job that makes it, a schedule."""

from collections.abc import Mapping, Sequence
from typing import Literal

import dagster as dg
from pydantic import Field

from mosaic_assets.asset_fields import AssetFields
from mosaic_assets.catalogue import where
from mosaic_assets.features.declarations import duration
from mosaic_assets.orchestration.station import station
from mosaic_assets.upkeep.keep import Rules, as_markdown, chosen, keep
from mosaic_assets.work import Made, Markdown, Work, code_hash
from mosaic_resources.errors import UserError

__all__ = ["TableUpkeepComponent"]


class TableUpkeepComponent(AssetFields, dg.Component, dg.Resolvable):
    """Compacts and clusters tables and removes old versions, but for those that a living manifest pins."""

    name: str = Field(description="Name of the upkeep; the asset is upkeep/<name>.", examples=["nightly"])
    tables: Sequence[str] = Field(("*",), description="Tables, by key or pattern.", examples=[["tables/*"]])
    optimize: bool = Field(True, description="Compact small files.")
    cluster_by: Mapping[str, Sequence[str]] = Field(
        {},
        description="Table → columns to cluster by: the entity's keys, then the time.",
        examples=[{"features/my_view": ["thing_id", "event_ts"]}],
    )
    target_file_bytes: int | None = Field(
        None, gt=0, description="Size of a file to aim at; default: the table's own.", examples=[134217728]
    )
    vacuum: bool = Field(True, description="Remove files that no pinned and no young version needs.")
    retention: str = Field("7d", description="How long a file outlives the last version that needs it, in s, m, h, d.")
    missing_manifests: Literal["refuse", "ignore"] = Field(
        "refuse", description="What to do where a registered model names a manifest that is not in the state folder."
    )
    schedule: str | None = Field(None, description="Cron line of the schedule.", examples=["0 3 * * *"])

    def rules(self, place: str) -> Rules:
        """Returns what is declared.

        Args:
            place: ``file:line`` for the error.
        """
        retention = duration(self.retention, place)
        assert retention is not None
        return Rules(self.optimize, self.cluster_by, self.target_file_bytes, self.vacuum, retention)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset, its job, and the schedule where there is one."""
        rules = self.rules(where(context, "retention"))
        key = f"upkeep/{self.name}"
        asset = station(
            self,
            key=key,
            station_name="upkeep",
            kinds=("delta",),
            deps=(),
            code=code_hash("upkeep", rules, tuple(self.tables), self.missing_manifests),
            run=lambda work: self.execute(work, rules),
        )
        job = dg.define_asset_job(f"upkeep_{self.name}", selection=[dg.AssetKey(key.split("/"))])
        schedules = [dg.ScheduleDefinition(job=job, cron_schedule=self.schedule)] if self.schedule else []
        return dg.Definitions(assets=[asset], jobs=[job], schedules=schedules)

    def execute(self, work: Work, rules: Rules) -> Made:
        """Looks after the tables one by one; what fails for one is told when the others are done."""
        from mosaic_assets.tables.listing import list_tables
        from mosaic_assets.upkeep.pins import pins_of

        seams = work.seams
        tables = chosen(list_tables(seams.lake, seams.outbox), self.tables)
        pins = pins_of(seams, rules.retention, self.missing_manifests)
        reports = []
        for report in keep(seams.lake, tables, rules, pins, work.commit()):
            work.log.info("%s: %s", report.table, report.problem or "done")
            reports.append(report)
        failed = [report for report in reports if report.problem]
        if failed:
            raise UserError(f"{len(failed)} of {len(reports)} tables failed: {failed[0].problem}", work.asset)
        plans = [report.plan for report in reports if report.plan]
        return Made(
            address=seams.settings.lake,
            metadata={
                "report": Markdown(as_markdown(reports)),
                "tables": len(reports),
                "tables_rewritten": sum(bool(report.rewritten) for report in reports),
                "removed_bytes": sum(plan.removed_bytes for plan in plans),
                "kept_for_pins_bytes": sum(plan.kept_bytes for plan in plans),
                "released_manifests": ", ".join(pins.released) or None,
            },
        )
