"""``spine serve``: the gateway, over HTTP."""

from __future__ import annotations

import gc
import ipaddress
import shlex
import signal
import socket
from types import FrameType
from typing import Annotated, Final, NamedTuple

import typer
import uvicorn
from typing_extensions import override

from genai_spine import __version__
from genai_spine.assembly import Spine
from genai_spine.cli.office import in_database
from genai_spine.cli.settings import ConfigOption, load_settings, told
from genai_spine.errors import ConfigurationError, DatabaseDownError
from genai_spine.identity.api_keys import KeyRing
from genai_spine.identity.first_key import first_key
from genai_spine.server.app import create_app
from genai_spine.settings import Settings
from genai_spine.telemetry.logging import LogObserver, configure_logging, logger

__all__ = ["serve"]

STOP_SECONDS = 30
_SOME_KEY: Final = '-H "Authorization: Bearer YOUR-KEY" '


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; GENAI_API_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, 0 for a free one; GENAI_API_PORT.")] = None,
    config: ConfigOption = None,
    *,
    auth: Annotated[bool, typer.Option("--auth/--no-auth", help="Ask callers for a key.")] = True,
) -> None:
    """Start the gateway."""
    with told():
        settings = load_settings(config)
        host = host or settings.values.host
        port = settings.values.port if port is None else port
        if not auth and not _is_loopback(host):
            message = f"--no-auth is only for loopback addresses, and {host} is not one; set GENAI_API_KEYS instead"
            raise ConfigurationError(message)
        level = settings.values.log_level
        writer = configure_logging(level)
        spine = Spine(settings, observers=[LogObserver(writer, level)])
        access = _access(settings, auth=auth)
        listening = _listen(host, port)
    try:
        _Server(spine, access, listening).run([listening])
    finally:
        writer.close()


class _Access(NamedTuple):
    """How callers get in.

    Attributes:
        line: For the operator, once.
        header: For the command line that is shown to be tried.
    """

    keys: KeyRing
    line: str
    header: str


class _Server(uvicorn.Server):
    """uvicorn, that tells what it found once it is ready."""

    def __init__(self, spine: Spine, access: _Access, listening: socket.socket) -> None:
        self._spine = spine
        self._access = access
        self._socket = listening
        super().__init__(
            uvicorn.Config(
                create_app(spine, access.keys),
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,
                lifespan="on",
                ws="none",
            )
        )

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in good order; at a second Ctrl-C at once.

        uvicorn's own would raise the signal again at the end, and the process would die before its log is written.
        """
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        else:
            self.should_exit = True

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say what there is."""
        await super().startup(sockets)
        if self.started:
            # What is here now stays: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()
            typer.echo(_summary(self._spine, self._socket, self._access))
            for warning in self._spine.warnings:
                logger.warning(warning)


def _access(settings: Settings, *, auth: bool) -> _Access:
    if not auth:
        return _Access(KeyRing((), open_to_all=True), "No key is asked for (--no-auth).", "")
    if settings.keys:
        header = '-H "Authorization: Bearer ${GENAI_API_KEYS%%,*}" '
        return _Access(KeyRing(settings.keys), "Callers present one of GENAI_API_KEYS.", header)
    try:
        first = in_database(settings, lambda spine: first_key(spine.identities, settings.data_dir))
    except DatabaseDownError:
        return _Access(KeyRing(), "The database cannot be reached, so no key of it is known yet.", _SOME_KEY)
    if first.path is None:
        return _Access(KeyRing(), "Callers present a key; spine keys create makes one.", _SOME_KEY)
    line = (
        f"Your gateway key, shown this once and kept in {first.path}:\n  {first.made.reveal()}"
        if first.made is not None
        else f"The gateway key is in {first.path}"
    )
    return _Access(KeyRing(), line, f'-H "Authorization: Bearer $(cat {shlex.quote(str(first.path))})" ')


def _summary(spine: Spine, listening: socket.socket, access: _Access) -> str:
    host, port = listening.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    configured = spine.registry.configured()
    lines = [f"GenAI Spine {__version__} at {address} (all routes: {address}/docs)", ""]
    if configured:
        lines.append("Providers:")
        lines += [
            f"  {provider.name:<12} {provider.hint}; default model {provider.default_model or 'none'}"
            for provider in configured
        ]
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


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    """Take the address before anything is opened, so that a taken one is told at once."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # asyncio sets it only on sockets that name their protocol; without it each answer waits for an acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind((host, port))
        listening.listen(2048)
        listening.setblocking(False)
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {error.strerror}; choose another with --host and --port"
        raise ConfigurationError(message) from error
    return listening
