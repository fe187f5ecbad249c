"""The formats that a source may name."""

from mosaic_assets.tables.sources.avro_files import parse_avro
from mosaic_assets.tables.sources.csv_text import parse_csv
from mosaic_assets.tables.sources.json_lines import parse_json
from mosaic_assets.tables.sources.orc_files import parse_orc
from mosaic_assets.tables.sources.parquet_files import parse_parquet
from mosaic_assets.tables.sources.parsed import Reader
from mosaic_assets.tables.sources.whole_files import parse_files
from mosaic_assets.tables.sources.xml_files import parse_xml
from mosaic_resources.errors import UnknownNameError

__all__ = ["READERS", "reader_of"]

READERS: dict[str, Reader] = {
    "csv": parse_csv,
    "json": parse_json,
    "parquet": parse_parquet,
    "avro": parse_avro,
    "orc": parse_orc,
    "xml": parse_xml,
    "files": parse_files,
}


def reader_of(name: str, where: str) -> Reader:
    """Returns the reader of a format.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in READERS:
        raise UnknownNameError("Format", name, READERS, where)
    return READERS[name]
