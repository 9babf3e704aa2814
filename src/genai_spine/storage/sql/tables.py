"""The tables, as they are now; ``migrations/`` holds how they came to be.

Money is kept as whole numbers, for SQLite would make floats of decimals: ``..._picodollars`` is exact, the columns
named ``cost...`` beside it are for people who read the tables. Usage has no foreign keys: it stays when users, keys and
chats go.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
    true,
)
from typing_extensions import override

__all__ = [
    "ENDED_ILL",
    "EVERYBODY",
    "HEAD",
    "METADATA",
    "UtcDateTime",
    "api_keys",
    "audit",
    "budgets",
    "chats",
    "messages",
    "provider_configs",
    "provider_models",
    "provider_usage",
    "requests",
    "settings",
    "system_prompts",
    "usage_histograms",
    "usage_rollups",
    "users",
    "versions",
]

HEAD: Final = "0001"
"""The revision that makes them so."""

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, in UTC whatever the database thinks of time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite counts rows by itself only where the key is an INTEGER.
Id: Final = BigInteger().with_variant(Integer(), "sqlite")


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _moment(name: str, *, null: bool = False, index: bool = False) -> Column[datetime]:
    return Column(name, UtcDateTime(), nullable=null, index=index)


def _counter(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _flag(name: str, *, default: bool) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=true() if default else false())


def _index_where(condition: str, name: str, *columns: str) -> Index:
    """An index of some rows: each index costs every row that it holds some of the time to write it."""
    where = text(condition)
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


def _limits() -> tuple[Column[Any], ...]:
    return (
        Column("requests_per_minute", Integer),
        Column("tokens_per_minute", BigInteger),
        Column("max_concurrent", Integer),
    )


users: Final = Table(
    "users",
    METADATA,
    _id(),
    Column("name", String(100), nullable=False, unique=True),
    Column("email", String(255)),
    Column("role", String(20), nullable=False, server_default="member"),
    _flag("is_active", default=True),
    *_limits(),
    _moment("created_at", null=True),
    _moment("updated_at", null=True),
    # What was used stays when a user goes; SQLite would give his id, and so that, to the next.
    sqlite_autoincrement=True,
)
"""Those who ask. Older databases have further columns of their own, which stay."""

api_keys: Final = Table(
    "api_keys",
    METADATA,
    _id(),
    Column("name", String(100), nullable=False),
    # Shown in lists, and by which a presented key is found.
    Column("prefix", String(24), nullable=False, unique=True),
    Column("salt", LargeBinary(16), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("scopes", JSON, nullable=False),
    # None is every provider, every model.
    Column("providers", JSON),
    Column("models", JSON),
    Column("tags", JSON, nullable=False),
    *_limits(),
    _moment("expires_at", null=True),
    _moment("revoked_at", null=True),
    _moment("last_used_at", null=True),
    Column("replaced_by", Id),
    _moment("created_at"),
    # As for users.
    sqlite_autoincrement=True,
)

budgets: Final = Table(
    "budgets",
    METADATA,
    _id(),
    Column("scope", String(10), nullable=False),
    # The id of the user or key; 0 for everybody.
    Column("subject_id", Id, nullable=False, server_default="0"),
    Column("window", String(10), nullable=False),
    Column("limit_nanodollars", BigInteger, nullable=False),
    Column("action", String(10), nullable=False, server_default="block"),
    _moment("created_at"),
    _moment("updated_at"),
    UniqueConstraint("scope", "subject_id", "window"),
)

provider_configs: Final = Table(
    "provider_configs",
    METADATA,
    _id(),
    Column("provider_name", String(50), nullable=False, unique=True),
    _flag("is_enabled", default=True),
    Column("api_endpoint", String(255)),
    Column("default_model", String(100)),
    Column("max_tokens", Integer),
    Column("temperature_default", Float, server_default="0.7"),
    Column("config_json", JSON),
    # Encrypted; nobody's without the key of the environment.
    Column("secrets", LargeBinary),
    _counter("version"),
    _moment("created_at"),
    _moment("updated_at"),
)

provider_models: Final = Table(
    "provider_models",
    METADATA,
    _id(),
    Column("provider_id", Id, ForeignKey("provider_configs.id", ondelete="CASCADE"), nullable=False),
    Column("model_name", String(100), nullable=False),
    Column("display_name", String(100)),
    _flag("is_enabled", default=True),
    Column("max_context_length", Integer),
    Column("capabilities", JSON),
    # Of older databases, and read by nothing else; the prices are in `facts`.
    Column("cost_per_1k_tokens", Numeric(20, 12, asdecimal=False)),
    Column("facts", JSON),
    _counter("version"),
    _moment("created_at"),
    UniqueConstraint("provider_id", "model_name"),
)

settings: Final = Table(
    "settings",
    METADATA,
    Column("name", String(100), primary_key=True),
    Column("value", JSON, nullable=False),
    _counter("version"),
    _moment("updated_at"),
)
"""What may change while the gateway runs. A ``version`` here is that of the configuration when the row was changed."""

versions: Final = Table(
    "versions",
    METADATA,
    Column("topic", String(50), primary_key=True),
    _counter("version"),
)
"""Grow with each change of what workers remember, so that they notice it by one look."""

system_prompts: Final = Table(
    "system_prompts",
    METADATA,
    _id(),
    Column("user_id", Id, index=True),
    Column("name", String(255), nullable=False, server_default=""),
    Column("content", Text, nullable=False, server_default=""),
    _flag("is_active", default=False),
    _moment("created_at", null=True),
    _moment("updated_at", null=True),
)

chats: Final = Table(
    "chats",
    METADATA,
    _id(),
    Column("user_id", Id, index=True),
    Column("title", String(255)),
    Column("provider_name", String(50), nullable=False, server_default="ollama"),
    Column("model_name", String(100)),
    _moment("created_at", null=True),
    _moment("updated_at", null=True),
)

messages: Final = Table(
    "messages",
    METADATA,
    _id(),
    Column("chat_id", Id, ForeignKey("chats.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("role", String(20), nullable=False, server_default="user"),
    Column("content", Text, nullable=False, server_default=""),
    Column("provider_name", String(50)),
    Column("model_name", String(100)),
    _moment("created_at", null=True),
)


def _asked_by() -> tuple[Column[Any], ...]:
    return (
        Column("user_id", Id),
        Column("api_key_id", Id),
        Column("key_fingerprint", String(16), nullable=False, server_default=""),
        Column("tags", JSON),
    )


def _used() -> tuple[Column[Any], ...]:
    return (
        _counter("input_tokens"),
        _counter("output_tokens"),
        _counter("cache_read_tokens"),
        _counter("cache_write_tokens"),
        _counter("reasoning_tokens"),
        _counter("cost_picodollars"),
    )


provider_usage: Final = Table(
    "provider_usage",
    METADATA,
    _id(),
    # Of the call: what is shipped twice is kept once.
    Column("call_id", String(64), unique=True),
    Column("request", String(160), index=True),
    Column("request_id", String(128)),
    Column("number", Integer, nullable=False, server_default="1"),
    *_asked_by(),
    Column("provider_name", String(50), nullable=False),
    Column("model_name", String(255), nullable=False),
    Column("provider_key", String(16), nullable=False, server_default=""),
    Column("chat_id", Id),
    Column("message_id", Id),
    _counter("tokens_used"),
    *_used(),
    # What that is made of; NULL where nobody tells. Reasoning is output.
    *(Column(f"{kind}_cost_picodollars", BigInteger) for kind in ("input", "output", "cache_read", "cache_write")),
    Column("cost", Numeric(24, 12, asdecimal=False), nullable=False, server_default="0"),
    _flag("price_known", default=True),
    _flag("cost_estimated", default=False),
    _flag("over_held", default=False),
    Column("response_time_ms", Integer),
    Column("first_token_ms", Integer),
    Column("status", String(20), nullable=False, server_default="success"),
    Column("error", String(100), nullable=False, server_default=""),
    Column("reason", String(255), nullable=False, server_default=""),
    Column("strategy", String(50), nullable=False, server_default=""),
    _flag("retry", default=False),
    _flag("fallback", default=False),
    _flag("stream", default=False),
    Column("door", String(50), nullable=False, server_default=""),
    # When the call began; and when this row was written, which may be much later.
    _moment("created_at"),
    _moment("recorded_at", null=True, index=True),
    _index_where("user_id IS NOT NULL", "ix_provider_usage_user_id_created_at", "user_id", "created_at"),
    Index("ix_provider_usage_created_at", "created_at"),
    _index_where("request_id <> request", "ix_provider_usage_request_id", "request_id"),
)
"""One row for each call to a provider."""

ENDED_ILL: Final = "status <> 'success'"
"""Of which requests there is an index by status: a query that says so too is answered by it."""

requests: Final = Table(
    "requests",
    METADATA,
    Column("id", String(160), primary_key=True),
    Column("request_id", String(128), nullable=False),
    *_asked_by(),
    Column("door", String(50), nullable=False),
    Column("asked_model", String(255), nullable=False, server_default=""),
    Column("provider_name", String(50), nullable=False, server_default=""),
    Column("model_name", String(255), nullable=False, server_default=""),
    Column("status", String(20), nullable=False),
    Column("http_status", Integer, nullable=False),
    Column("error", String(100), nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _flag("fallback", default=False),
    Column("strategy", String(50), nullable=False, server_default=""),
    _flag("affinity", default=False),
    _flag("stream", default=False),
    _flag("passthrough", default=False),
    *_used(),
    _flag("price_known", default=True),
    _flag("cost_estimated", default=False),
    Column("response_time_ms", Integer),
    Column("first_token_ms", Integer),
    _moment("created_at", index=True),
    _index_where("user_id IS NOT NULL", "ix_requests_user_id_created_at", "user_id", "created_at"),
    # Most callers have no id of their own for a request.
    _index_where("request_id <> id", "ix_requests_request_id", "request_id"),
    Index("ix_requests_key_fingerprint_created_at", "key_fingerprint", "created_at"),
    # Those of a user's keys are found among the user's.
    _index_where(
        "user_id IS NULL AND api_key_id IS NOT NULL", "ix_requests_api_key_id_created_at", "api_key_id", "created_at"
    ),
    # Who asks for what ended well finds it among the newest; of what did not there is little.
    _index_where(ENDED_ILL, "ix_requests_status_created_at", "status", "created_at"),
)
"""One row for each request, those that were refused included."""


EVERYBODY: Final = -1
"""The user and key of a row that adds up all users and keys."""


def _dimensions() -> tuple[Column[Any], ...]:
    """By what usage is added up; 0 and the empty text stand for none, for a key cannot hold NULL.

    Each call is counted in rows of an hour and of a day, of its user and key and of everybody, of the whole and of each
    of its tags: whoever asks reads only the rows that are just fine enough.
    """
    return (
        # Hours that the row adds up: 1, or 24 from midnight on.
        Column("span", SmallInteger, primary_key=True, autoincrement=False),
        # Empty for all calls, tagged or not.
        Column("tag", String(100), primary_key=True),
        Column("user_id", Id, primary_key=True, autoincrement=False),
        # The first of them, since the Unix epoch.
        Column("hour", Integer, primary_key=True, autoincrement=False),
        Column("api_key_id", Id, primary_key=True, autoincrement=False),
        Column("key_fingerprint", String(16), primary_key=True),
        Column("provider_name", String(50), primary_key=True),
        Column("model_name", String(255), primary_key=True),
        Column("status", String(20), primary_key=True),
    )


usage_rollups: Final = Table(
    "usage_rollups",
    METADATA,
    *_dimensions(),
    _counter("calls"),
    *_used(),
    _counter("estimated"),
    _counter("price_unknown"),
    Index("ix_usage_rollups_api_key_id_hour", "api_key_id", "hour"),
    # For all users of a time; the key is for one user.
    Index("ix_usage_rollups_span_hour_tag", "span", "hour", "tag"),
    sqlite_with_rowid=False,
)
"""Calls added up."""

usage_histograms: Final = Table(
    "usage_histograms",
    METADATA,
    *_dimensions(),
    # `total` or `first_token`.
    Column("measure", String(20), primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    _counter("calls"),
    Index("ix_usage_histograms_api_key_id_hour", "api_key_id", "hour"),
    sqlite_with_rowid=False,
)
"""How long they took: counts by logarithmic bucket.

These rows would be the most of all, so calls are told apart by less here: those of users and keys by the day alone;
everybody's by the hour and the day, whose names are empty then, and by the day also by provider, model and status.
"""

audit: Final = Table(
    "audit",
    METADATA,
    # Without gaps, and part of what is hashed.
    Column("sequence", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    # Of the event: what is shipped twice is kept once.
    Column("event_id", String(64), nullable=False, unique=True),
    _moment("at", index=True),
    Column("event", String(50), nullable=False, index=True),
    Column("user_id", Id),
    Column("api_key_id", Id),
    Column("key_fingerprint", String(16), nullable=False, server_default=""),
    Column("request_id", String(128), nullable=False, server_default=""),
    Column("model", String(320), nullable=False, server_default=""),
    Column("cost_picodollars", BigInteger),
    Column("input_t", BigInteger),
    Column("output_t", BigInteger),
    Column("reason", Text, nullable=False, server_default=""),
    # As it was hashed.
    Column("details", Text, nullable=False, server_default="{}"),
    Column("previous", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)
"""A chain: each row's hash covers it and the hash before."""
