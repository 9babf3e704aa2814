"""What the operator is told when the gateway is up: who answers, how callers get in, and a line to try."""

from __future__ import annotations

import shlex
from functools import partial
from typing import NamedTuple

from msgspec import Struct

from genai_spine import __version__
from genai_spine.assembly import Spine
from genai_spine.identity.api_keys import KeyRing, first_key
from genai_spine.quota.operator import limits_in
from genai_spine.settings import Settings

__all__ = ["Access", "Found", "access_to", "found_by", "greeting"]


class Access(NamedTuple):
    """How callers get in.

    Attributes:
        line: For the operator, once.
        header: For the command line that is shown to be tried.
    """

    keys: KeyRing
    line: str
    header: str


class Found(Struct, frozen=True):
    """What an engine found when it started.

    Attributes:
        providers: Those that are configured, a line each.
        warnings: What should be looked at, a line each.
    """

    providers: tuple[str, ...]
    warnings: tuple[str, ...]


def access_to(settings: Settings, *, auth: bool) -> Access:
    """Return how callers get in; where nobody set a key, one is made and kept.

    Raises:
        ConfigurationError: It cannot be kept.
    """
    limits = partial(limits_in, settings.values)
    if not auth:
        return Access(KeyRing((), open_to_all=True, limits=limits), "No key is asked for (--no-auth).", "")
    if settings.keys:
        header = '-H "Authorization: Bearer ${GENAI_API_KEYS%%,*}" '
        return Access(KeyRing(settings.keys, limits=limits), "Callers present one of GENAI_API_KEYS.", header)
    key, path, new = first_key(settings.data_dir)
    line = (
        f"Your gateway key, shown this once and kept in {path}:\n  {key.reveal()}"
        if new
        else f"The gateway key is in {path}"
    )
    return Access(KeyRing((key,), limits=limits), line, f'-H "Authorization: Bearer $(cat {shlex.quote(str(path))})" ')


def found_by(spine: Spine) -> Found:
    """Return what a started engine found."""
    return Found(
        tuple(
            f"  {provider.name:<12} {provider.hint}; default model {provider.default_model or 'none'}"
            for provider in spine.registry.configured()
        ),
        spine.warnings,
    )


def greeting(host: str, port: int, workers: int, access: Access, found: Found) -> str:
    """Return what the operator is told."""
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    several = f", {workers} workers" if workers > 1 else ""
    lines = [f"GenAI Spine {__version__} at {address} (all routes: {address}/docs){several}", ""]
    if found.providers:
        lines += ["Providers:", *found.providers]
    else:
        lines.append("No provider is configured, so `simulator` answers. Set a key, for instance OPENAI_API_KEY.")
    return "\n".join(
        [
            *lines,
            "",
            access.line,
            "",
            "Try it:",
            f"  curl {address}/v1/chat/completions {access.header}-H 'Content-Type: application/json' \\",
            """    -d '{"model": "auto", "messages": [{"role": "user", "content": "Hello!"}]}'""",
            "",
        ]
    )
