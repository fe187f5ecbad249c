"""Tables: landed files become Delta tables, by ingest, SQL, PySpark or dbt."""

from mosaic_assets.tables.component import PySparkTableComponent, SourceTableComponent, SqlTableComponent
from mosaic_assets.tables.dbt.component import DbtTablesComponent

__all__ = ["DbtTablesComponent", "PySparkTableComponent", "SourceTableComponent", "SqlTableComponent"]
