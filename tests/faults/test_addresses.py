"""Addresses of the database and of Redis as somebody mistypes them: the message says what to do, and no password."""

from __future__ import annotations

import asyncio
import io
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from genai_spine.assembly import Spine
from genai_spine.errors import ConfigurationError, SpineError
from genai_spine.settings import Settings
from genai_spine.telemetry.logging import LineWriter
from tests.postgres import PostgresServer, postgres
from tests.processes import environ_for, refused
from tests.redis_server import RedisServer

Log = tuple[io.StringIO, LineWriter]

PASSWORD: Final = "s3canary"


async def start(**environ: str) -> Spine:
    """An engine that has started, with just this environment."""
    spine = Spine(Settings({"GENAI_PROBE_LOCAL": "false", **environ}))
    return await spine.__aenter__()


async def failing(**environ: str) -> str:
    """What is told where it does not start, which shows no password."""
    with pytest.raises(SpineError) as caught:
        await start(**environ)
    assert isinstance(caught.value, ConfigurationError)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    return caught.value.message


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("mysql://me:s3canary@host/db", "it must be a URL that begins with sqlite:// or postgresql://"),
        ("sqlite:data.db", "it must be a URL that begins with sqlite:// or postgresql://"),
        ("postgresql://me:s3canary@host:port/db", "write postgresql://user:password@host:5432/name"),
        ("postgresql://me:s3canary@[::1/db", "write postgresql://user:password@host:5432/name"),
        ("postgresql://me:some@s3canary@127.0.0.1:1/db", "and : / ? # @ of a password as %3A"),
        ("postgresql://me:s3canary@127.0.0.1:1/db?sslmode=banana", "sslmode is one of disable, allow, prefer"),
        ("postgresql://me:s3canary@127.0.0.1:1/db?connect=5", "says connect= after its ?, which is not known"),
        ("sqlite:///data.db?fast=1", "says fast= after its ?, which is not known"),
    ],
)
async def test_no_address_of_a_database(address: str, told: str) -> None:
    """What is wrong with it is told, and what to write instead."""
    message = await failing(GENAI_DATABASE_URL=address)
    assert told in message
    assert "GENAI_DATABASE_URL" in message


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://:s3canary@127.0.0.1", "it must be a URL that begins with redis:// or rediss:// or unix://"),
        ("redis://:s3canary@127.0.0.1:port", "write redis://host:6379/0"),
        ("redis://:s3canary#more@127.0.0.1:1", "and : / ? # @ of a password as %3A"),
        ("redis://:s3canary@127.0.0.1:1/0?fast=1", "write redis://host:6379/0"),
        ("redis://127.0.0.1:1/s3canary", "behind the host stands the number of a database"),
        ("rediss://127.0.0.1:1/0/1", "behind the host stands the number of a database"),
    ],
)
async def test_no_address_of_redis(address: str, told: str) -> None:
    """What is wrong with it is told, and what to write instead."""
    message = await failing(GENAI_REDIS_URL=address)
    assert told in message
    assert "GENAI_REDIS_URL" in message


SCHEMES: Final = {"GENAI_DATABASE_URL": "postgresql", "GENAI_REDIS_URL": "redis"}


async def reaching_nobody(name: str, place: str, folder: Path, log: Log) -> None:
    """Nobody is at an address: the gateway starts, for he may yet come, and the log says what cannot be reached."""
    address = f"{SCHEMES[name]}://me:{PASSWORD}@{place}/0"
    spine = await start(**{"GENAI_DATA_DIR": str(folder), name: address})
    assert "Hello!" == (await spine.complete("Hello!")).content
    await spine.close()
    stream, writer = log
    writer.close()
    told = stream.getvalue()
    assert "cannot be reached" in told
    assert name in told
    assert PASSWORD not in told


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("place", ["nowhere.invalid:1", "127.0.0.1:1"])
async def test_nobody_is_there(name: str, place: str, log: Log, tmp_path: Path) -> None:
    """It may yet come: the gateway starts, and says what it cannot reach, why, and which setting names it."""
    await reaching_nobody(name, place, tmp_path, log)


@pytest.fixture
async def guarded() -> AsyncIterator[PostgresServer]:
    """A PostgreSQL that asks one user for his password."""
    server = postgres()
    file = server.folder / "pg_hba.conf"
    before = file.read_text()
    connection = await asyncpg.connect(server.address())
    await connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    file.write_text(f"local all guarded scram-sha-256\n{before}")
    await connection.execute("SELECT pg_reload_conf()")
    yield server
    file.write_text(before)
    await connection.execute("DROP ROLE guarded")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


async def test_postgresql_does_not_let_in(guarded: PostgresServer) -> None:
    """A wrong password, a user and a database that are not there: the gateway does not start, and says which it is."""
    address = guarded.address().replace("postgres:@", "{}@", 1)
    for user, told in (
        (f"guarded:{PASSWORD}", 'password authentication failed for user "guarded"'),
        (f"nobody:{PASSWORD}", 'role "nobody" does not exist'),
    ):
        message = await failing(GENAI_DATABASE_URL=address.format(user))
        assert told in message
        assert "see GENAI_DATABASE_URL" in message
    assert 'database "nothing" does not exist' in await failing(GENAI_DATABASE_URL=guarded.address("nothing"))


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server that asks for a password."""
    with RedisServer() as server:
        server.command("CONFIG", "SET", "requirepass", "right")
        yield server


async def test_redis_does_not_let_in(redis: RedisServer) -> None:
    """Without a password, and with a wrong one, the gateway does not start, and says so; with the right one it does."""
    for query in ("", f"?password={PASSWORD}"):
        message = await failing(GENAI_REDIS_URL=redis.url + query)
        assert "Redis is there, but does not let the gateway in" in message
        assert "GENAI_REDIS_URL" in message
    await (await start(GENAI_REDIS_URL=redis.url + "?password=right")).close()


@pytest.mark.parametrize("name", SCHEMES)
async def test_something_else_is_there(name: str, log: Log, tmp_path: Path) -> None:
    """A server that speaks neither is as good as none, and is told so."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        await reaching_nobody(name, f"127.0.0.1:{server.sockets[0].getsockname()[1]}", tmp_path, log)


def test_it_is_told_in_a_line_to_who_serves(tmp_path: Path) -> None:
    """``spine serve`` tells what its engine says at its start, too, in plain words and with a status of 2."""
    (tmp_path / "data").write_text("no folder")
    told = refused(environ_for(tmp_path / "data"), tmp_path, "--port", "0", "--no-auth")
    assert f"spine: no journal can be kept in {tmp_path}/data/journal" in told
