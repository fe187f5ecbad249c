"""Takes secrets out of text before it leaves the process in an event."""

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

__all__ = ["clean_uri", "redact"]

HIDDEN = "***"
SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
USER_IN_URL = re.compile(r"(?<=://)[^/\s@]+@")
BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
MIN_SECRET_CHARACTERS = 6


def redact(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Returns the text without users in addresses, bearer tokens, and values of variables named like secrets.

    Example:
        >>> redact("postgresql://me:hunter2@db/x refused hunter22", {"DB_PASSWORD": "hunter22"})
        'postgresql://***@db/x refused ***'
    """
    env = os.environ if environ is None else environ
    for name, value in env.items():
        if len(value) >= MIN_SECRET_CHARACTERS and SECRET_NAME.search(name):
            text = text.replace(value, HIDDEN)
    return BEARER.sub(rf"\1 {HIDDEN}", USER_IN_URL.sub(f"{HIDDEN}@", text))


def clean_uri(uri: str) -> str:
    """Returns an address without user, query and fragment, where signatures travel."""
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")) if parts.netloc else uri
