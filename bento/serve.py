"""Runs the endpoint under uvicorn on a socket that the parent has bound: ``python -m bento.serve --fd 3``."""

import argparse
import logging
import socket
from typing import Any

__all__ = ["main"]


def main() -> None:
    """Serves until SIGTERM; requests that have begun are finished first."""
    parser = argparse.ArgumentParser(description=__doc__)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--fd", type=int, help="descriptor of a bound, listening socket")
    place.add_argument("--port", type=int, help="port to bind on --host")
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()

    import uvicorn

    from bento.service import Endpoint

    service: Any = Endpoint  # The decorator makes a bentoml.Service of the class.

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = uvicorn.Config(
        service.to_asgi(is_main=True),
        host=arguments.host,
        port=arguments.port or 0,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    listening = [socket.socket(fileno=arguments.fd)] if arguments.fd is not None else None
    uvicorn.Server(config).run(sockets=listening)


if __name__ == "__main__":
    main()
