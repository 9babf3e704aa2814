"""The one reader of environment and file. What it returns is frozen; nobody else looks at either.

A setting is looked up in the environment by its canonical name (``GENAI_...``), then by its older names, then in
``spine.toml``, then it is built in. What the database says goes before them all; it is handed in by ``Settings.over``.
"""

from __future__ import annotations

import copy
import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from genai_spine.errors import ConfigurationError
from genai_spine.redact import Secret
from genai_spine.types.limits import LimitAction
from genai_spine.types.tables import AliasTarget, Frozen, ModelFile, ProviderFile, Targets, TimeoutSettings

__all__ = [
    "AliasTarget",
    "AwsSettings",
    "FileSettings",
    "Layer",
    "ModelFile",
    "ProviderFile",
    "ProviderSettings",
    "Settings",
    "TimeoutSettings",
    "variable_of",
]

PREFIX: Final = "GENAI_"
DATABASE: Final = "the database"
BUILT_IN: Final = "built in"
# The project's own test suite reads these; they configure no gateway.
_FOREIGN: Final = ("GENAI_TEST_", "GENAI_REQUIRE_", "GENAI_BENCH_")


def _address(*schemes: str) -> BeforeValidator:
    """Read a URL of one of these schemes. It may hold a password, so it is kept as a secret."""

    def read(value: object) -> object:
        scheme = value.partition("://")[0].partition("+")[0] if isinstance(value, str) and "://" in value else ""
        if isinstance(value, str) and scheme in schemes:
            return Secret(value.strip())
        message = f"it must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"
        raise ValueError(message)

    return BeforeValidator(read)


DatabaseUrl: TypeAlias = Annotated[Secret, _address("sqlite", "postgresql", "postgres")]
RedisUrl: TypeAlias = Annotated[Secret, _address("redis", "rediss", "unix")]


Money: TypeAlias = Annotated[Decimal, Field(max_digits=15, decimal_places=9)]
"""US dollars, to the nanodollar."""


class FileSettings(Frozen):
    """All that may stand in ``spine.toml``."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    default_provider: str = Field(default="ollama", description="serves models that nothing else places")
    generate_default_provider: str = Field(default="anthropic", description="serves POST /v1/generate")
    routing_strategy: str = Field(default="local_first", description="the order of candidates, unless a request says")
    fallback_chain: tuple[str, ...] = Field(
        default=(), description="providers to move on to, in this order, each with its default model"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8100, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: int = Field(default=1, gt=0, description="processes that serve; more than one share state over Redis")
    stop_seconds: float = Field(
        default=30, ge=0, description="how long a gateway that stops waits for the answers under way; then they are cut"
    )
    url: str | None = Field(
        default=None, description="where the command line finds a running gateway; by default as `host` and `port` say"
    )
    cors_origins: tuple[str, ...] = Field(default=(), description="web origins whose pages may call the gateway")
    data_dir: Path | None = Field(default=None, description="where the gateway keeps its files")
    database_url: DatabaseUrl | None = Field(
        default=None, repr=False, description="where records are kept; unset: a SQLite file in `data_dir`"
    )
    redis_url: RedisUrl | None = Field(
        default=None, repr=False, description="where several workers or machines share state; unset: in memory"
    )
    metrics_open: bool = Field(
        default=True, description="show the metrics to anybody; else to keys with the scope `metrics` or `admin`"
    )
    journal_max_bytes: int = Field(
        default=1 << 30, ge=1 << 20, description="most that each worker's journal takes while the database is away"
    )
    ledger_seconds: float = Field(default=0.5, gt=0, description="how soon what happened is in the database")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level logged")
    max_body_bytes: int = Field(default=32 * 1024 * 1024, gt=0, description="largest request body")
    state_max_bytes: int = Field(
        default=64 * 1024 * 1024, ge=0, description="most that is kept in memory between requests: answers, and seals"
    )
    fetch_media: bool = Field(
        default=True, description="fetch images and documents by address for providers that do not"
    )
    fetch_hosts: tuple[str, ...] = Field(
        default=("*",), description="from where: `*` is every public host; one that is named may have a private address"
    )
    fetch_max_bytes: int = Field(default=20 * 1024 * 1024, gt=0, description="most bytes fetched for one request")
    fetch_max_files: int = Field(default=16, gt=0, description="most addresses fetched for one request")
    fetch_timeout: float = Field(default=20, gt=0, description="seconds to fetch what one request needs")
    simulator_failures: dict[str, float] = Field(
        default={}, description="how often the simulator fails in which way, e.g. {500 = 0.1, cut = 0.05}"
    )
    simulator_chunk_seconds: float = Field(default=0, ge=0, description="pause before each piece of its streams")
    default_cooldown: float = Field(
        default=60, gt=0, description="seconds that a provider's key rests first; each further failure doubles them"
    )
    max_cooldown_seconds: float = Field(default=3600, gt=0, description="the longest of such rests")
    max_failures_before_cooldown: int = Field(default=3, gt=0, description="failures in a row after which a key rests")
    max_key_attempts: int = Field(default=3, gt=0, description="keys of a provider that are tried for one request")
    permanent_error_patterns: tuple[str, ...] = Field(
        default=(),
        description="further regular expressions of what providers say of a key that is gone for good; "
        "in the environment one a line",
    )
    circuit_failures: int = Field(default=5, gt=0, description="a provider's failures in a row that open its circuit")
    circuit_open_seconds: float = Field(
        default=300, gt=0, description="for how long it is then not asked; one call finds out whether it is back"
    )
    retry_attempts: int = Field(default=3, gt=0, description="calls to one provider for one request; 1 never retries")
    retry_first_wait: float = Field(
        default=1, ge=0, description="seconds before the second call; each further wait is twice as long"
    )
    retry_longest_wait: float = Field(default=30, ge=0, description="seconds that no such wait exceeds")
    retry_patience: float = Field(
        default=2, ge=0, description="seconds that are waited, at most, where another candidate could be asked instead"
    )
    retry_longest_silence: float = Field(
        default=60, ge=0, description="the same where none could; then the caller is told when to come back"
    )
    retry_share: float = Field(
        default=0.2, ge=0, le=1, description="which part of a provider's calls may be retries, when it is in trouble"
    )
    ledger: bool = Field(
        default=True, description="record each call and request; off for a program that keeps no files"
    )
    budget_per_request: Money | None = Field(default=None, ge=0, description="the most in USD that one call may cost")
    budget_hourly: Money | None = Field(default=None, ge=0, description="the most in USD that all may spend in an hour")
    budget_daily: Money | None = Field(default=None, ge=0, description="the same in a day, in UTC")
    budget_monthly: Money | None = Field(default=None, ge=0, description="the same in a month")
    budget_action: LimitAction = Field(
        default="block",
        description="what is done when a budget does not suffice: `block` refuses, `warn` lets through and says so, "
        "`fallback` goes to a free candidate if the request may move there",
    )
    budget_output_tokens: int = Field(
        default=4096, gt=0, description="the limit of an answer to a caller with a budget whose request sets none"
    )
    rate_limit_requests_per_minute: int | None = Field(default=None, gt=0, description="of each API key")
    rate_limit_tokens_per_minute: int | None = Field(default=None, gt=0, description="of each API key")
    rate_limit_concurrent: int | None = Field(default=None, gt=0, description="requests at once, of each API key")
    on_state_lost: Literal["refuse", "pass"] = Field(
        default="refuse", description="what becomes of callers with a limit while Redis cannot be reached"
    )
    probe_local: bool = Field(default=True, description="look for local providers at their usual addresses")
    unknown_price_input: Decimal = Field(
        default=Decimal("0.05"), ge=0, description="USD per million tokens read by a model whose price is not known"
    )
    unknown_price_output: Decimal = Field(
        default=Decimal("0.08"), ge=0, description="USD per million tokens written by such a model"
    )
    providers: dict[str, ProviderFile] = Field(default={}, description="tables of providers")
    models: dict[str, ModelFile] = Field(default={}, description="tables of models")
    aliases: dict[str, Targets] = Field(
        default={}, description="names of your own for models: one, several in order, or a table with their weights"
    )

    @field_validator("permanent_error_patterns")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for number, pattern in enumerate(patterns, 1):
            try:
                re.compile(pattern)
            except re.error as error:
                message = f"number {number} is not a regular expression: {error}"
                raise ValueError(message) from error
        return patterns


# Canonical variable, then the older names; each sets the file's field of that name.
_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "default_provider": ("GENAI_DEFAULT_PROVIDER", "DEFAULT_PROVIDER"),
    "generate_default_provider": ("GENAI_GENERATE_DEFAULT_PROVIDER", "GENERATE_DEFAULT_PROVIDER"),
    "routing_strategy": ("GENAI_ROUTING_STRATEGY", "ROUTING_STRATEGY"),
    "fallback_chain": ("GENAI_FALLBACK_CHAIN", "FALLBACK_CHAIN"),
    "host": ("GENAI_API_HOST", "API_HOST"),
    "port": ("GENAI_API_PORT", "API_PORT"),
    "workers": ("GENAI_WORKERS",),
    "stop_seconds": ("GENAI_STOP_SECONDS",),
    "url": ("GENAI_API_URL",),
    "cors_origins": ("GENAI_CORS_ORIGINS", "CORS_ORIGINS"),
    "data_dir": ("GENAI_DATA_DIR",),
    "database_url": ("GENAI_DATABASE_URL",),
    "redis_url": ("GENAI_REDIS_URL",),
    "metrics_open": ("GENAI_METRICS_OPEN",),
    "journal_max_bytes": ("GENAI_JOURNAL_MAX_BYTES",),
    "ledger_seconds": ("GENAI_LEDGER_SECONDS",),
    "log_level": ("GENAI_LOG_LEVEL", "LOG_LEVEL"),
    "max_body_bytes": ("GENAI_MAX_BODY_BYTES",),
    "state_max_bytes": ("GENAI_STATE_MAX_BYTES",),
    "fetch_media": ("GENAI_FETCH_MEDIA",),
    "fetch_hosts": ("GENAI_FETCH_HOSTS",),
    "fetch_max_bytes": ("GENAI_FETCH_MAX_BYTES",),
    "fetch_max_files": ("GENAI_FETCH_MAX_FILES",),
    "fetch_timeout": ("GENAI_FETCH_TIMEOUT",),
    "simulator_failures": ("GENAI_SIMULATOR_FAILURES",),
    "simulator_chunk_seconds": ("GENAI_SIMULATOR_CHUNK_SECONDS",),
    "default_cooldown": ("GENAI_DEFAULT_COOLDOWN", "DEFAULT_COOLDOWN"),
    "max_cooldown_seconds": ("GENAI_MAX_COOLDOWN_SECONDS", "MAX_COOLDOWN_SECONDS"),
    "max_failures_before_cooldown": ("GENAI_MAX_FAILURES_BEFORE_COOLDOWN", "MAX_FAILURES_BEFORE_COOLDOWN"),
    "max_key_attempts": ("GENAI_MAX_KEY_ATTEMPTS", "MAX_KEY_ATTEMPTS"),
    "permanent_error_patterns": ("GENAI_PERMANENT_ERROR_PATTERNS",),
    "circuit_failures": ("GENAI_CIRCUIT_FAILURES",),
    "circuit_open_seconds": ("GENAI_CIRCUIT_OPEN_SECONDS",),
    "retry_attempts": ("GENAI_RETRY_ATTEMPTS",),
    "retry_first_wait": ("GENAI_RETRY_FIRST_WAIT",),
    "retry_longest_wait": ("GENAI_RETRY_LONGEST_WAIT",),
    "retry_patience": ("GENAI_RETRY_PATIENCE",),
    "retry_longest_silence": ("GENAI_RETRY_LONGEST_SILENCE",),
    "retry_share": ("GENAI_RETRY_SHARE",),
    "ledger": ("GENAI_LEDGER",),
    "budget_per_request": ("GENAI_BUDGET_PER_REQUEST",),
    "budget_hourly": ("GENAI_BUDGET_HOURLY",),
    "budget_daily": ("GENAI_BUDGET_DAILY",),
    "budget_monthly": ("GENAI_BUDGET_MONTHLY",),
    "budget_action": ("GENAI_BUDGET_ACTION",),
    "budget_output_tokens": ("GENAI_BUDGET_OUTPUT_TOKENS",),
    "rate_limit_requests_per_minute": ("GENAI_RATE_LIMIT_REQUESTS_PER_MINUTE",),
    "rate_limit_tokens_per_minute": ("GENAI_RATE_LIMIT_TOKENS_PER_MINUTE",),
    "rate_limit_concurrent": ("GENAI_RATE_LIMIT_CONCURRENT",),
    "on_state_lost": ("GENAI_ON_STATE_LOST",),
    "probe_local": ("GENAI_PROBE_LOCAL",),
    "unknown_price_input": ("GENAI_UNKNOWN_PRICE_INPUT",),
    "unknown_price_output": ("GENAI_UNKNOWN_PRICE_OUTPUT",),
}
_DATABASE_FILE: Final = "spine.db"
_LISTS: Final = frozenset({"cors_origins", "fetch_hosts", "fallback_chain"})
# A regular expression may hold a comma.
_LINES: Final = frozenset({"permanent_error_patterns"})
_TABLES: Final = frozenset({"simulator_failures"})
_GATEWAY_KEYS: Final = "GENAI_API_KEYS"
_ENCRYPTION_KEYS: Final = "GENAI_ENCRYPTION_KEY"
# AWS's own names, but the first.
_AWS_REGION: Final = ("GENAI_BEDROCK_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
_AWS_KEY: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_AWS_PROFILE: Final = "AWS_PROFILE"
# Each says where AWS's clients get credentials that change with time: a role of a pod, of a container.
_AWS_ROLES: Final = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_CONFIG_FILE: Final = "GENAI_CONFIG"


class Layer(NamedTuple):
    """What the database says, by the names of the file: settings, and the tables of providers and of models."""

    values: Mapping[str, object] = {}
    providers: Mapping[str, Mapping[str, object]] = {}
    models: Mapping[str, Mapping[str, object]] = {}


class ProviderSettings(Frozen):
    """What database, environment and file say of one provider; the first of them wins, field by field.

    Attributes:
        origins: Where each of the fields that is set comes from, by its name in the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    keys: tuple[Secret, ...] = ()
    url: str | None = None
    default_model: str | None = None
    models: tuple[str, ...] = ()
    timeouts: TimeoutSettings = TimeoutSettings()
    file: ProviderFile = ProviderFile()
    origins: Mapping[str, str] = Field(default={})

    @property
    def keys_from(self) -> str | None:
        """Where its keys come from."""
        return self.origins.get("api_keys")

    @property
    def url_from(self) -> str | None:
        """Where its address comes from."""
        return self.origins.get("url")


class AwsSettings(Frozen):
    """What the environment says of AWS.

    Attributes:
        region: Where to ask; None where nothing says it.
        access_key: With ``secret_key``, what requests are signed with.
        session_token: Goes with keys that expire.
        profile: Names credentials that AWS's own files or tools hold.
        credentials_from: The variable that says that there are credentials of any kind; None where none does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    region: str | None = None
    access_key: Secret | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None
    profile: str | None = None
    credentials_from: str | None = None


def _split(text: str) -> tuple[str, ...]:
    return tuple(item for item in (piece.strip() for piece in text.split(",")) if item)


def _parsed(name: str, text: str) -> object:
    if name in _LISTS:
        return _split(text)
    if name in _LINES:
        return tuple(line for line in map(str.strip, text.splitlines()) if line)
    if name in _TABLES:
        return {key.strip(): value.strip() for key, _, value in (item.partition("=") for item in _split(text))}
    return text.strip()


class Settings:
    """The gateway's settings, read once.

    Attributes:
        values: Those of the gateway itself.
        keys: The keys that callers present; empty where none is set.
        encryption_keys: Those that secrets in the database are encrypted with, the first, and decrypted.
        layer: What the database says.
        path: The file that was read, if any.
        origins: Where each of the values that is set comes from, by its name in the file.
        asked: What providers were told, by their names.
        warnings: What was found and means nothing here, a line each.
    """

    def __init__(self, environ: Mapping[str, str], path: Path | None = None, over: Layer | None = None) -> None:
        """Read the settings.

        Args:
            environ: The environment.
            path: The file; by default the one that ``GENAI_CONFIG`` names, else ``spine.toml`` in the working folder.
            over: What the database says.

        Raises:
            ConfigurationError: A value is wrong, a name in the file is unknown, or the file cannot be read.
        """
        self._environ = environ
        self.path, self._file = _read_file(environ, path)
        self.keys = tuple(Secret(key) for key in _split(environ.get(_GATEWAY_KEYS, "")))
        self.encryption_keys = tuple(Secret(key) for key in _split(environ.get(_ENCRYPTION_KEYS, "")))
        self.warnings: tuple[str, ...] = ()
        self._merge(over or Layer())

    def over(self, layer: Layer) -> Self:
        """Return these settings with others of the database; neither environment nor file is read again.

        Raises:
            ConfigurationError: A value is wrong, or a name unknown.
        """
        found = copy.copy(self)
        found._merge(layer)  # noqa: SLF001  # its own kind
        return found

    def _merge(self, over: Layer) -> None:
        """Put environment over file, and the database over both."""
        raw = dict(self._file)
        self.origins: dict[str, str] = dict.fromkeys(raw, str(self.path))
        for name, variables in _VARIABLES.items():
            text, variable = self._first(*variables)
            if text is not None and variable is not None:
                raw[name] = _parsed(name, text)
                self.origins[name] = variable
        raw |= over.values
        self.origins |= dict.fromkeys(over.values, DATABASE)
        for table, said in (("providers", over.providers), ("models", over.models)):
            if said:
                raw[table] = _tables(raw.get(table), said)
        self.layer = over
        self.asked: dict[str, ProviderSettings] = {}
        try:
            self.values = FileSettings.model_validate(raw)
        except ValidationError as error:
            raise ConfigurationError(_explain(error, self.path)) from error

    @property
    def data_dir(self) -> Path:
        """Where the gateway keeps its files; by default the user's data folder."""
        if self.values.data_dir is not None:
            return self.values.data_dir.expanduser()
        base = self._environ.get("XDG_DATA_HOME") or "~/.local/share"
        return Path(base).expanduser() / "genai-spine"

    @property
    def journals(self) -> Path:
        """Where workers keep their journals, each in a folder of its own."""
        return self.data_dir / "journal"

    @property
    def database_url(self) -> Secret:
        """Where records are kept; by default a SQLite file in the data folder."""
        return self.values.database_url or Secret(f"sqlite:///{self.data_dir.absolute() / _DATABASE_FILE}")

    def provider(
        self, name: str, *, key_variables: Iterable[str] = (), url_variables: Iterable[str] = ()
    ) -> ProviderSettings:
        """Return what is set for a provider; the variables given are its own further names.

        Raises:
            ConfigurationError: A number is not one.
        """
        file = self.values.providers.get(name, ProviderFile())
        said = self.layer.providers.get(name, {})
        upper = _upper(name)
        origins = dict.fromkeys(file.model_fields_set, str(self.path)) | dict.fromkeys(said, DATABASE)
        if origins.pop("timeouts", None):
            there = _table(said.get("timeouts"))
            for field in file.timeouts.model_fields_set:
                origins[f"timeouts.{field}"] = DATABASE if field in there else str(self.path)
        if "api_key" in origins:
            origins.setdefault("api_keys", origins.pop("api_key"))

        def first(field: str, *variables: str) -> str | None:
            """What the environment says of a field, unless the database does."""
            text, variable = (None, None) if origins.get(field) == DATABASE else self._first(*variables)
            if variable is not None:
                origins[field] = variable
            return text

        keys = _split(first("api_keys", *_key_variables(upper), *key_variables) or "")
        models = first("models", f"GENAI_{upper}_MODELS", f"{upper}_MODELS")
        found = self.asked[name] = ProviderSettings(
            keys=tuple(Secret(key) for key in keys or file.api_keys or (file.api_key,) if key),
            url=first("url", *_url_variables(upper), *url_variables) or file.url,
            default_model=first("default_model", f"GENAI_{upper}_DEFAULT_MODEL", f"DEFAULT_{upper}_MODEL")
            or file.default_model,
            models=_split(models) if models else file.models,
            timeouts=self._timeouts(upper, file.timeouts, origins),
            file=file,
            origins=origins,
        )
        return found

    def aws(self) -> AwsSettings:
        """Return what is set for AWS. Nothing is looked up at AWS, nor in its files."""
        access, secret = (self._first(variable)[0] for variable in _AWS_KEY)
        token, _ = self._first("AWS_SESSION_TOKEN")
        profile, _ = self._first(_AWS_PROFILE)
        _, role = self._first(_AWS_PROFILE, *_AWS_ROLES)
        whole = access is not None and secret is not None
        return AwsSettings(
            region=self._first(*_AWS_REGION)[0],
            access_key=Secret(access) if access and whole else None,
            secret_key=Secret(secret) if secret and whole else None,
            session_token=Secret(token) if token and whole else None,
            profile=profile,
            credentials_from=_AWS_KEY[0] if whole else role,
        )

    def _first(self, *variables: str) -> tuple[str | None, str | None]:
        for variable in variables:
            # A list of nothing sets nothing.
            if (text := self._environ.get(variable, "").strip()).strip(", "):
                return text, variable
        return None, None

    def _timeouts(self, upper: str, file: TimeoutSettings, origins: dict[str, str]) -> TimeoutSettings:
        found: dict[str, str] = {}
        for field, variable in _timeout_variables(upper).items():
            text, _ = self._first(variable)
            if text is not None and origins.get(f"timeouts.{field}") != DATABASE:
                found[field] = text
                origins[f"timeouts.{field}"] = variable
        if not found:
            return file
        try:
            return TimeoutSettings.model_validate(file.model_dump() | found)
        except ValidationError as error:
            raise ConfigurationError(_explain(error, None, f"GENAI_{upper}_TIMEOUT: ")) from error

    def check_names(self, providers: Iterable[str], further: Iterable[str] = ()) -> tuple[str, ...]:
        """Return a line for each variable that begins with ``GENAI_`` and means nothing, with the likely name meant."""
        known = {variable for variables in _VARIABLES.values() for variable in variables}
        known |= {_GATEWAY_KEYS, _ENCRYPTION_KEYS, _CONFIG_FILE, _AWS_REGION[0], *further}
        for name in providers:
            upper = _upper(name)
            known |= {*_key_variables(upper), *_url_variables(upper), *_timeout_variables(upper).values()}
            known |= {f"GENAI_{upper}_DEFAULT_MODEL", f"GENAI_{upper}_MODELS"}
        lines: list[str] = []
        for variable in sorted(self._environ):
            if variable.startswith(PREFIX) and variable not in known and not variable.startswith(_FOREIGN):
                near = difflib.get_close_matches(variable, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                lines.append(f"{variable} is not a setting{hint}")
        return tuple(lines)


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _tables(file: object, said: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
    """The tables of a file with others over them, field by field; what is no table is left for the reader to refuse."""
    found = dict(_table(file))
    for name, fields in said.items():
        before = _table(found.get(name))
        inner = {field: {**_table(before.get(field)), **_table(fields[field])} for field in {"timeouts"} & {*fields}}
        found[name] = {**before, **fields, **inner}
    return found


def variable_of(name: str) -> str | None:
    """Return the variable that sets one of the values; None where none does."""
    return _VARIABLES.get(name, (None,))[0]


def _upper(name: str) -> str:
    return name.upper().replace("-", "_").replace(".", "_")


def _key_variables(upper: str) -> tuple[str, ...]:
    return (f"GENAI_{upper}_API_KEYS", f"GENAI_{upper}_API_KEY", f"{upper}_API_KEYS", f"{upper}_API_KEY")


def _url_variables(upper: str) -> tuple[str, ...]:
    return (f"GENAI_{upper}_URL", f"{upper}_API_URL", f"{upper}_BASE_URL")


def _timeout_variables(upper: str) -> dict[str, str]:
    return {
        "total": f"GENAI_{upper}_TIMEOUT",
        "connect": f"GENAI_{upper}_TIMEOUT_CONNECT",
        "first_byte": f"GENAI_{upper}_TIMEOUT_FIRST_BYTE",
        "between_chunks": f"GENAI_{upper}_TIMEOUT_BETWEEN_CHUNKS",
    }


def _read_file(environ: Mapping[str, str], path: Path | None) -> tuple[Path | None, dict[str, object]]:
    named = path or (Path(text) if (text := environ.get(_CONFIG_FILE, "").strip()) else None)
    where = named or Path("spine.toml")
    try:
        return where, tomllib.loads(where.read_text(encoding="utf-8"), parse_float=Decimal)
    except FileNotFoundError as error:
        if named is None:
            return None, {}
        message = f"the configuration file {where} does not exist"
        raise ConfigurationError(message) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"the configuration file {where} cannot be read: {error}"
        raise ConfigurationError(message) from error


def _explain(error: ValidationError, path: Path | None, prefix: str = "") -> str:
    """Say what is wrong a line each, with the variable or the place in the file, and never with the value."""
    lines: list[str] = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        place = ".".join(str(step) for step in fault["loc"])
        names = _VARIABLES.get(place)
        where = f"{names[0]} (or {place} in spine.toml)" if names else f"{place} in {path}" if path else place
        if fault["type"] == "extra_forbidden":
            known = _known_names(fault["loc"])
            near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(sorted(known))}"
            lines.append(f"{prefix}{where}: no such setting{hint}")
        else:
            lines.append(f"{prefix}{where}: {fault['msg']}")
    return "\n".join(lines)


def _known_names(place: tuple[int | str, ...]) -> list[str]:
    if len(place) == 1:
        return list(FileSettings.model_fields)
    if place[0] == "models":
        return list(ModelFile.model_fields)
    return list(TimeoutSettings.model_fields if "timeouts" in place else ProviderFile.model_fields)
