"""Redis: features in the memory of a server that all services of a site share.

The server itself merges, in a script that nothing interrupts, so of two writers neither takes a row back in time.
A merge goes in parts of ``KEYS_PER_SCRIPT`` keys: a row changes whole, and reads get their turn in between.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mosaic_resources.errors import DependencyError, InternalError, UserError, missing_extra
from mosaic_resources.online.address import WAIT_SECONDS, shown_address
from mosaic_resources.online.layout import BlobLayout, Rows

__all__ = ["RedisStore"]

KEYS_PER_SCRIPT = 1_000
PREFIX = b"mosaic:"
# KEYS: rows. ARGV: the absent row, the number of views, each view's offset and width, then each key's new row.
# Times are compared in halves of 32 bits, for a number in Lua is a double. The rule is that of ``merge_newest``.
MERGE = """
local absent, views, changed = ARGV[1], tonumber(ARGV[2]), 0
local first = 2 + 2 * views
local function newer(was, now, at)
  local a0, a1, b0, b1 = struct.unpack('<I4i4I4i4', string.sub(was, at, at + 15))
  local c0, c1, d0, d1 = struct.unpack('<I4i4I4i4', string.sub(now, at, at + 15))
  if a1 ~= c1 then return c1 > a1 end
  if a0 ~= c0 then return c0 > a0 end
  if b1 ~= d1 then return d1 > b1 end
  return d0 >= b0
end
for i = 1, #KEYS do
  local found, now = redis.call('GET', KEYS[i]), ARGV[first + i]
  local was = found or absent
  if #was ~= #now then return redis.error_reply('ERR a row has another layout') end
  local parts = {string.sub(now, 1, 8)}
  for v = 1, views do
    local at, width = tonumber(ARGV[1 + 2 * v]), tonumber(ARGV[2 + 2 * v])
    local from = newer(was, now, at) and now or was
    parts[v + 1] = string.sub(from, at, at + width - 1)
  end
  local merged = table.concat(parts)
  if merged ~= was then
    redis.call('SET', KEYS[i], merged)
    changed = changed + 1
  elseif not found then
    redis.call('SET', KEYS[i], merged)
  end
end
return changed
"""


class RedisStore:
    """An ``OnlineStore`` on one Redis server (no cluster): ``redis://[user:password@]host:port/db``.

    Args:
        address: The server; ``rediss://`` for TLS.
        read_only: Whether this process only reads.

    Raises:
        UserError: The address is malformed.
        DependencyError: The package is not installed, or the server does not answer within ``WAIT_SECONDS``.
    """

    waits = True

    def __init__(self, address: str, *, read_only: bool = False) -> None:
        try:
            import redis
        except ImportError as exc:
            raise missing_extra("redis", "redis") from exc
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._redis: Any = redis
        self._shown, self._read_only = shown_address(address), read_only
        try:
            self._client: Any = redis.Redis.from_url(
                address,
                socket_timeout=WAIT_SECONDS,
                socket_connect_timeout=WAIT_SECONDS,
                # Once more, at once: a connection that lay idle may have been closed by the server.
                retry=Retry(NoBackoff(), 1),
                retry_on_error=[redis.exceptions.ConnectionError],
            )
        except (ValueError, TypeError):  # Its text may hold the password, so it is not shown.
            raise UserError(
                "The address is malformed.", f"online store '{self._shown}'", "Write redis://host:port/db."
            ) from None
        self._merge: Any = self._client.register_script(MERGE)
        with self._errors():
            self._client.ping()

    def __repr__(self) -> str:
        return f"RedisStore('{self._shown}')"

    def read(self, layout: BlobLayout, keys: Sequence[bytes | None]) -> list[bytes | None]:
        """See ``OnlineStore``."""
        prefix = PREFIX + layout.schema_id
        wanted = [prefix + key for key in keys if key is not None]
        with self._errors():
            found = iter(self._client.mget(wanted) if wanted else ())
        return [None if key is None else next(found) for key in keys]

    def merge(self, layout: BlobLayout, keys: Sequence[bytes], rows: Rows) -> int:
        """See ``OnlineStore``; all or nothing for each key, not for all together."""
        if self._read_only:
            raise InternalError(f"The online store '{self._shown}' is open for reading.")
        prefix, width, blobs = PREFIX + layout.schema_id, layout.dtype.itemsize, rows.tobytes()
        spans = [layout.dtype.fields[f"v{i}"] for i in range(len(layout.views))] if layout.dtype.fields else []
        head = [layout.absent, len(spans), *(n for kind, at, *_ in spans for n in (int(at) + 1, kind.itemsize))]
        num_changed = 0
        for begin in range(0, len(keys), KEYS_PER_SCRIPT):
            part = range(begin, min(begin + KEYS_PER_SCRIPT, len(keys)))
            new = [blobs[i * width : (i + 1) * width] for i in part]
            with self._errors():
                num_changed += int(self._merge([prefix + keys[i] for i in part], [*head, *new]))
        return num_changed

    def close(self) -> None:
        """See ``OnlineStore``."""
        self._client.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._redis.RedisError as exc:
            raise DependencyError(
                f"The online store does not serve: {exc}.",
                self._shown,
                "Start the server, or correct the address, the password or the rights.",
            ) from exc
