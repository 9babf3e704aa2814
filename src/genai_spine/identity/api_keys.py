"""The keys that callers present, kept as keyed hashes only."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from genai_spine.errors import AuthenticationError, ConfigurationError
from genai_spine.redact import Secret
from genai_spine.types.limits import Limit
from genai_spine.types.principal import Principal

__all__ = ["KeyRing", "first_key", "presented_key", "stored_key"]

KEY_FILE: Final = "gateway.key"
_PREFIX: Final = "spine-"


class KeyRing:
    """Knows which keys are good. Without any key it lets nobody in, unless ``open_to_all``."""

    def __init__(
        self,
        keys: Iterable[Secret],
        *,
        open_to_all: bool = False,
        limits: Callable[[str], tuple[Limit, ...]] = lambda _: (),
    ) -> None:
        """Know these keys; ``limits`` tells those of a fingerprint."""
        # The hash is keyed by a secret of this process, so that what is kept is of no use elsewhere.
        self._salt = secrets.token_bytes(32)
        self._known = [
            (self._digest(key.reveal()), Principal(key.fingerprint, limits(key.fingerprint))) for key in keys
        ]
        self._anybody = Principal("", limits("anybody"))
        self._open = open_to_all

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode(errors="surrogatepass"), key=self._salt, digest_size=32).digest()

    def admit(self, presented: str | None) -> Principal:
        """Return who presents a key.

        Raises:
            AuthenticationError: No key was presented, or it is not known.
        """
        if self._open:
            return self._anybody
        if not presented:
            message = "no API key was sent; send the gateway's key as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"
            raise AuthenticationError(message, code="missing_api_key")
        digest = self._digest(presented)
        found: Principal | None = None
        for known, principal in self._known:
            # All are compared, each in constant time, so that the time taken tells nothing.
            if hmac.compare_digest(known, digest):
                found = principal
        if found is None:
            message = "the API key is not one of the gateway's keys"
            raise AuthenticationError(message)
        return found


def presented_key(headers: Mapping[str, str], query: str = "") -> str | None:
    """Return the key that a request presents, in any of the places where the official clients put theirs.

    Args:
        headers: By lower-case name.
        query: The query string, where Gemini's clients may put it as ``key``.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    for name in ("x-api-key", "x-goog-api-key", "api-key"):
        if key := headers.get(name, "").strip():
            return key
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if name == "key" and value:
            return unquote(value)
    return None


def first_key(data_dir: Path) -> tuple[Secret, Path, bool]:
    """Return the key kept in the data folder, its file, and whether it was made just now.

    Raises:
        ConfigurationError: The folder cannot be written, or others may read the file.
    """
    path = data_dir / KEY_FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _read(path), path, False
        key = _PREFIX + secrets.token_urlsafe(32)
        with os.fdopen(descriptor, "w") as file:
            file.write(key + "\n")
    except OSError as error:
        message = f"the data folder {data_dir} cannot be used ({error.strerror}); set GENAI_DATA_DIR to another"
        raise ConfigurationError(message) from error
    return Secret(key), path, True


def stored_key(data_dir: Path) -> Secret | None:
    """Return the key kept in the data folder; None where none was made yet.

    Raises:
        ConfigurationError: It cannot be read, or others may read its file.
    """
    path = data_dir / KEY_FILE
    try:
        return _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"the gateway's key in {path} cannot be read: {error.strerror}"
        raise ConfigurationError(message) from error


def _read(path: Path) -> Secret:
    if path.stat().st_mode & 0o077:
        message = f"{path} may be read by others; run: chmod 600 {path}"
        raise ConfigurationError(message)
    key = path.read_text(encoding="utf-8").strip()
    if not key:
        message = f"{path} is empty; remove it to have a new key made"
        raise ConfigurationError(message)
    return Secret(key)
