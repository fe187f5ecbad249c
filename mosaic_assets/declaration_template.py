"""A first declaration of a component, written from its own fields: names, examples, defaults, descriptions."""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mosaic_resources.errors import InternalError

__all__ = ["declaration", "sample_files"]

SAMPLES = "samples"


def declaration(component: type[BaseModel], type_name: str, also: Sequence[str] = ()) -> str:
    """Returns the YAML of a first declaration: what is required with its example, the rest as comments.

    Args:
        component: The component's class; its required fields have ``examples``.
        type_name: Its name in YAML.
        also: Optional fields to write as if they were required, since the component asks for one of several.

    Raises:
        InternalError: A field to write has no example.

    Example:
        >>> from pydantic import Field
        >>> class Thing(BaseModel):
        ...     '''A thing.'''
        ...     name: str = Field(description="Its name.", examples=["lamp"])
        ...     weight: float = Field(1.0, description="In kilograms.")
        >>> print(declaration(Thing, "rooms.Thing"), end="")
        # A thing.
        # Names are examples: put your own. What each field takes stands beside it.
        type: rooms.Thing
        attributes:
          name: lamp  # Its name.
          # Optional; shown with the default, else with an example:
          # weight: 1.0  # In kilograms.
    """
    fields = component.model_fields
    written = [name for name in _own_first(component) if fields[name].is_required() or name in also]
    left = [name for name in _own_first(component) if name not in written]
    lines = [
        f"# {(component.__doc__ or type_name).strip().splitlines()[0]}",
        *(["# Names are examples: put your own. What each field takes stands beside it."] if written else []),
        f"type: {type_name}",
        "attributes:" if written else "attributes: {}",
    ]
    lines += [f"  {_line(name, fields[name], _example(component, name))}" for name in written]
    if left:
        lines.append("  # Optional; shown with the default, else with an example:")
        lines += [f"  # {line}" for name in left for line in _optional(name, fields[name])]
    return "\n".join(lines) + "\n"


def sample_files(component: type[BaseModel], also: Sequence[str] = ()) -> dict[str, str]:
    """Returns the files that a first declaration names and their text, from ``samples/`` beside the class.

    Args:
        component: The component's class, or one derived from it.
        also: As in ``declaration``.
    """
    names = [
        example
        for name, field in component.model_fields.items()
        if (field.is_required() or name in also) and isinstance(example := _example(component, name), str)
    ]
    folders = [Path(file).parent / SAMPLES for file in _source_files(component)]
    found = {name: [folder / name for folder in folders if (folder / name).is_file()] for name in names}
    return {name: files[0].read_text() for name, files in found.items() if files}


def _own_first(component: type[BaseModel]) -> list[str]:
    """Returns the names of the fields, those of the class itself before those that it shares."""
    named = [name for each in component.__mro__ for name in vars(each).get("__annotations__", {})]
    return list(dict.fromkeys(name for name in named if name in component.model_fields))


def _example(component: type[BaseModel], name: str) -> Any:
    field = component.model_fields[name]
    if field.examples:
        return field.examples[0]
    default = field.get_default(call_default_factory=True)
    if field.is_required() or default is None:
        raise InternalError(f"The field '{name}' has no example.", component.__name__, "Give it 'examples'.")
    return default


def _optional(name: str, field: FieldInfo) -> Iterator[str]:
    """Yields the lines of a field that may be left out; of a group of fields, one for each."""
    default = field.get_default(call_default_factory=True)
    group = type(default) if isinstance(default, BaseModel) else _group(field.annotation)
    if group is None:
        empty = default is None or (isinstance(default, Sequence | Mapping) and not default)
        yield _line(name, field, field.examples[0] if empty and field.examples else default)
        return
    yield f"{field.alias or name}:  # {field.description}"
    for inner, inner_field in group.model_fields.items():
        yield from (f"  {line}" for line in _optional(inner, inner_field))


def _group(annotation: Any) -> type[BaseModel] | None:
    """Returns the class of a group of fields in ``Group | None``."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next((found for one in typing.get_args(annotation) if (found := _group(one))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _line(name: str, field: FieldInfo, value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump({field.alias or name: plain}, default_flow_style=True, sort_keys=False, width=10_000)
    return f"{text.strip()[1:-1]}  # {field.description}"


def _source_files(component: type[BaseModel]) -> Iterator[str]:
    for each in component.__mro__:
        if issubclass(each, BaseModel) and each is not BaseModel:
            yield inspect.getfile(each)
