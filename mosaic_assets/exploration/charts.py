"""Small charts as SVG text, for a page that needs nothing but itself."""

import math
from collections.abc import Sequence
from html import escape

__all__ = ["bars", "cell", "line", "table"]

Value = float | None
BAR_WIDTH, HEIGHT = 26, 90
BLUE, GREY = "#3267c9", "#c7ccd6"
MAX_CHARACTERS = 6  # that fit below a bar


def bars(values: Sequence[Value], labels: Sequence[str], weights: Sequence[float] | None = None) -> str:
    """Returns one bar for each value, named below; a value that is not known is a gap.

    Args:
        values: Heights, 0 at least.
        labels: Name of each bar; the whole name and the value show under the pointer.
        weights: Rows behind each bar; shown in grey behind it, at a scale of their own.
    """
    highest = max((value for value in values if value is not None and math.isfinite(value)), default=0.0) or 1.0
    most = max(weights, default=0.0) if weights else 0.0
    parts = list[str]()
    for number, (value, label) in enumerate(zip(values, labels, strict=True)):
        at, rows = number * BAR_WIDTH, f", {weights[number]:,.0f} rows" if weights else ""
        behind = HEIGHT * weights[number] / most if weights and most else 0.0
        high = HEIGHT * value / highest if value is not None and math.isfinite(value) else 0.0
        parts += [
            f"<g><title>{escape(f'{label}: {cell(value)}{rows}')}</title>",
            f'<rect x="{at}" y="{HEIGHT - behind:.1f}" width="{BAR_WIDTH - 4}" height="{behind:.1f}" fill="{GREY}"/>',
            f'<rect x="{at + 5}" y="{HEIGHT - high:.1f}" width="{BAR_WIDTH - 14}" height="{high:.1f}" fill="{BLUE}"/>',
            f'<text x="{at}" y="{HEIGHT + 12}">{escape(label[:MAX_CHARACTERS])}</text></g>',
        ]
    return f'<svg width="{len(values) * BAR_WIDTH}" height="{HEIGHT + 18}" role="img">{"".join(parts)}</svg>'


def line(values: Sequence[Value], labels: Sequence[str], width: int = 220, height: int = 36) -> str:
    """Returns a line through the values; one that is not known interrupts it.

    Args:
        values: One for each period, in order.
        labels: Name of each period; shown under the pointer.
        width: In pixels.
        height: In pixels.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    span, step = (high - low) or 1.0, width / max(len(values) - 1, 1)
    dots, pieces, piece = list[str](), list[list[str]](), list[str]()
    for number, (value, label) in enumerate(zip(values, labels, strict=True)):
        if value is None or not math.isfinite(value):
            pieces, piece = [*pieces, piece], []
            continue
        x, y = 4 + number * step, 4 + height * (1 - (value - low) / span)
        piece.append(f"{x:.1f},{y:.1f}")
        dots.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"><title>{escape(f"{label}: {cell(value)}")}</title></circle>'
        )
    lines = "".join(f'<polyline points="{" ".join(each)}" fill="none" stroke="{BLUE}"/>' for each in [*pieces, piece])
    return f'<svg width="{width + 8}" height="{height + 8}" fill="{BLUE}" role="img">{lines}{"".join(dots)}</svg>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table; its cells are HTML already."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{one}</td>" for one in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def cell(value: object) -> str:
    """Returns a value as people read it: four digits, a dash for what is not known."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:,.4g}" if isinstance(value, float) else escape(str(value))
