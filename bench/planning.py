"""What a plan costs: ``python -m bench.planning`` prints microseconds of CPU a plan, for each strategy.

The best of several rounds is shown, for everything else that the machine does only ever adds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from typing import Final

from genai_spine.assembly import Spine
from genai_spine.clock import SystemClock
from genai_spine.errors import ModelNotFoundError, SpineError, UnknownProviderError
from genai_spine.gateway.guards import Guards
from genai_spine.providers.registry import SIMULATOR
from genai_spine.redact import Secret
from genai_spine.routing.candidates import Place
from genai_spine.routing.options import Needs, Traits
from genai_spine.routing.registry import Strategies, builtin
from genai_spine.routing.router import Ask, Router
from genai_spine.routing.shortlist import Alias
from genai_spine.settings import Settings

CANDIDATES: Final = 50
MODEL: Final = "model"
PLANS: Final = 2000
ROUNDS: Final = 15


class Directory:
    """Fifty providers that all serve one model, and no more."""

    version = 1

    def __init__(self) -> None:
        self._places = {f"provider-{number}": _place(number) for number in range(CANDIDATES)}
        self._traits = {f"provider-{number}": _traits(number) for number in range(CANDIDATES)}
        self._homes: dict[str, str] = {}
        self._aliases: dict[str, Alias] = {}
        self._elsewhere: dict[tuple[str, str], list[tuple[str, str]]] = {}

    def place(self, name: str) -> Place | None:
        """A provider."""
        return self._places.get(name)

    def places(self) -> Sequence[Place]:
        """All of them."""
        return list(self._places.values())

    def default_place(self) -> Place | None:
        """The first."""
        return self._places["provider-0"]

    def last_resort(self) -> Place | None:
        """None."""
        return None

    def home(self, model: str) -> str | None:
        """None."""
        return self._homes.get(model)

    def serves(self, name: str, model: str) -> bool:
        """Each the one model."""
        return name in self._places and model == MODEL

    def obstacle(self, name: str, model: str) -> str | None:
        """None."""
        return None if name in self._places and model == MODEL else "it is not configured"

    def unknown_provider(self, name: str) -> SpineError:
        """As the registry would."""
        return UnknownProviderError(name)

    def unknown_model(self, model: str) -> SpineError:
        """As the registry would."""
        return ModelNotFoundError(model)

    def alias(self, name: str) -> Alias | None:
        """None."""
        return self._aliases.get(name)

    def chain(self) -> Sequence[str]:
        """Three of them."""
        return list(self._places)[5:8]

    def named(self, model: str) -> Sequence[tuple[str, str]]:
        """None."""
        return self._elsewhere.get(("", model), [])

    def elsewhere(self, provider: str, model: str) -> Sequence[tuple[str, str]]:
        """Nowhere but where it is listed."""
        return self._elsewhere.get((provider, model), [])

    def traits(self, provider: str, model: str) -> Traits:
        """Different for each."""
        return self._traits[provider] if model == MODEL else Traits()


def _place(number: int) -> Place:
    return Place(f"provider-{number}", True, frozenset({MODEL}), MODEL, False, local=number % 10 == 0)


def _traits(number: int) -> Traits:
    return Traits(
        context=8_000 * (number % 7 + 1),
        lacks=frozenset({"vision"} if number % 3 == 0 else ()),
        rank=number * 37 % CANDIDATES,
        input_price=10**11 * (number * 13 % CANDIDATES),
        output_price=10**12,
        weight=number % 5 + 1,
    )


def standing(*ill: str) -> Guards:
    """How things stand: speeds that were measured, two keys each, and the circuits of some providers open."""
    guards = Guards(SystemClock())
    template = Spine(Settings({"GENAI_PROBE_LOCAL": "false"})).registry.get(SIMULATOR)
    for number in range(CANDIDATES):
        provider = copy(template)
        provider.name = f"provider-{number}"
        provider.keys = (Secret(f"key-{number}-1"), Secret(f"key-{number}-2"))
        guards.of(provider)
        for seconds in range(40):
            guards.measurements.told_first(f"provider-{number}/{MODEL}", number + seconds)
            guards.measurements.told_rate(f"provider-{number}/{MODEL}", 50 + number, 1)
    for name in ill:
        for _ in range(guards.policies.circuit.failures):
            guards.circuits.of(name).enter().failure("provider")
    return guards


def microseconds(router: Router, ask: Ask, snapshot: Guards) -> float:
    """The CPU that a plan takes, in the best of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        for _ in range(PLANS):
            router.plan(ask, snapshot)
        best = min(best, (time.process_time_ns() - begun) / PLANS / 1000)
    return best


def main() -> None:
    """Print the table."""
    directory, strategies = Directory(), Strategies(builtin())
    well, ill = standing(), standing("provider-3", "provider-9")
    plain = Needs(input_tokens=1000, max_tokens=500)
    picky = Needs(input_tokens=9000, max_tokens=500, abilities=frozenset({"vision"}), max_cost=10**9 * 30)
    print(f"{CANDIDATES} candidates, microseconds of CPU a plan")
    print(f"{'strategy':16}{'plain':>8}{'picky':>8}{'troubled':>10}")
    for name in strategies.names:
        router = Router(directory, strategies, name)
        cells = [
            microseconds(router, Ask(model=MODEL, needs=plain), well),
            microseconds(router, Ask(model=MODEL, needs=picky), well),
            microseconds(router, Ask(model=MODEL, needs=plain), ill),
        ]
        print(f"{name:16}{cells[0]:8.1f}{cells[1]:8.1f}{cells[2]:10.1f}")


if __name__ == "__main__":
    main()
