"""What the tests of the database share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from genai_spine.storage.sql.engine import Database
from tests.databases import KINDS, fresh_database


@pytest.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A database with all tables."""
    async with fresh_database(request.param) as found:
        yield found
