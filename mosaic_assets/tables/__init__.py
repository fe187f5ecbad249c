"""Tables: landed files become Delta tables, by ingest, SQL, PySpark or dbt."""

from mosaic_assets.tables.api.component import ApiTableComponent
from mosaic_assets.tables.component import PySparkTableComponent, SourceTableComponent, SqlTableComponent
from mosaic_assets.tables.database.component import DatabaseTableComponent
from mosaic_assets.tables.dbt.component import DbtTablesComponent
from mosaic_assets.tables.foreign.component import DeltaSourceComponent

__all__ = [
    "ApiTableComponent",
    "DatabaseTableComponent",
    "DbtTablesComponent",
    "DeltaSourceComponent",
    "PySparkTableComponent",
    "SourceTableComponent",
    "SqlTableComponent",
]
