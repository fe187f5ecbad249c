"""The Dagster face of tables: from landed files, from SQL, from PySpark."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import dagster as dg
from pydantic import Field

from mosaic_assets.asset_fields import ExploredFields
from mosaic_assets.catalogue import where
from mosaic_assets.orchestration.station import station
from mosaic_assets.tables.evolution import Evolution, columns_of, kept_columns
from mosaic_assets.tables.expectations import (
    ACTION,
    CONDITION,
    PARTITION_BY,
    QUARANTINED_SHARE,
    Rule,
    mark,
    rules_of,
    sift,
)
from mosaic_assets.tables.frame_columns import declared_columns
from mosaic_assets.tables.ingest import ChangedFiles, ingest
from mosaic_assets.tables.landing import landing_of
from mosaic_assets.tables.ledger import Ledger
from mosaic_assets.tables.publish import publish
from mosaic_assets.tables.query import Columns, pin, read_text, run_query, tables_in
from mosaic_assets.tables.source import FileSource, named_format
from mosaic_assets.work import Made, Work, code_hash, set_aside
from mosaic_resources.engine.session import engine_errors
from mosaic_resources.errors import UserError
from mosaic_resources.settings.references import check_options

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["PySparkTableComponent", "SourceTableComponent", "SqlTableComponent"]


class SourceTableComponent(ExploredFields, dg.Component, dg.Resolvable):
    """A raw Delta table of files that land; each run reads only the new ones, each row exactly once."""

    scaffolded: ClassVar[Sequence[str]] = ("columns",)
    key: str = Field(description="Asset key and table name.", examples=["raw/events"])
    path: str = Field(
        description="Files, relative to the landing folder, or with the address of an object store: s3://bucket/…/*.csv.",
        examples=["events/*.csv"],
    )
    storage_options: Mapping[str, str] = Field(
        {},
        description="Options of the object store, beside those of the target; ${NAME} for what is secret.",
        examples=[{"aws_region": "eu-central-1"}],
    )
    columns: Mapping[str, str | Mapping[str, str]] = Field(
        {},
        description="Column → type (string, bigint, int, double, boolean, date, timestamp, binary), or {type, path}: a "
        "value within nested objects; left out, columns are inferred from the first files.",
        examples=[
            {
                "event_id": "string",
                "thing_id": "string",
                "started_at": "timestamp",
                "ended_at": "timestamp",
                "amount": "double",
            }
        ],
    )
    format: str = Field(
        "csv",
        description="csv, json (an object a line), parquet, avro, orc, xml (a child of the root a row), or files: any "
        "kind, a row each with path, sha256, size_bytes, mime_type, modified_at.",
    )
    file_contents: bool = Field(False, description="With format files: whether the bytes are kept, in 'content'.")
    schema_evolution_mode: Evolution | None = Field(
        None,
        description="A column that is not known: add_new_columns, rescue, fail_on_new_columns, none (ignored). "
        "Default: rescue where columns are declared, else add_new_columns.",
        examples=["add_new_columns"],
    )
    changed_files: ChangedFiles = Field(
        "ignore", description="A file that changed after it was read: ignore, reload (its rows are replaced), fail."
    )
    null_values: Sequence[str] = Field(("", "NA"), description="Texts that mean NULL.")
    rescued_data_column: str = Field("_rescued_data", description="Column for what does not fit.")
    deps: Sequence[str] = Field((), description="Assets that land the files.", examples=[["landing/events"]])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the raw table."""
        self.source(where(context, "columns"), where(context, "format"))
        check_options(self.storage_options, where(context, "storage_options"))
        code = code_hash(
            "source", self.path, dict(self.columns), self.null_values, self.rescued_data_column,
            self.format, self.schema_evolution_mode, self.changed_files, *([True] if self.file_contents else []),
        )  # fmt: skip
        asset = station(
            self,
            key=self.key,
            station_name="tables",
            kinds=("delta", self.format),
            deps=self.deps,
            code=code,
            run=self.execute,
            metadata={"dagster/column_schema": dg.MetadataValue.table_schema(self.declared_schema())},
        )
        return dg.Definitions(assets=[asset])

    def source(self, columns_place: str = "columns", format_place: str = "format") -> FileSource:
        """Returns how the files are read.

        Raises:
            UserError: A type, a path or the format is not known.
        """
        columns = columns_of(self.columns, columns_place)
        if self.file_contents and self.format != "files":
            raise UserError("'file_contents' is for the format 'files'.", format_place)
        mode = self.schema_evolution_mode or ("rescue" if self.columns else "add_new_columns")
        return FileSource(
            columns, mode, named_format(self.format, columns, format_place), tuple(self.null_values),
            self.rescued_data_column, self.file_contents,
        )  # fmt: skip

    def declared_schema(self) -> dg.TableSchema:
        """Returns the table's columns as declared, with those that ingestion adds."""
        added = {
            "_source_row": "bigint",
            self.rescued_data_column: "string",
            "_source_file": "string",
            "_ingested_at": "timestamp",
        }
        return dg.TableSchema(
            [dg.TableColumn(name, kind) for name, kind in {**columns_of(self.columns, self.key).kinds, **added}.items()]
        )

    def execute(self, work: Work) -> Made:
        """Ingests what has landed since the last run."""
        from mosaic_assets.lineage.names import landed_file_use, landed_folder_use

        seams, settings = work.seams, work.seams.settings
        options = {**settings.storage_options, **self.storage_options}
        landing, pattern = landing_of(settings.landing, self.path, options, settings.state / "scratch", work.asset)
        report = ingest(
            seams.lake,
            Ledger(seams.settings.state / "ingest.db"),
            self.key,
            landing,
            pattern,
            source=self.source(),
            now_utc=work.now_utc,
            commit=work.commit(),
            changed_files=self.changed_files,
        )
        for file in report.files:
            work.lineage.reads(landed_file_use(f"{landing.root}/{file}"))
        if not report.files:
            work.lineage.reads(landed_folder_use(f"{landing.root}/{pattern}".rpartition("/")[0]))
        for file in report.empty:
            work.log.warning("%s holds no rows.", file)
        for file in report.changed:
            work.log.warning("%s changed after it was read; it is not read again.", file)
        if report.version is None:
            raise UserError(f"No file matches '{self.path}'.", landing.root, "Land the first file, then run again.")
        names = kept_columns(seams.lake.schema(self.key, report.version), self.rescued_data_column)
        aside = f"the column {self.rescued_data_column}"
        return Made(
            table=self.key,
            version=report.version,
            columns={name: [(dep, name) for dep in self.deps] for name in names} if self.deps else None,
            metadata={
                "new_files": len(report.files),
                "new_rows": report.num_rows,
                "known_files": report.num_known_files,
                "reloaded_files": len(report.reloaded),
                "added_columns": list(report.added),
                **set_aside(report.num_rescued, report.num_rows, "hold something that does not fit", aside),
            },
        )


class TransformFields(ExploredFields):
    """What tables made by a transform share."""

    key: str = Field(description="Asset key and table name.", examples=["tables/events"])
    partition_by: str | None = Field(
        None, description="Column whose values are the partition keys.", examples=["month"]
    )
    expectations: Mapping[str, Mapping[str, str]] = Field(
        {},
        description="expect, expect_or_drop, expect_or_quarantine, expect_or_fail → rule name → SQL.",
        examples=[{"expect_or_quarantine": {"has_a_thing": "thing_id is not null"}}],
    )
    max_quarantined_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of a partition's rows that may be held back; more blocks the partition.",
        examples=[0.05],
    )

    def rules(self, place: str) -> list[Rule]:
        """Returns the declared expectations."""
        if self.partitions_def and not self.partition_by:
            raise UserError("A partitioned table needs 'partition_by'.", place, "Name the column that holds the key.")
        return rules_of(self.expectations, place)

    def publish_frame(self, work: Work, frame: "DataFrame", place: str, columns: Columns | None) -> Made:
        """Runs the transform, sorts its rows and writes them."""
        rules = self.rules(place)
        with engine_errors(work.seams.settings.engine, work.asset):
            marked = mark(frame, rules).toArrow()
        limit = self.max_quarantined_share
        sifted = sift(
            marked, rules, work.asset, partition_by=self.partition_by, partitions=work.partitions,
            max_quarantined_share=limit,
        )  # fmt: skip
        return publish(
            work, self.key, sifted, rules, partition_by=self.partition_by, columns=columns, max_quarantined_share=limit
        )

    @property
    def limit(self) -> list[float]:
        """The limit of the quarantine for the code's hash; left out where there is none."""
        return [] if self.max_quarantined_share is None else [self.max_quarantined_share]

    @property
    def partition_metadata(self) -> dict[str, str]:
        """What the definition says of the partitions, for commands that read the definitions."""
        return {PARTITION_BY: self.partition_by} if self.partition_by else {}

    def check_specs(self, place: str) -> list[dg.AssetCheckSpec]:
        """Returns a check for each rule, with the asset's partitions: one verdict on all would release bad ones."""
        asset = dg.AssetKey(self.key.split("/"))
        told = [
            (rule.name, rule.action == "expect_or_fail", f"{rule.condition} ({rule.action})",
             {CONDITION: rule.condition, ACTION: rule.action})
            for rule in self.rules(place)
        ]  # fmt: skip
        if self.max_quarantined_share is not None:
            limit = f"At most {self.max_quarantined_share:.2%} of the rows are held back."
            told.append((QUARANTINED_SHARE, True, limit, {}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.PreviewWarning)  # Checks by partition are Dagster's newest.
            return [
                dg.AssetCheckSpec(
                    name,
                    asset=asset,
                    description=text,
                    blocking=blocking,
                    metadata=rule,
                    partitions_def=self.partitions_def,
                )
                for name, blocking, text, rule in told
            ]


class SqlTableComponent(TransformFields, dg.Component, dg.Resolvable):
    """A table made by one Spark SQL query; tables are written ``folder.table`` and become its upstreams."""

    sql: str = Field(description="SQL file beside this YAML.", examples=["events.sql"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset, whose upstreams are the tables that the query names."""
        place, query = where(context, "sql"), read_text(Path(context.path) / self.sql, where(context, "sql"))
        inputs = tables_in(query)
        asset = station(
            self,
            key=self.key,
            station_name="tables",
            kinds=("delta", "sql"),
            deps=inputs,
            code=code_hash("sql", query, self.expectations, self.partition_by, *self.limit),
            run=lambda work: self.execute(work, query, inputs),
            check_specs=self.check_specs(place),
            metadata={"query": dg.MetadataValue.md(f"```sql\n{query}\n```"), **self.partition_metadata},
        )
        return dg.Definitions(assets=[asset])

    def execute(self, work: Work, query: str, inputs: Sequence[str]) -> Made:
        """Runs the query over the newest versions of its tables and publishes the good rows."""
        frame, columns = run_query(work, query, pin(work, inputs))
        return self.publish_frame(work, frame, work.asset, columns)


class PySparkTableComponent(TransformFields, dg.Component, dg.Resolvable):
    """A table made by ``transform(tables, window)`` in a Python file, over PySpark data frames."""

    key: str = Field(description="Asset key and table name.", examples=["tables/steps"])
    python: str = Field(
        description="Python file beside this YAML with def transform(tables, window).", examples=["steps.py"]
    )
    inputs: Sequence[str] = Field(
        description="Tables that the function is given, by key.", examples=[["tables/events"]]
    )
    column_lineage: Mapping[str, Sequence[str]] = Field(
        {},
        description="Output column → input columns, where a function of Python hides them.",
        examples=[{"amount_before": ["tables/events.amount", "tables/events.thing_id"]}],
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset, whose upstreams are the inputs."""
        place = where(context, "python")
        file = Path(context.path) / self.python
        text = read_text(file, place)
        declared = declared_columns(self.column_lineage, self.inputs, where(context, "column_lineage"))
        asset = station(
            self,
            key=self.key,
            station_name="tables",
            kinds=("delta", "pyspark"),
            deps=self.inputs,
            code=code_hash("pyspark", text, self.expectations, self.partition_by, *self.limit),
            run=lambda work: self.execute(work, file, declared),
            check_specs=self.check_specs(place),
            metadata=self.partition_metadata,
        )
        return dg.Definitions(assets=[asset])

    def execute(self, work: Work, file: Path, declared: Columns) -> Made:
        """Runs the function over the newest versions of its tables and publishes the good rows."""
        from mosaic_assets.tables.frame_columns import frame_columns
        from mosaic_assets.tables.transforms import run_python

        versions = pin(work, self.inputs)
        with engine_errors(work.seams.settings.engine, work.asset):
            frame = run_python(work.seams.engine.session(), work.seams.lake, file, versions, work.window)
            columns = frame_columns(frame, work.seams.lake, versions, declared, work.asset)
        made = self.publish_frame(work, frame, work.asset, columns.known)
        return replace(made, metadata={**made.metadata, "column_lineage_unknown": columns.note})
