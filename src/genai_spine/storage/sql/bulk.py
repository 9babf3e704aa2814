"""Many rows in few statements: the driver is handed values and text as they are.

The text is SQLAlchemy's, made of the tables. What else it does for each row and value costs several times what the
database does, and a statement for each row as much again: whoever shares the interpreter is waited for at each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from time import sleep
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    Column,
    ColumnElement,
    Connection,
    Integer,
    Numeric,
    Table,
    bindparam,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect

from genai_spine.money import PICODOLLARS
from genai_spine.storage.sql.fitting import MICROSECONDS
from genai_spine.storage.sql.tables import UtcDateTime

__all__ = ["POSTGRESQL", "SQLITE", "Forms", "NewRows", "Row", "text_of"]

Row: TypeAlias = tuple[Any, ...]

# So many rows go into one statement. SQLite takes 32,766 values, and prepares each text once for as long as it lives.
_PIECES: Final = (128, 16)
_DIALECTS: Final = {"sqlite": sqlite.dialect(), "postgresql": asyncpg_dialect()}  # type: ignore[no-untyped-call]  # SQLAlchemy's own
# Seconds for which a thread makes way for the event loop between statements: at each of them it could have the
# interpreter, but wakes too late to get it.
_PAUSE: Final = 0.0001
# What SQLite counts rows by.
_NUMBER: Final = literal_column("rowid", Integer)


class Forms(NamedTuple):
    """How a driver takes what it has no type of its own for.

    Attributes:
        moment: Given in microseconds since the Unix epoch.
        usd: An amount in US dollars, given in picodollars.
    """

    moment: Callable[[int], Any]
    usd: Callable[[int], Any]


@lru_cache(maxsize=16)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat(" ")


def _moment_as_text(microseconds: int) -> str:
    return f"{_second(microseconds // MICROSECONDS)}.{microseconds % MICROSECONDS:06}"


SQLITE: Final = Forms(_moment_as_text, lambda amount: amount / PICODOLLARS)
# Numbers are what the driver is quickest at; the statement makes of them what they are.
POSTGRESQL: Final = Forms(lambda microseconds: microseconds, lambda amount: amount)


def text_of(statement: ClauseElement, connection: Connection, columns: Sequence[str] | None = None) -> str:
    """Return the text of a statement, for ``exec_driver_sql`` and values in the order of the columns."""
    names = None if columns is None else list(columns)
    return str(statement.compile(dialect=_DIALECTS[connection.dialect.name], column_keys=names))


class NewRows:
    """Inserts rows of a table that are not there yet.

    A row is a value for each column of the table, in its order, but for a number that the database gives.
    """

    def __init__(self, table: Table, key: str) -> None:
        """Prepare it for a table, of which ``key`` names a column that is unlike in all rows."""
        self._table = table
        self._key = table.c[key]
        self._columns = [each for each in table.columns if each is not table.autoincrement_column]
        self._names = [each.name for each in self._columns]
        self._key_of = self.picker(key)
        self._texts: dict[tuple[str, int], str] = {}

    def picker(self, *names: str) -> Callable[[Row], Any]:
        """Return what picks the value of a column out of a row, or the values of several."""
        return itemgetter(*map(self._names.index, names))

    def insert(self, connection: Connection, rows: Sequence[Row]) -> Collection[str]:
        """Insert what is not there, and return its keys; no key may be among the rows twice."""
        if not rows:
            return ()
        if connection.dialect.name == "sqlite":
            return self._into_sqlite(connection, rows)
        return self._into_postgresql(connection, rows)

    def _into_sqlite(self, connection: Connection, rows: Sequence[Row]) -> Collection[str]:
        last = connection.exec_driver_sql(self._last_text(connection)).scalar() or 0
        start = count = 0
        for size in _PIECES:
            while start + size <= len(rows):
                values = tuple(chain.from_iterable(rows[start : start + size]))
                count += connection.exec_driver_sql(self._values_text(connection, size), values).rowcount
                start += size
                sleep(_PAUSE)
        if start < len(rows):
            count += connection.exec_driver_sql(self._values_text(connection, 1), list(rows[start:])).rowcount
        if count == len(rows):
            return [self._key_of(row) for row in rows]
        # There is one writer at a time, and each new row has a higher number than all before.
        return connection.execute(select(self._key).where(last < _NUMBER)).scalars().all()

    def _into_postgresql(self, connection: Connection, rows: Sequence[Row]) -> Collection[str]:
        # In one order, as everybody does it: two who write the same wait for each other, and never crosswise.
        ordered = sorted(rows, key=self._key_of)
        size, text, found = _PIECES[0], self._arrays_text(connection), list[str]()
        for start in range(0, len(ordered), size):
            arrays = tuple(zip(*ordered[start : start + size], strict=True))
            found += connection.exec_driver_sql(text, arrays).scalars()
        return found

    def _last_text(self, connection: Connection) -> str:
        """Return the text that asks for the number of the last row."""
        if (found := self._texts.get(("last", 0))) is None:
            found = text_of(select(func.max(_NUMBER)).select_from(self._table), connection)
            self._texts["last", 0] = found
        return found

    def _values_text(self, connection: Connection, size: int) -> str:
        """Return the text that takes the values of so many rows after each other."""
        if (found := self._texts.get(("values", size))) is None:
            one = f"({', '.join('?' * len(self._names))})"
            insert = sqlite.insert(self._table).on_conflict_do_nothing(index_elements=[self._key])
            text = text_of(insert, connection, self._names)
            found = self._texts["values", size] = text.replace(one, ", ".join([one] * size))
        return found

    def _arrays_text(self, connection: Connection) -> str:
        """Return the text that takes the values of any number of rows by column."""
        if (found := self._texts.get(("arrays", 0))) is None:
            types = [BigInteger() if _is_number(each) else each.type for each in self._columns]
            arrays = (bindparam(None, type_=postgresql.ARRAY(type_)) for type_ in types)
            rows = func.unnest(*arrays).table_valued(*map(column, self._names)).render_derived()
            values = (_of_number(each, rows.c[each.name]) for each in self._columns)
            insert = postgresql.insert(self._table).from_select(self._names, select(*values))
            new = insert.on_conflict_do_nothing(index_elements=[self._key]).returning(self._key)
            found = self._texts["arrays", 0] = text_of(new, connection)
        return found


def _is_number(each: Column[Any]) -> bool:
    """Whether PostgreSQL is told a column's values as whole numbers: see ``POSTGRESQL``."""
    return isinstance(each.type, Numeric | UtcDateTime)


def _of_number(each: Column[Any], value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Make of a value what the column holds."""
    if not _is_number(each):
        return value
    if isinstance(each.type, Numeric):
        return value * literal_column("1e-12")
    return literal_column("TIMESTAMPTZ 'epoch'") + value * literal_column("INTERVAL '1 microsecond'")
