"""XML files: each child of the root is a row; its attributes (``_name``) and children are columns, as Spark names them.

A child that repeats is a list, one that holds others an object: both are JSON text. Text beside them is ``_VALUE``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa

from mosaic_assets.tables.sources.csv_text import kind_of_texts
from mosaic_assets.tables.sources.json_lines import columns_of_objects
from mosaic_assets.tables.sources.parsed import Parsed, ReadOptions
from mosaic_resources.errors import UserError

__all__ = ["parse_xml"]


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a DOCTYPE: its entities may name other files, or grow without end."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it declares a DOCTYPE, which is not read")


def parse_xml(landing: Path, paths: Sequence[str], options: ReadOptions) -> list[Parsed]:
    """Returns the rows of each file. See ``Reader``."""
    return [_parse_one(landing / path, path, options) for path in paths]


def _parse_one(file: Path, path: str, options: ReadOptions) -> Parsed:
    rows = [_row(_value(element, options.null_values)) for element in _root(file)]
    columns, _ = columns_of_objects(rows, options.paths)
    return Parsed(
        pa.repeat(path, len(rows)), pa.array(range(1, len(rows) + 1), pa.int64()), columns,
        lambda name: kind_of_texts(columns[name]), names_columns=False,
    )  # fmt: skip


def _root(file: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(file, ElementTree.XMLParser(target=_NoDoctype())).getroot()
    except OSError as exc:
        raise UserError(f"The file cannot be read: {exc.strerror}.", str(file)) from exc
    except (ElementTree.ParseError, ValueError) as exc:
        raise UserError(f"The file is no readable XML: {exc}.", str(file)) from exc


def _row(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"_VALUE": value}


def _value(element: ElementTree.Element, nulls: Sequence[str]) -> Any:
    """Returns an element as an object, or as its text where it is no more than that."""
    found: dict[str, Any] = {f"_{_name(name)}": _text(value, nulls) for name, value in element.attrib.items()}
    for child in element:
        name, value = _name(child.tag), _value(child, nulls)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    text = _text((element.text or "").strip(), nulls)
    if not found:
        return text
    return {**found, "_VALUE": text} if text is not None else found


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]  # Without its namespace.


def _text(text: str, nulls: Sequence[str]) -> str | None:
    return None if text in nulls else text
