"""Providers that are data: the rows shipped with the package, and those that a user adds in the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Struct, field

from genai_spine.dialects.base import Dialect, Quirks
from genai_spine.errors import ConfigurationError
from genai_spine.redact import MASK
from genai_spine.settings import ProviderFile

__all__ = ["Row", "base_address", "builtin_rows", "row_from_file"]


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider.

    Attributes:
        dialect: How it is spoken to.
        also: Further dialects that it speaks at the same address, each with its departures; a caller's own is taken
            before ``dialect``, and so is one that the model demands.
        url: Its address up to the dialect's own path; empty where every user has another.
        url_path: What an address of its users must end with.
        url_variables: Further environment variables that hold the address.
        key_variables: Further environment variables that hold keys.
        auth: How the key is sent: ``Authorization: Bearer``, a header of that name, or not at all.
        local: It runs on the user's own machines: it needs no key and costs nothing.
        default_model: Where the caller names none; empty for the first that it lists.
        embedding_model: The same for embeddings; empty where one must be named.
        models: The models it serves, where they are few and known; else they are asked for.
        open_models: It serves models that it does not list.
        headers: Sent with each request.
        quirks: Its departures from the dialect.
    """

    dialect: str
    also: dict[str, Quirks] = field(default_factory=dict)
    url: str = ""
    url_path: str = ""
    url_variables: tuple[str, ...] = ()
    key_variables: tuple[str, ...] = ()
    auth: Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "none"] = "bearer"
    local: bool = False
    default_model: str = ""
    embedding_model: str = ""
    models: tuple[str, ...] = ()
    open_models: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    quirks: Quirks = field(default_factory=Quirks)


@cache
def builtin_rows() -> Mapping[str, Row]:
    """Return the rows shipped with the package, by name."""
    text = files("genai_spine.providers").joinpath("builtin.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, Row])


def row_from_file(name: str, file: ProviderFile, builtin: Row | None) -> Row:
    """Return the row that the file's table makes: a new one, or a built-in one with some fields replaced.

    Raises:
        ConfigurationError: It lacks ``dialect`` or ``url``, or a quirk is unknown.
    """
    if builtin is None:
        if file.dialect is None or file.url is None:
            message = f"providers.{name}: a provider of your own needs dialect and url"
            raise ConfigurationError(message)
        builtin = Row(dialect=file.dialect, url=file.url)
    try:
        quirks = msgspec.convert(msgspec.to_builtins(builtin.quirks) | file.quirks, Quirks)
    except msgspec.ValidationError as error:
        message = f"providers.{name}.quirks: {error}"
        raise ConfigurationError(message) from error
    try:
        also = msgspec.convert(file.also, dict[str, Quirks])
    except msgspec.ValidationError as error:
        message = f"providers.{name}.also: {error}"
        raise ConfigurationError(message) from error
    # A service of another dialect than the built-in one is another service.
    same = file.dialect in {None, builtin.dialect}
    return msgspec.structs.replace(
        builtin,
        dialect=file.dialect or builtin.dialect,
        also=builtin.also | also if same else also,
        auth=file.auth or builtin.auth,
        local=builtin.local if file.local is None else file.local,
        default_model=file.default_model or builtin.default_model,
        embedding_model=file.embedding_model or builtin.embedding_model,
        models=file.models or builtin.models,
        headers=builtin.headers | file.headers,
        quirks=quirks,
    )


_SCHEMES: Final = frozenset({"http", "https"})


def base_address(text: str, row: Row, dialect: Dialect) -> str:
    """Return the base address meant by what a user wrote.

    A whole path such as ``.../v1/chat/completions`` is cut back to the base; an address without any path gets the path
    of the provider's own default; one without a scheme (``localhost:11434``) is http, and without a port too it gets
    the default's.

    Raises:
        ConfigurationError: It is no address.
    """
    text = text.strip()
    default = urlsplit(row.url)
    bare = "://" not in text
    try:
        parts = urlsplit(f"http://{text}" if bare else text)
        port = parts.port
    except ValueError as error:
        raise _no_address(text) from error
    if parts.scheme not in _SCHEMES or not parts.hostname or "@" in parts.netloc:
        raise _no_address(text)
    netloc = parts.netloc.replace("0.0.0.0", "127.0.0.1", 1)  # noqa: S104  # OLLAMA_HOST may hold the address to listen on
    if bare and port is None and default.port is not None:
        netloc = f"{netloc.removesuffix(':')}:{default.port}"
    path = parts.path.rstrip("/")
    for suffix in sorted(dialect.address_suffixes, key=len, reverse=True):
        if path.endswith(suffix):
            path = path.removesuffix(suffix)
            break
    if not path:
        path = default.path.rstrip("/")
    if row.url_path and not path.endswith(row.url_path):
        path += row.url_path
    return urlunsplit((parts.scheme, netloc, path, "", ""))


def _no_address(text: str) -> ConfigurationError:
    # What stands before an @ may be a password.
    _, at, rest = text.rpartition("@")
    shown = f"{MASK}@{rest}" if at else text
    message = f"{shown!r} is not the address of a provider; write it as https://host/path, without user or password"
    return ConfigurationError(message)
