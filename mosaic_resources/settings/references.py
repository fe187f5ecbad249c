"""Secrets by reference: a declaration says ``${NAME}``, and the environment is asked when something is opened."""

import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlsplit

from mosaic_resources.errors import UserError

__all__ = ["check_no_password", "check_options", "hidden", "names_in", "resolved", "resolved_options"]

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
SECRET_OPTION = re.compile(
    r"secret|password|token|account_key|sas|credential|authorization|cookie|api[_-]?key", re.IGNORECASE
)
# An option of these names the place of a secret, not the secret.
PLACE_OPTION = re.compile(r"(_file|_path|_uri|_url|_endpoint)$", re.IGNORECASE)


def names_in(text: str) -> list[str]:
    """Returns the names of the variables that a text refers to, in order.

    Example:
        >>> names_in("postgresql://reader:${SHOP_PASSWORD}@db/shop")
        ['SHOP_PASSWORD']
    """
    return REFERENCE.findall(text)


def resolved(text: str, where: str, environ: Mapping[str, str] | None = None) -> str:
    """Returns a text with the values of its variables; within an address they are percent-encoded.

    Args:
        text: As declared. A text that is one reference alone is the variable's value as it is.
        where: Asset or ``file:line``, for the message.
        environ: Default: the process's environment.

    Raises:
        UserError: A variable is not set.

    Example:
        >>> resolved("redis://:${PASSWORD}@cache", "t", {"PASSWORD": "p@ss"}), resolved("${KEY}", "t", {"KEY": "a/b"})
        ('redis://:p%40ss@cache', 'a/b')
    """
    env = os.environ if environ is None else environ
    missing = [name for name in names_in(text) if not env.get(name)]
    if missing:
        raise UserError(f"The environment variable '{missing[0]}' is not set.", where, "Set it, or write it into .env.")
    if REFERENCE.fullmatch(text) or "://" not in text:
        return REFERENCE.sub(lambda found: env[found[1]], text)
    return REFERENCE.sub(lambda found: quote(env[found[1]], safe=""), text)


def resolved_options(
    options: Mapping[str, str], where: str, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Returns options with the values of their variables.

    Raises:
        UserError: A variable is not set, or an option whose name says that it is secret holds its value.
    """
    check_options(options, where)
    return {name: resolved(text, where, environ) for name, text in options.items()}


def check_options(options: Mapping[str, str], where: str) -> None:
    """Ensures that no option whose name says that it is secret holds its value.

    Raises:
        UserError: One does.
    """
    for name, text in options.items():
        if SECRET_OPTION.search(name) and not PLACE_OPTION.search(name) and not names_in(text):
            raise UserError(f"The option '{name}' holds a secret.", where, "Write ${NAME}, a variable's name.")


def check_no_password(address: str, where: str) -> None:
    """Ensures that an address holds no password, only the name of a variable that does.

    Raises:
        UserError: It holds one.
    """
    login = urlsplit(REFERENCE.sub("", address)).netloc.rpartition("@")[0]
    if login.partition(":")[2] or re.search(r"[?&](password|token|secret)=[^&$]", address, re.IGNORECASE):
        raise UserError(
            "The address holds a password.", where, "Write ${NAME} in its place, the name of a variable that holds it."
        )


def hidden(message: str, declared: Iterable[str], environ: Mapping[str, str] | None = None) -> str:
    """Returns a message in which every value of the variables of ``declared`` is their name again.

    Example:
        >>> hidden("no such host: s3cret", ["x://${HOST}/"], {"HOST": "s3cret"})
        'no such host: ${HOST}'
    """
    env = os.environ if environ is None else environ
    values = {value: name for text in declared for name in names_in(text) if (value := env.get(name))}
    for value in sorted(values, key=len, reverse=True):
        for form in (value, quote(value, safe="")):
            message = message.replace(form, f"${{{values[value]}}}")
        if "://" in value:  # An address whole: its password alone may stand in the message.
            password = urlsplit(value).password
            message = message.replace(password, "…") if password else message
    return message
