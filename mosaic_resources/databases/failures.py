"""What a driver says when something fails, as one error of ours without a secret."""

from mosaic_resources.errors import DependencyError, MosaicError, UserError
from mosaic_resources.settings.references import hidden, names_in

__all__ = ["connecting_failed", "query_failed"]

REFUSED = ("authentication failed", "access denied", "no password supplied", "28p01", "28000")


def connecting_failed(message: str, address: str, where: str) -> MosaicError:
    """Returns the error of a connection that could not be made.

    Args:
        message: What the driver said.
        address: As declared.
        where: Asset.
    """
    told = _one_line(hidden(message, [address]))
    names = ", ".join(f"${{{name}}}" for name in names_in(address)) or "the address"
    if any(sign in told.lower() for sign in REFUSED):
        return UserError(f"The database refuses the login: {told}", where, f"Check {names}. Nothing was written.")
    return DependencyError(f"The database cannot be reached: {told}", where, f"Check the server and {names}.")


def query_failed(message: str, address: str, where: str) -> UserError:
    """Returns the error of a query that failed."""
    return UserError(f"The query failed: {_one_line(hidden(message, [address]))}", where, "Nothing was written.")


def _one_line(message: str) -> str:
    text = " ".join(message.split())[:600]
    return text if text.endswith(".") else f"{text}."
