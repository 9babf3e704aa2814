"""A conversation with tools that was begun through one provider goes on through another, and comes back.

The service behind each provider is strict: the readers stand for its rules, and a request that breaks one fails there
as it would with a 400. The models think; what becomes of the seals on their thoughts, ``test_seals.py`` shows closer.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any, Final

import pytest
from msgspec.structs import replace

from tests.flow.answers import PROVIDERS, Call, Said
from tests.flow.cells import NOT_POSSIBLE
from tests.flow.clients import CLIENTS, Ask, Round
from tests.flow.scenes import CAPITAL, COUNTRY
from tests.flow.wire import Seen
from tests.flow.wiring import Wired, ask_stream, ask_whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

IDS: Final = {
    # As models that OpenAI-compatible services serve write them; other services refuse the dots and colons.
    "openai": "functions.get_capital:{}",
    "responses": "call_{}xZ5rVqk1J3oTtK0nq7u8Yw2",
    "anthropic": "toolu_01{}VhvA2LL5YhWuNSh3wS8QpJ",
    "google": "",
    "bedrock": "tooluse_{}-Kyz7k0TRGm2l-Xq9w5Rg",
    "ollama": "",
}
"""The ids of calls as each provider makes them, empty where it makes none."""

TALKING: Final = tuple(client for client in CLIENTS if (client, "openai", "tools") not in NOT_POSSIBLE)


def calls_in(provider: str, *countries: str) -> Said:
    """Thoughts, words, and a call for each country."""
    calls = tuple(
        Call(IDS[provider].format(number), "get_capital", {"country": country})
        for number, country in enumerate(countries)
    )
    return Said(text="Let me look.", thinking="Hm, where?", calls=calls, finish="tool_calls")


def told_in(seen: Seen) -> list[tuple[str, Any, Any]]:
    """What a conversation says, whatever ids it says it with: who, what, and with which calls or results."""
    return [
        (turn.role, turn.text, [(call.name, call.arguments) for call in turn.calls])
        if turn.role != "tool"
        else (turn.role, "", [result.text for result in turn.results])
        for turn in seen.turns
    ]


def called(*countries: str) -> tuple[str, str, list[tuple[str, dict[str, str]]]]:
    """The model's turn."""
    return ("assistant", "Let me look.", [("get_capital", {"country": country}) for country in countries])


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("one", "other"), list(permutations(PROVIDERS, 2)))
@pytest.mark.parametrize("client", TALKING)
async def test_a_conversation_moves_on_and_comes_back(
    wired: Wired, client: str, one: str, other: str, *, streamed: bool
) -> None:
    """Calls made by one provider, answered before another, which calls too, and answered before the first again."""
    first, second = PROVIDERS[one], PROVIDERS[other]
    asking = ask_stream if streamed else ask_whole
    ask = Ask(prompt="Where does it rain?", tools=(CAPITAL, COUNTRY))

    said = calls_in(one, "France", "Peru")
    told = await asking(wired, client, first, ask, (first.stream if streamed else first.whole)(said))
    ask = replace(ask, rounds=(Round(told, ("Paris", "Lima")),))

    said = calls_in(other, "Oman")
    told = await asking(wired, client, second, ask, (second.stream if streamed else second.whole)(said))
    begun = [("user", ask.prompt, []), called("France", "Peru"), ("tool", "", ["Paris", "Lima"])]
    assert begun == told_in(wired.asked(second))

    ask = replace(ask, rounds=(*ask.rounds, Round(told, ("Muscat",))))
    last = Said(text="In Lima, never.")
    told = await asking(wired, client, first, ask, (first.stream if streamed else first.whole)(last))
    assert [*begun, called("Oman"), ("tool", "", ["Muscat"])] == told_in(wired.asked(first))
    assert "In Lima, never." == told.text
