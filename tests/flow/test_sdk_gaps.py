"""T2 with the official packages: what is not possible ends as ``cells.py`` says."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.flow.answers import PROVIDERS, Said
from tests.flow.cells import impossible, not_possible
from tests.flow.clients import Ask
from tests.flow.scenes import (
    CAPITAL,
    COUNTRY,
    ONE_CALL,
    PDF,
    STRICT,
    TWO_ANSWERS,
    TWO_CALLS,
    WITH_LOGPROBS,
    options,
)
from tests.flow.wiring import RAISED, Wired, ask_whole, got, status_of, told_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _impossible_ask(client: str, feature: str) -> Ask:
    asks: dict[str, Ask] = {
        "tool_choice_required": Ask(tools=(CAPITAL, COUNTRY), choice="required"),
        "tool_choice_named": Ask(tools=(CAPITAL, COUNTRY), choice="get_capital"),
        "one_call": Ask(tools=(CAPITAL,), one_call=True),
        "strict_tools": Ask(tools=(STRICT,)),
        "seed": Ask(more=options(client, seed=7)),
        "document": Ask(document=PDF),
        "stop_sequence": Ask(stop=("END",)),
        "n": Ask(more=TWO_ANSWERS.get(client, {})),
        "logprobs": Ask(more=WITH_LOGPROBS.get(client, {})),
        "logprobs_stream": Ask(more=WITH_LOGPROBS.get(client, {})),
    }
    return asks[feature]


@not_possible("refused")
async def test_refused(wired: Wired, client_name: str, provider_name: str, feature: str) -> None:
    """What would change the answer's meaning is refused before anything is sent, by the name of the field."""
    provider = PROVIDERS[provider_name]
    client = wired.clients[client_name]
    asking = client.stream if feature.endswith("_stream") else client.complete
    with pytest.raises(RAISED) as caught:
        await asking(f"{provider.asked_as}/{provider.model}", _impossible_ask(client_name, feature))
    # Only OpenAI's own statuses know a 422.
    expected = 400 if client_name in {"anthropic", "gemini", "ollama"} else 422
    assert expected == status_of(caught.value)
    field = impossible(client_name, provider_name, feature).field
    assert f"{field}: {provider.asked_as} cannot do this" in str(caught.value)
    assert [] == wired.upstream.received


@not_possible("warned")
async def test_warned(wired: Wired, client_name: str, provider_name: str, feature: str) -> None:
    """What can be left out, or said another way, is; the answer's headers say so."""
    provider = PROVIDERS[provider_name]
    ask = _impossible_ask(client_name, feature)
    said = replace(ONE_CALL, calls=TWO_CALLS.calls[:1]) if ask.tools else Said(text="Paris.")
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(said))
    assert told_of(client_name, said, provider) == got(told)
    warnings = wired.clients[client_name].seen["x-spine-warnings"]
    assert f"{impossible(client_name, provider_name, feature).field}: " in warnings
    seen = wired.asked(provider)
    assert (False, None) == (seen.one_call, seen.seed)
    assert seen.choice in {None, "auto"}
    assert not any(tool.strict for tool in seen.tools)
    if feature == "tool_choice_named":
        assert (CAPITAL,) == seen.tools
        assert "get_capital" in seen.system
    elif feature == "tool_choice_required":
        assert (CAPITAL, COUNTRY) == seen.tools
        assert "at least one" in seen.system
