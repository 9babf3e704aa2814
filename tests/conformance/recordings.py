"""Reads the recorded exchanges with real services, which lie beside the project and are no part of it."""

from __future__ import annotations

import fnmatch
import functools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml
from msgspec import Struct

__all__ = ["Exchange", "about", "exchanges", "folder", "require", "unread"]

_ROOT: Final = Path(__file__).parents[2]
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Exchange(Struct, frozen=True, kw_only=True):
    """One request and the answer to it.

    Attributes:
        name: The folder, the file and the exchange's number in it, such as ``test_groq/test_simple#0``.
        headers: Of the answer, with lower-case names.
        body: Of the answer, as it came over the wire as far as the recording tells.
    """

    name: str
    method: str
    uri: str
    request: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def host(self) -> str:
        """The service's host name."""
        return urlsplit(self.uri).hostname or ""

    @property
    def is_stream(self) -> bool:
        """Whether the answer came in pieces."""
        kind = self.headers.get("content-type", "")
        return any(name in kind for name in ("event-stream", "ndjson", "eventstream"))


def folder() -> Path | None:
    """Return where the recordings are; None where they are not."""
    place = Path(os.environ.get("GENAI_TEST_RECORDINGS") or _ROOT.parent / "shared" / "recordings")
    return place if place.is_dir() else None


def require() -> None:
    """Skip the test that calls it where there are no recordings; fail it if they must be there."""
    if folder() is not None:
        return
    message = "no recordings: set GENAI_TEST_RECORDINGS to their folder"
    if os.environ.get("GENAI_REQUIRE_RECORDINGS") == "1":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def about(exchange: Exchange) -> Iterator[None]:
    """Name the exchange that a failure comes from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in the recorded exchange {exchange.name}")
        raise


def exchanges(
    uri: str = "*", *, host: str = "*", path: str = "*", stream: bool | None = None, failed: bool | None = None
) -> tuple[Exchange, ...]:
    """Return the recorded exchanges that fit; none where there are no recordings.

    Args:
        uri: A shell pattern for the whole address without query and fragment.
        host: A shell pattern for the service's host name.
        path: A shell pattern for the exchange's name.
        stream: Only streams, or only whole answers.
        failed: Only answers with a status of 400 or more, or only others.
    """
    return tuple(
        found
        for found in _all()
        if fnmatch.fnmatchcase(found.uri, uri)
        and fnmatch.fnmatchcase(found.host, host)
        and fnmatch.fnmatchcase(found.name, path)
        and stream in {None, found.is_stream}
        and failed in {None, found.status >= 400}
    )


def unread() -> list[str]:
    """Return the names of files that hold what another recorder wrote; of it nothing is read."""
    place = folder()
    return [
        f"{file.parent.name}/{file.stem}"
        for file in (sorted(place.rglob("*.yaml")) if place else ())
        if not any(True for _ in _read(file))
    ]


@functools.cache
def _all() -> tuple[Exchange, ...]:
    place = folder()
    files = sorted(place.rglob("*.yaml")) if place else []
    return tuple(exchange for file in files for exchange in _read(file))


def _read(file: Path) -> Iterator[Exchange]:
    # Loader safe for any YAML; the fast one where libyaml is there.
    recorded: dict[str, Any] = yaml.load(file.read_bytes(), Loader=_LOADER)  # noqa: S506 - a safe loader, see above
    for number, exchange in enumerate(recorded.get("interactions", ())):
        request, answer = exchange.get("request"), exchange.get("response")
        if not request or not answer or "uri" not in request:
            continue  # another recorder's format (gRPC)
        yield Exchange(
            name=f"{file.parent.name}/{file.stem}#{number}",
            method=request["method"],
            uri=request["uri"].partition("#")[0].partition("?")[0],
            request=_body(request),
            status=answer["status"]["code"],
            headers={name.lower(): values[0] for name, values in answer.get("headers", {}).items() if values},
            body=_body(answer),
        )


def _body(message: dict[str, Any]) -> bytes:
    value: object = message["parsed_body"] if "parsed_body" in message else message.get("body")
    if isinstance(value, dict) and set(value) == {"string"}:
        value = value["string"]
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
