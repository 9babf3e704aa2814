"""Where a request may go at all: what it names, the same model elsewhere, and what somebody allowed."""

from __future__ import annotations

import pytest

from genai_spine.errors import ModelNotFoundError, SpineError, UnknownProviderError
from genai_spine.routing.options import Traits
from genai_spine.routing.shortlist import Alias, Shortlist, Target, shortlist
from genai_spine.types.routing import Fallback
from tests.routing import World, place

OPENAI = place("openai", "gpt-4o", default="gpt-4o-mini")
AZURE = place("azure", "my-gpt-4o", default="my-gpt-4o")
ANTHROPIC = place("anthropic", "claude-opus", default="claude-haiku")
OLLAMA = place("ollama", default="llama3.2:latest", open_models=True, local=True)
OFF = place("off", "gpt-4o-off", default="off-model", usable=False)
SAME = [["openai/gpt-4o", "azure/my-gpt-4o", "off/gpt-4o-off"]]
FAST = Alias("fast", (Target("gpt-4o"), Target("anthropic/claude-haiku")))
SPREAD = Alias("spread", (Target("gpt-4o", 3.0), Target("claude-opus", 1.0)))


def world(*chain: str, **more: object) -> World:
    """All of them, with a chain."""
    return World(
        OPENAI,
        AZURE,
        ANTHROPIC,
        OLLAMA,
        OFF,
        chain=chain,
        same=SAME,
        aliases=(FAST, SPREAD),
        **more,  # type: ignore[arg-type]  # passed on as they are
    )


def places(made: Shortlist) -> list[list[str]]:
    """The tiers, each place as ``provider/model``."""
    return [[option.name for option in tier.options] for tier in made.tiers]


def made(
    model: str | None, *chain: str, provider: str | None = None, fallback: Fallback = None, chosen: bool = False
) -> list[list[str]]:
    """The tiers for a request."""
    return places(shortlist(model, provider, fallback, world(*chain), chosen=chosen))


SAME_MODEL = ["openai/gpt-4o", "azure/my-gpt-4o"]
CHAIN = ["ollama/llama3.2:latest", "anthropic/claude-haiku"]
EVERYBODY = ["ollama/llama3.2:latest", "openai/gpt-4o-mini", "azure/my-gpt-4o", "anthropic/claude-haiku"]


def test_a_model() -> None:
    """The places of the same model follow each other without asking; another model nobody allowed."""
    assert [SAME_MODEL] == made("gpt-4o")


def test_a_chain() -> None:
    """Behind the same model come the members of the operator's chain with their default models, in its order."""
    assert [SAME_MODEL, CHAIN] == made("gpt-4o", "ollama", "anthropic")
    assert [SAME_MODEL] == made("gpt-4o", "ollama", "anthropic", fallback=False)


def test_a_place_is_final() -> None:
    """A provider that is named, in its field or before the model, is the only one, whatever the chain."""
    assert [["openai/gpt-4o"]] == made("gpt-4o", "ollama", provider="openai")
    assert [["openai/gpt-4o"]] == made("openai/gpt-4o", "ollama")
    assert [["off/off-model"]] == made(None, "ollama", provider="off")


def test_a_place_and_leave_to_move_on() -> None:
    """With leave the same model elsewhere comes next, then the chain, or everybody where there is none."""
    same = [["openai/gpt-4o"], ["azure/my-gpt-4o"]]
    assert [*same, CHAIN] == made("gpt-4o", "ollama", "anthropic", provider="openai", fallback=True)
    elsewhere = [one for one in EVERYBODY if one != "azure/my-gpt-4o"]
    assert [*same, elsewhere] == made("openai/gpt-4o", fallback=True)


def test_a_list_of_the_request() -> None:
    """Its members follow in its order, be they models, aliases or providers; the chain has no say."""
    fallback = ("claude-opus", "ollama", "fast")
    assert [SAME_MODEL, ["anthropic/claude-opus"], ["ollama/llama3.2:latest"], ["anthropic/claude-haiku"]] == made(
        "gpt-4o", "azure", fallback=fallback
    )
    assert [["openai/gpt-4o"], ["azure/my-gpt-4o"], ["anthropic/claude-haiku"]] == made(
        "gpt-4o", provider="openai", fallback=("anthropic",)
    )


def test_a_list_with_an_unknown_name() -> None:
    """It is refused, and the field is named."""
    bare = World(OPENAI)
    with pytest.raises(ModelNotFoundError) as caught:
        shortlist("gpt-4o", None, ("no-such",), bare)
    assert caught.value.param == "fallback"


def test_nothing_named() -> None:
    """Every configured provider with its default model, those of the chain first, in one tier."""
    assert [EVERYBODY] == made(None)
    assert [["anthropic/claude-haiku", "ollama/llama3.2:latest", *EVERYBODY[1:3]]] == made("auto", "anthropic")
    assert [EVERYBODY, ["anthropic/claude-opus"]] == made("auto", fallback=("claude-opus",))


def test_an_alias_in_order() -> None:
    """One target after another, each with the same model elsewhere; a strategy that the request names orders all."""
    assert [SAME_MODEL, ["anthropic/claude-haiku"]] == made("fast")
    assert [[*SAME_MODEL, "anthropic/claude-haiku"]] == made("fast", chosen=True)
    assert [SAME_MODEL, ["anthropic/claude-haiku"], ["ollama/llama3.2:latest"]] == made("fast", "ollama")
    assert [SAME_MODEL, ["anthropic/claude-haiku"]] == made("fast", "ollama", fallback=False)


def test_an_alias_by_weight() -> None:
    """All targets in one tier that their weights order; the places of one target share its weight."""
    found = shortlist("spread", None, None, world())
    assert [[*SAME_MODEL, "anthropic/claude-opus"]] == places(found)
    assert ["weight"] == [tier.by for tier in found.tiers]
    weights = {option.name: option.traits.weight for option in found.tiers[0].options}
    # The third place of the model is not configured, and takes no share.
    assert {"openai/gpt-4o": 1.5, "azure/my-gpt-4o": 1.5, "anthropic/claude-opus": 1} == weights
    assert ["strategy"] == [tier.by for tier in shortlist("spread", None, None, world(), chosen=True).tiers]


def test_an_alias_is_no_model_of_a_provider() -> None:
    """Where the request names the provider, the model is taken as it stands."""
    assert [["openai/fast"]] == made("fast", provider="openai")


def test_an_alias_with_a_target_that_nobody_serves() -> None:
    """It is left out, and told; with none left the error is the target's."""
    alias = Alias("mixed", (Target("no-such"), Target("gpt-4o")))
    lost = Alias("lost", (Target("no-such"),))
    bare = World(OPENAI, aliases=(alias, lost))
    found = shortlist("mixed", None, None, bare)
    assert [["openai/gpt-4o"]] == places(found)
    assert [("no-such", "unusable")] == [(one.model, one.kind) for one in found.dropped]
    assert [["openai/gpt-4o-mini"], ["openai/gpt-4o"]] == places(shortlist(None, "openai", ("mixed",), bare))
    with pytest.raises(ModelNotFoundError):
        shortlist("lost", None, None, bare)


def test_a_name_of_the_catalogues() -> None:
    """A model's common name finds its places with their own ids, before any guess by how the name begins."""
    groq, together = place("groq", default="x"), place("together", default="y")
    names = {"llama-3.3-70b": ["groq/llama-3.3-70b-versatile", "together/meta/Llama-3.3-70B", "off/llama"]}
    directory = World(groq, together, OFF, names=names)
    found = shortlist("llama-3.3-70b", None, None, directory)
    assert [["groq/llama-3.3-70b-versatile", "together/meta/Llama-3.3-70B"]] == places(found)
    assert [["groq/llama-9"]] == places(shortlist("llama-9", None, None, directory))
    nameless = {"house-model": ["together/meta/Llama"]}
    assert [["together/meta/Llama"]] == places(shortlist("house-model", None, None, World(together, names=nameless)))
    with pytest.raises(ModelNotFoundError):
        shortlist("no-such", None, None, World(together, names=nameless))


def test_who_is_not_configured_is_left_out() -> None:
    """With a reason; only where nobody else is left does he stand for the answer that he is not configured."""
    found = shortlist("gpt-4o", None, None, world("off", "nobody"))
    assert [("off", "gpt-4o-off"), ("nobody", ""), ("off", "off-model")] == [
        (one.provider, one.model) for one in sorted(found.dropped, key=lambda one: one.model == "off-model")
    ]
    assert {"it is not configured", "no such provider"} == {one.why for one in found.dropped}
    alone = shortlist("gpt-4o-off", None, None, World(OFF))
    assert ([["off/gpt-4o-off"]], ()) == (places(alone), alone.dropped)


def test_a_member_of_the_chain_without_a_default() -> None:
    """It cannot serve a request for another model, and that is told."""
    found = shortlist("gpt-4o", None, None, World(OPENAI, place("vllm"), chain=["vllm"]))
    assert ([["openai/gpt-4o"]], ["it has no default model"]) == (places(found), [one.why for one in found.dropped])


def test_what_is_told_of_each() -> None:
    """Each option carries its traits, its place in the chain, whether it is local, whose model it is, and a reason."""
    directory = world("ollama", "anthropic", traits={"openai/gpt-4o": Traits(rank=7)})
    options = [option for tier in shortlist("gpt-4o", None, None, directory).tiers for option in tier.options]
    assert [7, None, None, None] == [option.traits.rank for option in options]
    assert [2, 2, 0, 1] == [option.link for option in options]
    assert [False, False, True, False] == [option.local for option in options]
    assert [True, True, False, False] == [option.same_model for option in options]
    reasons = [option.candidate.reason for option in options]
    chain = "the fallback chain; its default model"
    assert ["the provider lists the model", "the same model as 'gpt-4o'", chain, chain] == reasons


@pytest.mark.parametrize(("model", "provider"), [("x", "nobody"), ("anthropic/claude-opus", "azure")])
def test_what_the_rules_refuse(model: str, provider: str) -> None:
    """An unknown provider, or one that contradicts the model, is refused as ever."""
    with pytest.raises(SpineError) as caught:
        shortlist(model, provider, True, world())  # a fallback's value, as a request gives it
    assert caught.value.status == 400
    assert isinstance(caught.value, UnknownProviderError) == (provider == "nobody")


def test_nobody_at_all() -> None:
    """With nothing configured a request that names nothing goes to the last resort."""
    assert [["simulator/echo"]] == places(shortlist(None, None, None, World(OFF)))
