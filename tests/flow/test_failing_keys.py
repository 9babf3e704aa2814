"""A provider with several keys, some of which fail, seen from the front door."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from genai_spine.redact import Secret
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.upstream import Received, Scripted
from tests.flow.fleets import Fleet, answer_of, failure, fleet, told

ONE, TWO = "sk-canary-one-0001", "sk-canary-two-0002"
KEYS: Final = {"OPENAI_API_KEYS": f"{ONE},{TWO}"}
PRINTS: Final = {key: Secret(key).fingerprint for key in (ONE, TWO)}


async def health(running: Fleet) -> dict[str, tuple[str, float | None, str | None]]:
    """How each key does: its status, the seconds until it is used again, its last fault."""
    answer = await running.call("GET", "/providers/openai/health?probe=false")
    return {key["fingerprint"]: (key["status"], key["usable_in"], key["last_fault"]) for key in answer.json()["keys"]}


async def test_a_refused_key_is_out_until_it_is_reset() -> None:
    """The other is used at once and from then on; by hand the first comes back."""
    async with fleet("openai", environ=KEYS) as running:
        running.script("openai", failure(401, "invalid_api_key"))
        assert (200, "openai", "2", "false") == told(await running.ask())
        assert (200, "openai", "1", "false") == told(await running.ask())
        assert [ONE, TWO, TWO] == running.keys
        assert ("refused", None, "refused") == (await health(running))[PRINTS[ONE]]
        assert [(ONE, "error"), (TWO, "success"), (TWO, "success")] == [
            (next(key for key, mark in PRINTS.items() if mark == one.key), one.outcome)
            for one in running.gateway.recorder.attempts
        ]
        await running.call("POST", "/v1/admin/providers/openai/reset")
        assert (200, "openai", "1", "false") == told(await running.ask())
        assert ONE == running.keys[-1]


async def test_a_limited_key_rests_for_as_long_as_it_is_told() -> None:
    """The other serves meanwhile; after that time the first is used again."""
    clock = ManualClock()
    async with fleet("openai", clock=clock, environ=KEYS) as running:
        running.script("openai", failure(429, "rate_limit_exceeded", {"retry-after": "7"}))
        assert (200, "openai", "2", "false") == told(await running.ask())
        assert ("cooling", 7, "limited") == (await health(running))[PRINTS[ONE]]
        clock.advance(6)
        await running.ask()
        assert [ONE, TWO, TWO] == running.keys
        clock.advance(1)
        await running.ask()
        assert [ONE, TWO, TWO, ONE] == running.keys


async def test_all_keys_refused() -> None:
    """The provider's own refusal is told; later requests send nothing, and are told that no key is left."""
    async with fleet("openai", environ=KEYS) as running:
        running.script("openai", *[failure(401, "invalid_api_key")] * 2)
        answer = await running.ask()
        assert (502, "openai") == told(answer)[:2]
        assert b"canary" not in answer.body
        answer = await running.ask()
        assert (503, "no_usable_key") == (answer.status, answer.json()["error"]["code"])
        assert [ONE, TWO] == running.keys


@pytest.mark.parametrize("status", [400, 422])
async def test_a_wrong_request_costs_no_key(status: int) -> None:
    """It is told at once; both keys are as healthy as before."""
    async with fleet("openai", environ=KEYS) as running:
        running.script("openai", failure(status, "invalid_value"))
        assert status == (await running.ask()).status
        assert [ONE] == running.keys
        assert {("healthy", 0.0, None)} == set((await health(running)).values())


async def test_the_list_counts_before_the_single_key() -> None:
    """Blanks around its members, and empty members, are nothing."""
    environ = {"OPENAI_API_KEYS": f" {ONE} , ,{TWO} ", "OPENAI_API_KEY": "sk-single-0003"}
    async with fleet("openai", environ=environ) as running:
        for _ in range(4):
            await running.ask()
        assert [ONE, TWO, ONE, TWO] == running.keys


async def test_under_many_calls_at_once_the_right_key_is_blamed() -> None:
    """One of two is refused whatever is asked with it: every caller is served, and only that key is out."""

    def by_key(request: Received) -> Scripted:
        return failure(401, "invalid_api_key") if ONE in request.headers["authorization"] else answer_of("openai")

    async with fleet("openai", environ=KEYS) as running:
        running.services["openai"]._answer = by_key
        answers = await asyncio.gather(*[running.ask() for _ in range(40)])
        assert {200} == {answer.status for answer in answers}
        found = await health(running)
        assert ("refused", "healthy") == (found[PRINTS[ONE]][0], found[PRINTS[TWO]][0])
        attempts = running.gateway.recorder.attempts
        assert {("success", PRINTS[TWO]), ("error", PRINTS[ONE])} == {(one.outcome, one.key) for one in attempts}
        assert len(attempts) == len(running.keys)
