"""Any Spark Connect address: somebody else's server, which this package neither starts nor stops."""

import socket
from urllib.parse import urlparse

from mosaic_resources.errors import DependencyError, UserError

__all__ = ["ConnectEngine", "reachable"]


def reachable(host: str, port: int, timeout_seconds: float = 1.0) -> bool:
    """Returns whether something accepts a connection at ``host:port``."""
    try:
        with socket.create_connection((host, port), timeout_seconds):
            return True
    except OSError:
        return False


class ConnectEngine:
    """The engine behind an ``sc://`` address.

    Args:
        remote: Address such as ``sc://cluster:15002``.

    Raises:
        UserError: The address is not of the form ``sc://host[:port]``.
    """

    name = "connect"

    def __init__(self, remote: str) -> None:
        parsed = urlparse(remote)
        if parsed.scheme != "sc" or not parsed.hostname:
            raise UserError(f"'{remote}' is no Spark Connect address.", "SPARK_REMOTE", "Write sc://host:port.")
        self.remote, self._host, self._port = remote, parsed.hostname, parsed.port or 15002

    def spark_config(self) -> dict[str, str]:
        """Returns the configuration of a session at the address.

        Raises:
            DependencyError: Nothing listens there.
        """
        if not reachable(self._host, self._port, timeout_seconds=5):
            raise DependencyError(
                f"No Spark Connect server answers at {self._host}:{self._port}.",
                "engine 'connect'",
                "Start it, or unset SPARK_REMOTE to use the embedded engine.",
            )
        return {"spark.remote": self.remote}

    def stop(self) -> None:
        """Does nothing: the server belongs to somebody else."""
