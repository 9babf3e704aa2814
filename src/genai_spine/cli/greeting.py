"""What the operator is told when the gateway is up: who answers, how callers get in, and a line to try."""

from __future__ import annotations

import shlex
from typing import Final, NamedTuple

from msgspec import Struct

from genai_spine import __version__
from genai_spine.assembly import Spine
from genai_spine.cli.office import in_database
from genai_spine.errors import DatabaseDownError
from genai_spine.identity.api_keys import KeyRing
from genai_spine.identity.first_key import FirstKey, first_key
from genai_spine.settings import Settings
from genai_spine.types.principal import ANYBODY

__all__ = ["Access", "Found", "access_to", "found_by", "greeting"]

_SOME_KEY: Final = '-H "Authorization: Bearer YOUR-KEY" '


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
    if not auth:
        return Access(KeyRing(open_to_all=True), "No key is asked for (--no-auth).", "")
    if settings.keys:
        header = '-H "Authorization: Bearer ${GENAI_API_KEYS%%,*}" '
        return Access(KeyRing(settings.keys), "Callers present one of GENAI_API_KEYS.", header)
    try:
        first = in_database(settings, _first_key)
    except DatabaseDownError:
        return Access(KeyRing(), "The database cannot be reached, so no key of it is known yet.", _SOME_KEY)
    if first.path is None:
        return Access(KeyRing(), "Callers present a key; spine keys create makes one.", _SOME_KEY)
    line = (
        f"Your gateway key, shown this once and kept in {first.path}:\n  {first.made.reveal()}"
        if first.made is not None
        else f"The gateway key is in {first.path}"
    )
    return Access(KeyRing(), line, f'-H "Authorization: Bearer $(cat {shlex.quote(str(first.path))})" ')


async def _first_key(spine: Spine) -> FirstKey:
    found = await first_key(spine.office.identities, spine.settings.data_dir)
    if found.made is not None:
        spine.office.tell(ANYBODY, "key_created", "the first key was made")
    return found


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
