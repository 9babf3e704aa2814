"""By which names workers tell each other of keys and circuits."""

from __future__ import annotations

import pytest

from genai_spine.gateway.titles import Title, is_tellable, place_of
from tests.providers import OwnProvider


def at(address: str, *, name: str = "mine", local: bool = False) -> OwnProvider:
    """A provider at an address."""
    made = OwnProvider(name)
    made.address, made.local = address, local
    return made


def test_a_title_is_read_as_it_was_written() -> None:
    """Whatever the model is called; what is none is told apart."""
    place = place_of(at("https://example.com/v1"), "here")
    for what in ("", "gpt-4o", "meta/llama:70b@x"):
        title = Title("circuit", place, what)
        assert title == Title.read(title.text())
        assert "mine" == title.provider
    assert Title.read("something") is None


def test_another_address_is_another_place() -> None:
    """And so is another provider there; a password in an address is not shown."""
    one = place_of(at("https://me:canary@example.com"), "here")
    assert one == place_of(at("https://me:canary@example.com"), "there")
    assert "canary" not in one
    assert one != place_of(at("https://example.com"), "here")
    assert one != place_of(at("https://me:canary@example.com", name="yours"), "here")


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://localhost:11434", False),
        ("http://127.0.0.2:1", False),
        ("http://[::1]/", False),
        ("http://host.docker.internal:11434", True),
    ],
)
def test_what_is_on_a_machine_is_the_machines_own(address: str, *, local: bool) -> None:
    """At one address there is another service on each machine."""
    provider = at(address, local=local)
    assert place_of(provider, "here") == place_of(provider, "here")
    assert place_of(provider, "here") != place_of(provider, "there")


@pytest.mark.parametrize(
    ("model", "tellable"),
    [("gpt-4o", True), ("", True), ("sk-canary-0123456789", False), ("m" * 201, False), ("m\udcff", False)],
)
def test_which_models_are_told(model: str, *, tellable: bool) -> None:
    """None whose name looks like a key, or is no name at all."""
    assert tellable == is_tellable(model)
