"""The first key of a new database, made so that its operator can come in: shown once, and kept in the data folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from msgspec import Struct

from genai_spine.errors import ConfigurationError
from genai_spine.identity.api_keys import is_secret, new_key, prefix_of, secret_of
from genai_spine.redact import Secret
from genai_spine.storage.records import KeyFacts
from genai_spine.storage.sql.identities import Identities
from genai_spine.types.principal import SCOPES

__all__ = ["KEY_FILE", "FirstKey", "first_key", "stored_key"]

KEY_FILE: Final = "gateway.key"
OLDER_FILE: Final = "gateway.key.old"
_NAME: Final = "first key"


class FirstKey(Struct, frozen=True):
    """How an operator comes in.

    Attributes:
        made: The key, where it was made just now; to be shown this once.
        path: The file that it is kept in; None where no key of the database is kept on this machine.
    """

    made: Secret | None
    path: Path | None


async def first_key(identities: Identities, data_dir: Path) -> FirstKey:
    """Make a key that is good for everything where there was never any. Of replicas that start together one makes it.

    Raises:
        ConfigurationError: The folder cannot be written, or others may read the file of the key.
        DatabaseDownError: The database cannot be reached.
    """
    if not await identities.has_keys():
        key = new_key()
        facts = KeyFacts(name=_NAME, scopes=tuple(SCOPES))
        if await identities.add_first_key(facts, secret_of(key), lambda: _keep(key, data_dir)):
            return FirstKey(key, data_dir / KEY_FILE)
    kept = stored_key(data_dir)
    known = kept is not None and await _is_known(identities, kept.reveal())
    return FirstKey(None, data_dir / KEY_FILE if known else None)


def stored_key(data_dir: Path) -> Secret | None:
    """Return the key kept in the data folder; None where none was made here.

    Raises:
        ConfigurationError: It cannot be read, or others may read its file.
    """
    path = data_dir / KEY_FILE
    try:
        if path.stat().st_mode & 0o077:
            message = f"{path} may be read by others; run: chmod 600 {path}"
            raise ConfigurationError(message)
        key = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"the gateway's key in {path} cannot be read: {error.strerror}"
        raise ConfigurationError(message) from error
    return Secret(key) if key else None


def _keep(key: Secret, data_dir: Path) -> None:
    path = data_dir / KEY_FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            # That of another database, which may be used again.
            path.replace(path.with_name(OLDER_FILE))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key.reveal() + "\n")
    except OSError as error:
        message = f"the data folder {data_dir} cannot be used ({error.strerror}); set GENAI_DATA_DIR to another"
        raise ConfigurationError(message) from error


async def _is_known(identities: Identities, key: str) -> bool:
    prefix = prefix_of(key)
    found = (await identities.find([prefix])).get(prefix) if prefix is not None else None
    return found is not None and is_secret(key, found.secret) and found.key.revoked_at is None
