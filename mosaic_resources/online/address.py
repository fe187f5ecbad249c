"""Addresses of online stores on a server: how they are shown, and how long such a server is waited for."""

from urllib.parse import urlsplit

__all__ = ["WAIT_SECONDS", "packages_of", "scheme_of", "shown_address"]

# The longest wait for a connection and for an answer: a request must not hang on a store that is gone.
WAIT_SECONDS = 2.0
# Scheme → packages that a service needs to reach the store.
PACKAGES = {
    "redis": ("redis", "hiredis"),
    "rediss": ("redis", "hiredis"),
    "postgresql": ("psycopg", "psycopg-binary"),
    "postgres": ("psycopg", "psycopg-binary"),
}


def scheme_of(address: str) -> str:
    """Returns the scheme of an address; ``lmdb`` for a folder."""
    scheme, separator, _ = address.partition("://")
    return scheme if separator else "lmdb"


def packages_of(address: str) -> tuple[str, ...]:
    """Returns the packages beside the usual ones that reach the store at an address."""
    return PACKAGES.get(scheme_of(address), ())


def shown_address(address: str) -> str:
    """Returns an address as it may be shown: without user, password and options.

    Example:
        >>> shown_address("redis://reader:secret@cache:6379/0?ssl=1"), shown_address("/data/online")
        ('redis://cache:6379/0', '/data/online')
    """
    if scheme_of(address) not in PACKAGES:
        return address
    parts = urlsplit(address)
    # An unescaped @ within a password must not move it into the host.
    host = parts.netloc.rpartition("@")[2] if "@" not in parts.path + parts.query + parts.fragment else "…"
    return f"{parts.scheme}://{host}{parts.path if host != '…' else ''}"
