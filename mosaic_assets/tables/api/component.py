"""The Dagster face of a raw table that is asked of an HTTP service."""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field

from mosaic_assets.catalogue import where
from mosaic_assets.orchestration.station import station
from mosaic_assets.tables.asked_fields import AskedFields
from mosaic_assets.work import Made, Work, code_hash
from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.http.pagination import PAGE_TYPES, Paging
from mosaic_resources.settings.references import check_no_password, check_options

__all__ = ["ApiTableComponent", "Pagination"]


class Pagination(dg.Resolvable, dg.Model):
    """How one page leads to the next: by counting pages or rows, a token, or an address."""

    type: str = "none"
    param: str | None = None
    path: str | None = None
    size_param: str | None = None
    size: int | None = None
    start: int = 1


class ApiTableComponent(AskedFields, dg.Component, dg.Resolvable):
    """A raw Delta table of the records of a REST API; all each time, or those from a cursor on."""

    key: str = Field(description="Asset key and table name.", examples=["raw/payments"])
    url: str = Field(
        description="What is asked by GET; ${NAME} for what is secret.", examples=["https://shop.example/api/payments"]
    )
    records: str = Field("", description="Place of the list in the answer, data.items; empty: the answer is the list.")
    params: Mapping[str, str] = Field({}, description="Parameters of every request.", examples=[{"status": "paid"}])
    headers: Mapping[str, str] = Field(
        {}, description="Headers of every request.", examples=[{"Authorization": "Bearer ${SHOP_PASSWORD}"}]
    )
    pagination: Pagination = Field(
        Pagination(),
        description="type: none, page (param), offset (param, size_param, size), cursor (param, path), link_header, "
        "next_url (path).",
    )
    cursor_param: str | None = Field(
        None, description="Parameter that carries the cursor's last value.", examples=["updated_since"]
    )
    timeout_seconds: float = Field(30, gt=0, description="For a connection, and for each pause within an answer.")
    max_attempts: int = Field(6, ge=1, description="Tries of one page.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the raw table."""
        check_no_password(self.url, where(context, "url"))
        check_options(self.headers, where(context, "headers"))
        check_options(self.params, where(context, "params"))
        self.paging(where(context, "pagination"))
        self.declared_columns(where(context, "columns"))
        if self.cursor_param and not self.cursor_column:
            raise UserError("'cursor_param' needs 'cursor_column'.", where(context, "cursor_param"))
        code = code_hash(
            "api", self.url, self.records, dict(self.params), sorted(self.headers), self.pagination, dict(self.columns),
            self.cursor_column, self.cursor_param, self.cursor_lag, self.schema_evolution_mode,
            self.rescued_data_column,
        )  # fmt: skip
        asset = station(
            self,
            key=self.key,
            station_name="tables",
            kinds=("delta", "api"),
            deps=self.deps,
            code=code,
            run=self.execute,
        )
        return dg.Definitions(assets=[asset])

    def paging(self, place: str) -> Paging:
        """Returns how pages follow each other.

        Raises:
            UserError: There is no such type, or it lacks a field.
        """
        if self.pagination.type not in PAGE_TYPES:
            raise UnknownNameError("Pagination", self.pagination.type, PAGE_TYPES, place)
        paging = replace(Paging(), **self.pagination.model_dump())
        paging.check(place)
        return paging

    def execute(self, work: Work) -> Made:
        """Asks the service and appends or replaces."""
        from mosaic_assets.lineage.record import DatasetUse
        from mosaic_assets.tables.api.load import service_source
        from mosaic_resources.http.service import HttpService

        service = HttpService(
            self.url, work.asset, self.params, self.headers, self.records, self.paging(work.asset),
            self.timeout_seconds,
            self.max_attempts,
        )  # fmt: skip
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        source = service_source(
            service,
            origin=f"{parts.scheme}://{host}{parts.path}",
            columns=self.declared_columns(work.asset),
            mode=self.schema_evolution_mode,
            cursor=self.cursor_column,
            cursor_param=self.cursor_param,
            lag=self.cursor_lag,
            rescued=self.rescued_data_column,
        )
        work.lineage.reads(DatasetUse(f"{parts.scheme}://{host}", parts.path or "/", uri=source.origin))
        return self.brought(work, source)
