"""The configuration while the gateway runs: what the database says over file and environment, read, watched, changed.

A change is made whole or not at all: it is built aside before it is kept, and what cannot be built is refused. What is
found wrong all the same, for somebody wrote it into the database by hand, leaves in effect what was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from genai_spine.clock import Clock
from genai_spine.configuration.changes import (
    ModelChange,
    ProviderChange,
    check_name,
    checked_setting,
)
from genai_spine.configuration.merging import Effective, effective, layer_of, secrets_of
from genai_spine.configuration.vault import Sealed, Vault
from genai_spine.errors import ConfigurationError, InvalidFieldError, NotFoundError
from genai_spine.redact import MASK, Secret
from genai_spine.settings import Settings
from genai_spine.storage.sql import configuration as rows
from genai_spine.storage.sql.configuration import Change, Stored, StoredModel, StoredProvider
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.versions import Watcher, bump, read
from genai_spine.telemetry.logging import logger
from genai_spine.types.ledger import NOBODY, AuditEvent, Caller

__all__ = ["Audit", "Configuration", "Make", "PutInPlace"]

PutInPlace: TypeAlias = Callable[[], Awaitable[object]]
Make: TypeAlias = Callable[[Settings], PutInPlace]
"""Makes all that follows from settings, aside, and returns what puts it in place; raises ``ConfigurationError``."""
Audit: TypeAlias = Callable[[AuditEvent], None]
_Edit: TypeAlias = Callable[[AsyncConnection, Stored, Change], Awaitable[None]]


class Configuration:
    """What is in effect, and its changes.

    Attributes:
        settings: Those in effect.
        version: Of what the database says, as far as it is in effect.
        problem: Why something newer is not in effect; None where nothing is.
        audit: Told of each change.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        watcher: Watcher,
        make: Make,
        *,
        clock: Clock,
        audit: Audit | None = None,
    ) -> None:
        """Begin with what environment and file say.

        Args:
            settings: What they say.
            database: What says the rest.
            watcher: Tells when that has changed.
            make: Makes what follows from settings.
            clock: Whose time is noted.
            audit: Told of each change.

        Raises:
            ConfigurationError: A key of ``GENAI_ENCRYPTION_KEY`` is none.
        """
        self.settings = settings
        self.version = 0
        self.problem: str | None = None
        self._vault = Vault(settings.encryption_keys)
        self._database = database
        self._watcher = watcher
        self._make = make
        self._clock = clock
        self.audit = audit
        self._sealed: tuple[str, ...] = ()
        watcher.on(rows.TOPIC, self.read)

    # What is in effect.

    async def read(self) -> None:
        """Read what the database says, and put it in effect if it can be.

        Raises:
            DatabaseDownError: The database cannot be reached.
        """
        # The version first: what is read then is at least as new.
        version = (await read(self._database)).get(rows.TOPIC, 0)
        async with self._database.reading() as connection:
            stored = await rows.load(connection)
        self._warn_of_sealed(stored)
        try:
            settings = self._over(stored)
            if settings is not None:
                await self._make(settings)()
                self.settings = settings
        except (ConfigurationError, InvalidFieldError) as error:
            if error.message != self.problem:
                logger.error(
                    "the configuration of the database is wrong; what was stays", version=version, reason=error.message
                )
            self.problem = error.message
            return
        self.problem = None
        self.version = version
        if settings is not None:
            logger.debug("configuration in effect", version=version)

    def effective(self) -> Sequence[Effective]:
        """Return all values in effect, with where they come from."""
        return list(effective(self.settings))

    # What the database says.

    async def stored(self) -> Stored:
        """Return it; raises as ``read`` does."""
        async with self._database.reading() as connection:
            return await rows.load(connection)

    async def providers(self) -> list[dict[str, Any]]:
        """Return what the database says of providers, as it may be shown."""
        return [self._shown(provider) for provider in (await self.stored()).providers.values()]

    async def provider(self, name: str) -> dict[str, Any]:
        """Return the same of one.

        Raises:
            NotFoundError: It says nothing.
        """
        found = (await self.stored()).providers.get(name)
        if found is None:
            raise _nothing(name)
        return self._shown(found)

    def _shown(self, provider: StoredProvider) -> dict[str, Any]:
        secrets = secrets_of(provider, self._vault)
        keys = secrets.api_keys if secrets else None
        headers = secrets.headers if secrets else None
        shown: dict[str, Any] = msgspec.to_builtins(provider, builtin_types=(bytes,))
        del shown["secrets"]
        return {
            **shown,
            "config": provider.config or {},
            "api_keys": None if keys is None else [Secret(key).fingerprint for key in keys],
            "headers": None if headers is None else dict.fromkeys(headers, MASK),
            "secrets_readable": secrets is not None,
            "models": [_shown_model(model) for model in provider.models.values()],
        }

    async def stored_settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings that the database says, by name, with their versions."""
        return {name: msgspec.to_builtins(one) for name, one in (await self.stored()).settings.items()}

    # Changes.

    async def set(self, name: str, value: object, *, version: int | None = None, by: Caller = NOBODY) -> None:
        """Set a setting, for all workers and replicas.

        Args:
            name: As in ``spine.toml``.
            value: Likewise.
            version: That of the row which was seen; None where that does not matter.
            by: Whose doing it is.

        Raises:
            InvalidFieldError: It cannot be set so, or not while the gateway runs; nothing was changed.
            ConflictError: The row is at another version.
            DatabaseDownError: The database cannot be reached.
        """
        kept = checked_setting(name, value)

        async def edit(connection: AsyncConnection, _: Stored, change: Change) -> None:
            await rows.save_setting(connection, name, kept, change)

        await self._change(edit, version, by, name, "set")

    async def unset(self, name: str, *, version: int | None = None, by: Caller = NOBODY) -> None:
        """Leave a setting to environment and file again; raises as ``set`` does, and where it is not set."""

        async def edit(connection: AsyncConnection, _: Stored, change: Change) -> None:
            await rows.delete_setting(connection, name, change)

        await self._change(edit, version, by, name, "unset")

    async def set_provider(
        self, name: str, wanted: ProviderChange, *, whole: bool = False, by: Caller = NOBODY
    ) -> None:
        """Change what the database says of a provider; raises as ``set`` does.

        Args:
            name: The provider, which may be new.
            wanted: The fields to change.
            whole: Those that it does not name are left to file and environment again; but not its secrets.
            by: Whose doing it is.
        """
        check_name(name)
        named = wanted.model_fields_set - {"version"}

        async def edit(connection: AsyncConnection, stored: Stored, change: Change) -> None:
            before = stored.providers.get(name, StoredProvider(name=name))
            fields = {field for field in ProviderChange.model_fields if whole or field in named}
            values = {field: getattr(wanted, field) for field in fields - {"version", "api_keys", "headers"}}
            after = msgspec.structs.replace(before, **_plain(values), secrets=self._resealed(before, wanted))
            await rows.save_provider(connection, after, change)

        await self._change(edit, wanted.version, by, f"providers.{name}", ", ".join(sorted(named)) or "nothing")

    async def delete_provider(self, name: str, *, version: int | None = None, by: Caller = NOBODY) -> None:
        """Delete what the database says of a provider and its models; raises as ``unset`` does."""

        async def edit(connection: AsyncConnection, _: Stored, change: Change) -> None:
            await rows.delete_provider(connection, name, change)

        await self._change(edit, version, by, f"providers.{name}", "deleted")

    async def set_model(
        self, provider: str, name: str, wanted: ModelChange, *, whole: bool = False, by: Caller = NOBODY
    ) -> None:
        """Change what the database says of a provider's model; arguments and errors as of ``set_provider``."""
        named = wanted.model_fields_set - {"version"}
        if not 0 < len(name) <= 100:
            message = "a model's name has 1 to 100 characters"
            raise InvalidFieldError(message, param="name")

        async def edit(connection: AsyncConnection, stored: Stored, change: Change) -> None:
            owner = stored.providers.get(provider, StoredProvider(name=provider))
            before = owner.models.get(name, StoredModel(name=name))
            fields = {field for field in ModelChange.model_fields if whole or field in named}
            values = {field: getattr(wanted, field) for field in fields - {"version"}}
            await rows.save_model(connection, provider, msgspec.structs.replace(before, **_plain(values)), change)

        what = f'models."{provider}/{name}"'
        await self._change(edit, wanted.version, by, what, ", ".join(sorted(named)) or "nothing")

    async def delete_model(self, provider: str, name: str, *, version: int | None = None, by: Caller = NOBODY) -> None:
        """Delete what the database says of a provider's model; raises as ``unset`` does."""

        async def edit(connection: AsyncConnection, _: Stored, change: Change) -> None:
            await rows.delete_model(connection, provider, name, change)

        await self._change(edit, version, by, f'models."{provider}/{name}"', "deleted")

    async def reseal(self, *, by: Caller = NOBODY) -> int:
        """Encrypt all secrets anew, with the first of the keys; return of how many providers. Raises as ``set`` does.

        The older keys can then go.
        """
        count = 0

        async def edit(connection: AsyncConnection, stored: Stored, change: Change) -> None:
            nonlocal count
            for provider in stored.providers.values():
                secrets = secrets_of(provider, self._vault)
                if secrets is None:
                    message = f"no key of GENAI_ENCRYPTION_KEY decrypts the keys of {provider.name}; give it new ones"
                    raise InvalidFieldError(message, param="api_keys")
                if provider.secrets is not None:
                    sealed = self._vault.seal(secrets)
                    await rows.save_provider(connection, msgspec.structs.replace(provider, secrets=sealed), change)
                    count += 1

        await self._change(edit, None, by, "providers", "encrypted anew")
        return count

    def _resealed(self, before: StoredProvider, wanted: ProviderChange) -> bytes | None:
        """A provider's secrets, those exchanged that are given."""
        given = {field: getattr(wanted, field) for field in ("api_keys", "headers") if field in wanted.model_fields_set}
        if not given:
            return before.secrets
        # What cannot be opened any more is given up with what replaces it.
        opened = secrets_of(before, self._vault) or Sealed()
        return self._vault.seal(msgspec.structs.replace(opened, **given))

    async def _change(self, edit: _Edit, seen: int | None, by: Caller, what: str, how: str) -> None:
        """Make a change, if all that it leads to can be made; it is in effect here when this returns."""
        async with self._database.writing() as connection:
            # First, so that two who change at once take turns, each building on what the other has done.
            version = await bump(connection, rows.TOPIC)
            before = await rows.load(connection)
            await edit(connection, before, Change(version, datetime.fromtimestamp(self._clock.now(), UTC), seen))
            settings = self._over(await rows.load(connection))
            if settings is not None:
                try:
                    self._make(settings)
                except ConfigurationError as error:
                    raise InvalidFieldError(error.message) from error
        logger.info("configuration changed", what=what, how=how, version=version, by=by.fingerprint)
        if self.audit is not None:
            details = {"what": what, "how": how, "version": str(version)}
            self.audit(AuditEvent(at=int(self._clock.now() * 1e6), event="config_change", caller=by, details=details))
        await self._watcher.look()

    def _over(self, stored: Stored) -> Settings | None:
        """The settings with what the database says; None where they are those in effect."""
        layer = layer_of(stored, self._vault)
        return None if layer == self.settings.layer else self.settings.over(layer)

    def _warn_of_sealed(self, stored: Stored) -> None:
        names = tuple(
            provider.name for provider in stored.providers.values() if secrets_of(provider, self._vault) is None
        )
        if names and names != self._sealed:
            logger.warning(
                "the keys of these providers in the database cannot be decrypted: GENAI_ENCRYPTION_KEY is not the one "
                "that they were encrypted with; they have none until it is, or until they are given new ones",
                providers=", ".join(names),
            )
        self._sealed = names


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them: prices may be decimals."""
    plain: dict[str, Any] = msgspec.to_builtins(values)
    return plain


def _shown_model(model: StoredModel) -> Mapping[str, Any]:
    return {**msgspec.to_builtins(model), "facts": model.facts or {}}


def _nothing(name: str) -> NotFoundError:
    return NotFoundError(f"the database says nothing of {name}; GET /v1/admin/config tells what is in effect")
