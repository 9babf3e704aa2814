"""All tables of the first version.

An older chat database is taken over: tables of the same names stay, with all that is in them, and get the columns that
they lack; its chats were Ollama's. What was there before is noted, so that going back leaves just that.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT: Final = sa.DateTime(timezone=True)
NOTES: Final = "taken_over"
"""The columns that a table had before: one row each."""
NOTES_TABLE: Final = sa.table(NOTES, sa.column("table_name"), sa.column("column_name"))

TABLES: Final = (
    "audit",
    "budgets",
    "chats",
    "provider_configs",
    "provider_usage",
    "requests",
    "settings",
    "system_prompts",
    "usage_histograms",
    "usage_rollups",
    "users",
    "versions",
    "api_keys",
    "messages",
    "provider_models",
)
"""In the order in which they are made."""


def upgrade() -> None:
    """Make the tables, or what is missing of them."""
    op.create_table(NOTES, sa.Column("table_name", sa.String(100)), sa.Column("column_name", sa.String(100)))
    _make_tables()
    _fill_what_was_taken_over()
    _watch_the_configuration()


def downgrade() -> None:
    """Remove all that this revision made, and nothing else."""
    connection = op.get_bind()
    _stop_watching(connection)
    before: dict[str, set[str]] = {}
    for table, column in connection.execute(sa.select(NOTES_TABLE.c.table_name, NOTES_TABLE.c.column_name)):
        before.setdefault(table, set()).add(column)
    there = sa.inspect(connection).get_table_names()
    for name in [table for table in reversed(TABLES) if table in there]:
        if name not in before:
            op.drop_table(name)
            continue
        for index in sa.inspect(connection).get_indexes(name):
            if str(index["name"]).startswith("ix_") and not before[name].issuperset(index["column_names"]):
                op.drop_index(str(index["name"]), name)
        for column in sa.inspect(connection).get_columns(name):
            if column["name"] not in before[name]:
                op.drop_column(name, column["name"])
    op.drop_table(NOTES)


def _table(name: str, *items: SchemaItem, **options: bool) -> None:
    """Make a table; or, where one of its name is there, the columns that it lacks."""
    inspector = sa.inspect(op.get_bind())
    if name not in inspector.get_table_names():
        op.create_table(name, *items, **options)
        return
    has = {column["name"] for column in inspector.get_columns(name)}
    op.bulk_insert(NOTES_TABLE, [{"table_name": name, "column_name": column} for column in sorted(has)])
    for item in items:
        if isinstance(item, sa.Column) and item.name not in has:
            # Rows are there already, which cannot have what has no default.
            item.nullable = item.nullable or item.server_default is None
            op.add_column(name, item)


def _once(table: str, column: str) -> None:
    """Have a column tell rows apart in a table that was there before too: no older row has anything in it."""
    inspector = sa.inspect(op.get_bind())
    if [column] not in [unique["column_names"] for unique in inspector.get_unique_constraints(table)]:
        op.create_index(f"ix_{table}_{column}_once", table, [column], unique=True)


def _index(name: str, table: str, columns: list[str], where: str | None = None) -> None:
    inspector = sa.inspect(op.get_bind())
    if name not in {index["name"] for index in inspector.get_indexes(table)}:
        condition = None if where is None else sa.text(where)
        op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def _fill_what_was_taken_over() -> None:
    """Give users of an older database names, by which they are known here."""
    connection = op.get_bind()
    columns = {column["name"] for column in sa.inspect(connection).get_columns("users")}
    users = sa.table("users", *(sa.column(name) for name in columns))
    nameless = sa.update(users).where(users.c.name.is_(None))
    for older in [name for name in ("username", "email") if name in columns]:
        op.execute(nameless.values(name=users.c[older]))
    op.execute(nameless.values(name=sa.literal("user-").concat(sa.cast(users.c.id, sa.String))))


WATCHED: Final = ("provider_configs", "provider_models", "settings")
CHANGES: Final = ("INSERT", "UPDATE", "DELETE")
BUMP: Final = (
    "INSERT INTO versions (topic, version) VALUES ('configuration', 1) "
    "ON CONFLICT (topic) DO UPDATE SET version = versions.version + 1;"
)


def _watch_the_configuration() -> None:
    """Have workers notice what somebody changes of the configuration by hand."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION spine_configuration_changed() RETURNS trigger LANGUAGE plpgsql "
            f"AS $$ BEGIN {BUMP} RETURN NULL; END $$"
        )
        for table in WATCHED:
            op.execute(
                f"CREATE TRIGGER {table}_changed AFTER {' OR '.join(CHANGES)} ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION spine_configuration_changed()"
            )
        return
    for table in WATCHED:
        for change in CHANGES:
            op.execute(f"CREATE TRIGGER {table}_{change.lower()} AFTER {change} ON {table} BEGIN {BUMP} END")


def _stop_watching(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        op.execute("DROP FUNCTION IF EXISTS spine_configuration_changed() CASCADE")
        return
    for table in WATCHED:
        for change in CHANGES:
            op.execute(f"DROP TRIGGER IF EXISTS {table}_{change.lower()}")


def _make_tables() -> None:
    _table(
        "audit",
        sa.Column("sequence", ID, autoincrement=False, nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("event", sa.String(length=50), nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("api_key_id", ID, nullable=True),
        sa.Column("key_fingerprint", sa.String(length=16), server_default="", nullable=False),
        sa.Column("request_id", sa.String(length=128), server_default="", nullable=False),
        sa.Column("model", sa.String(length=320), server_default="", nullable=False),
        sa.Column("cost_picodollars", sa.BigInteger(), nullable=True),
        sa.Column("input_t", sa.BigInteger(), nullable=True),
        sa.Column("output_t", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("details", sa.Text(), server_default="{}", nullable=False),
        sa.Column("previous", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit"),
        sa.UniqueConstraint("event_id", name="uq_audit_event_id"),
    )
    _index("ix_audit_at", "audit", ["at"])
    _index("ix_audit_event", "audit", ["event"])
    _table(
        "budgets",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("subject_id", ID, server_default="0", nullable=False),
        sa.Column("window", sa.String(length=10), nullable=False),
        sa.Column("limit_nanodollars", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=10), server_default="block", nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
        sa.UniqueConstraint("scope", "subject_id", "window", name="uq_budgets_scope_subject_id_window"),
    )
    _table(
        "chats",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("title", sa.String(length=255), nullable=True),
        sa.Column("provider_name", sa.String(length=50), server_default="ollama", nullable=False),
        sa.Column("model_name", sa.String(length=100), nullable=True),
        sa.Column("created_at", MOMENT, nullable=True),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_chats"),
    )
    _index("ix_chats_user_id", "chats", ["user_id"])
    _table(
        "provider_configs",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("provider_name", sa.String(length=50), nullable=False),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("api_endpoint", sa.String(length=255), nullable=True),
        sa.Column("default_model", sa.String(length=100), nullable=True),
        sa.Column("max_tokens", sa.Integer(), nullable=True),
        sa.Column("temperature_default", sa.Float(), server_default="0.7", nullable=True),
        sa.Column("config_json", sa.JSON(), nullable=True),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_provider_configs"),
        sa.UniqueConstraint("provider_name", name="uq_provider_configs_provider_name"),
    )
    _table(
        "provider_usage",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("call_id", sa.String(length=64), nullable=True),
        sa.Column("request", sa.String(length=160), nullable=True),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.Column("number", sa.Integer(), server_default="1", nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("api_key_id", ID, nullable=True),
        sa.Column("key_fingerprint", sa.String(length=16), server_default="", nullable=False),
        sa.Column("tags", sa.JSON(), nullable=True),
        sa.Column("provider_name", sa.String(length=50), nullable=False),
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("provider_key", sa.String(length=16), server_default="", nullable=False),
        sa.Column("chat_id", ID, nullable=True),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("tokens_used", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_picodollars", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("input_cost_picodollars", sa.BigInteger(), nullable=True),
        sa.Column("output_cost_picodollars", sa.BigInteger(), nullable=True),
        sa.Column("cache_read_cost_picodollars", sa.BigInteger(), nullable=True),
        sa.Column("cache_write_cost_picodollars", sa.BigInteger(), nullable=True),
        sa.Column("cost", sa.Numeric(precision=24, scale=12, asdecimal=False), server_default="0", nullable=False),
        sa.Column("price_known", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("cost_estimated", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("over_held", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("response_time_ms", sa.Integer(), nullable=True),
        sa.Column("first_token_ms", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=20), server_default="success", nullable=False),
        sa.Column("error", sa.String(length=100), server_default="", nullable=False),
        sa.Column("reason", sa.String(length=255), server_default="", nullable=False),
        sa.Column("strategy", sa.String(length=50), server_default="", nullable=False),
        sa.Column("retry", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("fallback", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("stream", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("door", sa.String(length=50), server_default="", nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_provider_usage"),
        sa.UniqueConstraint("call_id", name="uq_provider_usage_call_id"),
    )
    _once("provider_usage", "call_id")
    _index("ix_provider_usage_created_at", "provider_usage", ["created_at"])
    _index("ix_provider_usage_recorded_at", "provider_usage", ["recorded_at"])
    _index("ix_provider_usage_request", "provider_usage", ["request"])
    _index("ix_provider_usage_request_id", "provider_usage", ["request_id"], "request_id <> request")
    _index("ix_provider_usage_user_id_created_at", "provider_usage", ["user_id", "created_at"], "user_id IS NOT NULL")
    _table(
        "requests",
        sa.Column("id", sa.String(length=160), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("api_key_id", ID, nullable=True),
        sa.Column("key_fingerprint", sa.String(length=16), server_default="", nullable=False),
        sa.Column("tags", sa.JSON(), nullable=True),
        sa.Column("door", sa.String(length=50), nullable=False),
        sa.Column("asked_model", sa.String(length=255), server_default="", nullable=False),
        sa.Column("provider_name", sa.String(length=50), server_default="", nullable=False),
        sa.Column("model_name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(length=100), server_default="", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fallback", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("strategy", sa.String(length=50), server_default="", nullable=False),
        sa.Column("affinity", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("stream", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("passthrough", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_picodollars", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("price_known", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("cost_estimated", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("response_time_ms", sa.Integer(), nullable=True),
        sa.Column("first_token_ms", sa.Integer(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    _index(
        "ix_requests_api_key_id_created_at",
        "requests",
        ["api_key_id", "created_at"],
        "user_id IS NULL AND api_key_id IS NOT NULL",
    )
    _index("ix_requests_created_at", "requests", ["created_at"])
    _index("ix_requests_key_fingerprint_created_at", "requests", ["key_fingerprint", "created_at"])
    _index("ix_requests_request_id", "requests", ["request_id"], "request_id <> id")
    _index("ix_requests_status_created_at", "requests", ["status", "created_at"], "status <> 'success'")
    _index("ix_requests_user_id_created_at", "requests", ["user_id", "created_at"], "user_id IS NOT NULL")
    _table(
        "settings",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
    )
    _table(
        "system_prompts",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("content", sa.Text(), server_default="", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=True),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_system_prompts"),
    )
    _index("ix_system_prompts_user_id", "system_prompts", ["user_id"])
    _table(
        "usage_histograms",
        sa.Column("span", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("tag", sa.String(length=100), nullable=False),
        sa.Column("user_id", ID, autoincrement=False, nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("api_key_id", ID, autoincrement=False, nullable=False),
        sa.Column("key_fingerprint", sa.String(length=16), nullable=False),
        sa.Column("provider_name", sa.String(length=50), nullable=False),
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("measure", sa.String(length=20), nullable=False),
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint(
            "span",
            "tag",
            "user_id",
            "hour",
            "api_key_id",
            "key_fingerprint",
            "provider_name",
            "model_name",
            "status",
            "measure",
            "bucket",
            name="pk_usage_histograms",
        ),
        sqlite_with_rowid=False,
    )
    _index("ix_usage_histograms_api_key_id_hour", "usage_histograms", ["api_key_id", "hour"])
    _table(
        "usage_rollups",
        sa.Column("span", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("tag", sa.String(length=100), nullable=False),
        sa.Column("user_id", ID, autoincrement=False, nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("api_key_id", ID, autoincrement=False, nullable=False),
        sa.Column("key_fingerprint", sa.String(length=16), nullable=False),
        sa.Column("provider_name", sa.String(length=50), nullable=False),
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_picodollars", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("estimated", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("price_unknown", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint(
            "span",
            "tag",
            "user_id",
            "hour",
            "api_key_id",
            "key_fingerprint",
            "provider_name",
            "model_name",
            "status",
            name="pk_usage_rollups",
        ),
        sqlite_with_rowid=False,
    )
    _index("ix_usage_rollups_api_key_id_hour", "usage_rollups", ["api_key_id", "hour"])
    _index("ix_usage_rollups_span_hour_tag", "usage_rollups", ["span", "hour", "tag"])
    _table(
        "users",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=True),
        sa.Column("role", sa.String(length=20), server_default="member", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_minute", sa.BigInteger(), nullable=True),
        sa.Column("max_concurrent", sa.Integer(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=True),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
        sqlite_autoincrement=True,
    )
    _table(
        "versions",
        sa.Column("topic", sa.String(length=50), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("topic", name="pk_versions"),
    )
    _table(
        "api_keys",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("prefix", sa.String(length=24), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_id", ID, nullable=True),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("providers", sa.JSON(), nullable=True),
        sa.Column("models", sa.JSON(), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_minute", sa.BigInteger(), nullable=True),
        sa.Column("max_concurrent", sa.Integer(), nullable=True),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.Column("last_used_at", MOMENT, nullable=True),
        sa.Column("replaced_by", ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_keys_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("prefix", name="uq_api_keys_prefix"),
        sqlite_autoincrement=True,
    )
    _index("ix_api_keys_user_id", "api_keys", ["user_id"])
    _table(
        "messages",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("chat_id", ID, nullable=False),
        sa.Column("role", sa.String(length=20), server_default="user", nullable=False),
        sa.Column("content", sa.Text(), server_default="", nullable=False),
        sa.Column("provider_name", sa.String(length=50), nullable=True),
        sa.Column("model_name", sa.String(length=100), nullable=True),
        sa.Column("created_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name="fk_messages_chat_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
    )
    _index("ix_messages_chat_id", "messages", ["chat_id"])
    _table(
        "provider_models",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("provider_id", ID, nullable=False),
        sa.Column("model_name", sa.String(length=100), nullable=False),
        sa.Column("display_name", sa.String(length=100), nullable=True),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("max_context_length", sa.Integer(), nullable=True),
        sa.Column("capabilities", sa.JSON(), nullable=True),
        sa.Column("cost_per_1k_tokens", sa.Numeric(precision=20, scale=12, asdecimal=False), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["provider_configs.id"], name="fk_provider_models_provider_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_provider_models"),
        sa.UniqueConstraint("provider_id", "model_name", name="uq_provider_models_provider_id_model_name"),
    )
