"""Secrets at rest: sealed with keys that only the environment holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from msgspec import Struct

from genai_spine.errors import ConfigurationError, InvalidFieldError
from genai_spine.redact import Secret

__all__ = ["Sealed", "Vault", "new_key"]

HOW: Final = "make one with `spine config new-key`, and set it as GENAI_ENCRYPTION_KEY for every worker and replica"


class Sealed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept sealed of a provider; None is nothing, unlike none.

    Attributes:
        api_keys: Its keys.
        headers: What is added to each request; one may be a credential.
    """

    api_keys: tuple[str, ...] | None = None
    headers: dict[str, str] | None = None


class Vault:
    """Seals and opens."""

    def __init__(self, keys: Sequence[Secret]) -> None:
        """Take the keys; the first seals, all open.

        Raises:
            ConfigurationError: One is no key.
        """
        try:
            fernets = [Fernet(key.reveal()) for key in keys]
        except ValueError as error:
            message = f"GENAI_ENCRYPTION_KEY holds what is no key; {HOW}"
            raise ConfigurationError(message) from error
        self._fernet = MultiFernet(fernets) if fernets else None

    def seal(self, secrets: Sealed) -> bytes | None:
        """Return secrets sealed; None where there are none.

        Raises:
            InvalidFieldError: There is no key to seal with.
        """
        if secrets == Sealed():
            return None
        if self._fernet is None:
            message = f"secrets are not kept unencrypted, and there is no key to encrypt them with; {HOW}"
            raise InvalidFieldError(message, param="api_keys" if secrets.api_keys else "headers")
        return self._fernet.encrypt(msgspec.json.encode(secrets))

    def open(self, sealed: bytes) -> Sealed | None:
        """Return what was sealed; None where no key opens it."""
        if self._fernet is None:
            return None
        try:
            return msgspec.json.decode(self._fernet.decrypt(sealed), type=Sealed)
        except (InvalidToken, msgspec.DecodeError):
            return None


def new_key() -> Secret:
    """Return a new key."""
    return Secret(Fernet.generate_key().decode())
