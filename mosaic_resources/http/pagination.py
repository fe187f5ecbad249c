"""How one page of an HTTP service leads to the next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mosaic_resources.errors import UserError

__all__ = ["PAGE_TYPES", "PageType", "Paging", "Request", "at", "first_request", "next_request"]

PageType = Literal["none", "page", "offset", "cursor", "link_header", "next_url"]
# Type → fields that it needs.
PAGE_TYPES: dict[str, tuple[str, ...]] = {
    "none": (), "page": ("param",), "offset": ("param", "size_param", "size"), "cursor": ("param", "path"),
    "link_header": (), "next_url": ("path",),
}  # fmt: skip


@dataclass(frozen=True)
class Paging:
    """How pages follow each other.

    Args:
        type: ``page`` counts pages, ``offset`` rows; ``cursor`` takes a token from the body; ``link_header`` and
            ``next_url`` an address, of the header ``Link: …; rel="next"`` or of the body; ``none``: one page.
        param: Parameter of the page, offset or token.
        path: Place of the token or address in the body, ``meta.next``.
        size_param: Parameter of the number of rows on a page.
        size: That number.
        start: Number of the first page.
    """

    type: PageType = "none"
    param: str | None = None
    path: str | None = None
    size_param: str | None = None
    size: int | None = None
    start: int = 1

    def check(self, where: str) -> None:
        """Ensures that the type has what it needs.

        Raises:
            UserError: It lacks a field.
        """
        for name in PAGE_TYPES[self.type]:
            if getattr(self, name) is None:
                raise UserError(f"Pagination '{self.type}' needs '{name}'.", where)


@dataclass(frozen=True)
class Request:
    """One page: an address and the parameters that are added to it."""

    url: str
    params: Mapping[str, str]


def first_request(url: str, params: Mapping[str, str], paging: Paging) -> Request:
    """Returns the request of the first page."""
    size = {paging.size_param: str(paging.size)} if paging.size_param and paging.size else {}
    start = {"page": str(paging.start), "offset": "0"}.get(paging.type)
    return Request(url, {**params, **size, **({paging.param: start} if start is not None and paging.param else {})})


def next_request(
    request: Request, paging: Paging, body: Any, links: Mapping[str, Mapping[str, str]], num_rows: int
) -> Request | None:
    """Returns the request of the page after one, or None after the last.

    Args:
        request: The page's request.
        paging: How pages follow.
        body: Its body.
        links: Its ``Link`` header by relation.
        num_rows: Rows on it; a page counted by number or offset that holds none is the last.
    """
    if paging.type in ("page", "offset") and paging.param:
        if not num_rows:
            return None
        step = 1 if paging.type == "page" else num_rows
        return Request(request.url, {**request.params, paging.param: str(int(request.params[paging.param]) + step)})
    if paging.type == "cursor" and paging.param:
        token = at(body, paging.path)
        return (
            None if token in (None, "", False) else Request(request.url, {**request.params, paging.param: str(token)})
        )
    address = links.get("next", {}).get("url") if paging.type == "link_header" else None
    if paging.type == "next_url":
        address = at(body, paging.path)
    return Request(str(address), {}) if address else None  # The address carries its parameters itself.


def at(body: Any, path: str | None) -> Any:
    """Returns the value at a path, ``data.items``; the body itself without one, None where there is none."""
    for step in path.split(".") if path else ():
        body = body.get(step) if isinstance(body, dict) else None
    return body
