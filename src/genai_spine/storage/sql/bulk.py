"""Many rows in few statements: the driver is handed values and text as they are.

The text is SQLAlchemy's, made of the tables. What else it does for each row and value costs several times what the
database does, and a statement for each row as much again: whoever shares the interpreter is waited for at each. And
most values of a row are those of many others too: they are handed over once for all of these.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache, reduce
from itertools import starmap
from operator import iadd, itemgetter
from time import sleep
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    ClauseElement,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    MetaData,
    Select,
    Table,
    bindparam,
    column,
    func,
    literal_column,
    select,
    values,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import TypeEngine

from genai_spine.storage.sql.fitting import IDS, MICROSECONDS, Kind, Row, fitted, microseconds
from genai_spine.storage.sql.tables import UtcDateTime

__all__ = ["Moment", "NewRows", "Pieces", "text_of", "texts_of_moments"]

Moment: TypeAlias = Callable[[int], Any]
"""Gives a moment, in microseconds since the Unix epoch, the form in which a driver takes it."""

# So many rows go into one statement. SQLite takes 32,766 values, and prepares each text once for as long as it lives.
_PIECES: Final = (128, 16, 4)
_DIALECTS: Final = {"sqlite": sqlite.dialect(), "postgresql": asyncpg_dialect()}  # type: ignore[no-untyped-call]  # SQLAlchemy's own
# SQLite's driver counts the rows of what begins with INSERT.
_DIALECTS["sqlite"].cte_follows_insert = True
# Seconds for which a thread makes way for the event loop between statements: at each of them it could have the
# interpreter, but wakes too late to get it.
_PAUSE: Final = 0.0001
# What SQLite counts rows by.
_NUMBER: Final = literal_column("rowid", Integer)
# What formatting takes three times as long for.
_DIGITS: Final = tuple(f"{number:03}" for number in range(1000))
# Where a row finds what it shares with others.
_PLACE: Final = "place"
# The tables in which SQLite keeps that while rows are inserted.
_TOLD: Final = MetaData()


@lru_cache(maxsize=256)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat(" ") + "."


def texts_of_moments() -> Moment:
    """For SQLite, which keeps moments as texts. One often has its second in common with the one before."""
    begins, second = 0, _second(0)

    def text(since: int) -> str:
        nonlocal begins, second
        rest = since - begins
        if not 0 <= rest < MICROSECONDS:
            since = microseconds(since)
            rest = since % MICROSECONDS
            begins, second = since - rest, _second(since // MICROSECONDS)
        return f"{second}{_DIGITS[rest // 1000]}{_DIGITS[rest % 1000]}"

    return text


def text_of(statement: ClauseElement, dialect: str, columns: Sequence[str] | None = None) -> str:
    """Return the text of a statement, for ``exec_driver_sql`` and values in the order of the columns."""
    named: dict[str, Any] = {} if columns is None else {"column_keys": list(columns)}
    return str(statement.compile(dialect=_DIALECTS[dialect], **named))


@contextmanager
def _cursor(connection: Connection) -> Iterator[sqlite3.Cursor]:
    """The driver's own cursor: at each statement SQLAlchemy takes as long as SQLite does for two or three rows.

    Raises:
        DBAPIError: What the driver raised.
    """
    cursor: Any = connection.connection.cursor()
    try:
        yield cursor
    except sqlite3.Error as error:
        raise DBAPIError.instance(None, None, error, sqlite3.Error, dialect=connection.dialect) from error
    finally:
        cursor.close()


class Pieces:
    """A statement of SQLite's that takes rows, many at a time."""

    def __init__(self, text: str, width: int) -> None:
        """Prepare it: its text takes one row of so many values."""
        self._text = text
        self._one = f"({', '.join('?' * width)})"
        self._texts: dict[int, str] = {}

    def write(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Hand it rows, and return how many of them it wrote."""
        start = count = 0
        with _cursor(connection) as cursor:
            for size in _PIECES:
                while start + size <= len(rows):
                    told = reduce(iadd, rows[start : start + size], list[Any]())
                    count += cursor.execute(self._of(size), told).rowcount
                    start += size
                    sleep(_PAUSE)
            if start < len(rows):
                count += cursor.executemany(self._text, rows[start:]).rowcount
        return count

    def _of(self, size: int) -> str:
        if (found := self._texts.get(size)) is None:
            found = self._texts[size] = self._text.replace(self._one, ", ".join([self._one] * size))
        return found


class NewRows:
    """Inserts rows of a table that are not there yet.

    A row is a number and its own values. The number is the place of the values that it shares with others.

    Attributes:
        own: The number, and the columns of which each row has a value for itself.
        shared: The columns of values that rows share with others.
    """

    def __init__(
        self,
        table: Table,
        *,
        key: str,
        own: Mapping[str, Kind],
        shared: Mapping[str, Kind],
        made: Mapping[str, Callable[[Any], ColumnElement[Any]]],
    ) -> None:
        """Prepare it.

        Args:
            table: Where they belong.
            key: The column that is unlike in all rows; one of their own.
            own: The columns of which each row has a value for itself, with the kind of what they are made of.
            shared: Those of which it shares a value with others, likewise.
            made: What the database makes of a row's own values, by column.
        """
        self.own = (_PLACE, *own)
        self._kinds = [IDS, *own.values()]
        self.shared = tuple(shared)
        self._shared_kinds = list(shared.values())
        self._table = table
        self._key = table.c[key]
        self._made = made
        self._key_of: Callable[[Row], str] = itemgetter(self.own.index(key))
        columns = (Column(name, table.c[name].type) for name in shared)
        place = Column(_PLACE, Integer, primary_key=True)
        self._told = Table(f"{table.name}_shared", _TOLD, place, *columns, prefixes=["TEMPORARY"])
        self._names = [each.name for each in table.columns if each is not table.autoincrement_column]

    def fitted(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return rows with each of their own values in a form that the database takes."""
        return fitted(self._kinds, rows)

    def fitted_shared(self, shared: Sequence[Row]) -> Sequence[Row]:
        """Return what rows have in common in such a form."""
        return fitted(self._shared_kinds, shared)

    def insert(self, connection: Connection, shared: Sequence[Row], rows: Sequence[Row]) -> Collection[str]:
        """Insert what is not there, and return its keys; no key may be among the rows twice.

        Args:
            connection: In a transaction.
            shared: What rows have in common.
            rows: The place of that, and what each has for itself.
        """
        if not rows:
            return ()
        if connection.dialect.name == "sqlite":
            return self._into_sqlite(connection, shared, rows)
        return self._into_postgresql(connection, shared, rows)

    def _into_sqlite(self, connection: Connection, shared: Sequence[Row], rows: Sequence[Row]) -> Collection[str]:
        with _cursor(connection) as cursor:
            for text in _create_texts():
                cursor.execute(text)
            cursor.executemany(self._share_text, [(place, *each) for place, each in enumerate(shared)])
            last = cursor.execute(self._last_text).fetchone()[0] or 0
        if self._insert.write(connection, rows) == len(rows):
            return list(map(self._key_of, rows))
        # There is one writer at a time, and each new row has a higher number than all before.
        return connection.execute(select(self._key).where(last < _NUMBER)).scalars().all()

    def _into_postgresql(self, connection: Connection, shared: Sequence[Row], rows: Sequence[Row]) -> Collection[str]:
        # In one order, as everybody does it: two who write the same wait for each other, and never crosswise.
        ordered = sorted(rows, key=self._key_of)
        size, found = _PIECES[0], list[str]()
        for start in range(0, len(ordered), size):
            piece = ordered[start : start + size]
            told = [(place, *shared[place]) for place in {row[0] for row in piece}]
            arrays = (*zip(*piece, strict=True), *zip(*told, strict=True))
            found += connection.exec_driver_sql(self._arrays_text, arrays).scalars()
        return found

    @cached_property
    def _share_text(self) -> str:
        # In the place of what stands there of another time.
        return text_of(sqlite.insert(self._told).prefix_with("OR REPLACE"), "sqlite", (_PLACE, *self.shared))

    @cached_property
    def _last_text(self) -> str:
        """What asks for the number of the last row."""
        return text_of(select(func.max(_NUMBER)).select_from(self._table), "sqlite")

    @cached_property
    def _insert(self) -> Pieces:
        columns = [column(name, type_) for name, type_ in zip(self.own, self._types, strict=True)]
        own = values(*columns).data([(0,) * len(columns)]).cte("own")
        new = sqlite.insert(self._table).from_select(self._names, self._rows(own, self._told))
        return Pieces(text_of(new.on_conflict_do_nothing(index_elements=[self._key]), "sqlite"), len(columns))

    @cached_property
    def _arrays_text(self) -> str:
        """What takes the values of any number of rows, and what they share, by column."""
        own = _arrays("own", self.own, self._types)
        shared = _arrays("told", (_PLACE, *self.shared), (IDS.type, *(kind.type for kind in self._shared_kinds)))
        rows = self._rows(own, shared, moment=_of_number).order_by(own.c[self._key.name])
        new = postgresql.insert(self._table).from_select(self._names, rows)
        return text_of(new.on_conflict_do_nothing(index_elements=[self._key]).returning(self._key), "postgresql")

    @property
    def _types(self) -> Sequence[TypeEngine[Any]]:
        return [kind.type for kind in self._kinds]

    def _rows(
        self, own: FromClause, shared: FromClause, moment: Callable[[Any], Any] = lambda given: given
    ) -> Select[Any]:
        """The rows, each put together of its own values and those that it shares."""
        found: dict[str, Any] = {**shared.c, **own.c}
        for each in self._table.columns:
            if each.name in self._made:
                found[each.name] = self._made[each.name](own.c)
            elif isinstance(each.type, UtcDateTime):
                found[each.name] = moment(found[each.name])
        # Joined so that SQLite takes one row after the other, and gathers none.
        both = own.outerjoin(shared, shared.c[_PLACE] == own.c[_PLACE])
        return select(*(found[name] for name in self._names)).select_from(both)


@cache
def _create_texts() -> list[str]:
    """What creates all tables of what rows share: after each, what was prepared before must be prepared again."""
    return [text_of(CreateTable(each, if_not_exists=True), "sqlite") for each in _TOLD.sorted_tables]


def _arrays(name: str, columns: Sequence[str], types: Sequence[TypeEngine[Any]]) -> FromClause:
    """Rows given by column."""
    arrays = (bindparam(None, type_=postgresql.ARRAY(each)) for each in types)
    return func.unnest(*arrays).table_valued(*starmap(column, zip(columns, types, strict=True))).render_derived(name)


def _of_number(given: ColumnElement[Any]) -> ColumnElement[Any]:
    """Make a moment of what PostgreSQL is told: numbers are what its driver is quickest at."""
    return literal_column("TIMESTAMPTZ 'epoch'") + given * literal_column("INTERVAL '1 microsecond'")
