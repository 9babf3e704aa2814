"""The loop of calls under whatever providers do: a request's way is bounded, and what it tells is what happened."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import Final, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from typing_extensions import override

from genai_spine import errors
from genai_spine.errors import ContextLengthError, ProviderTimeoutError, RequestError, SpineError, UnavailableError
from genai_spine.gateway.attempt import Attempt
from genai_spine.gateway.context import Call
from genai_spine.gateway.failover import Failover
from genai_spine.gateway.guards import Guards
from genai_spine.gateway.seals import Seals
from genai_spine.gateway.trial import Trial
from genai_spine.providers.base import NO_OPTIONS, CallOptions
from genai_spine.providers.registry import Registry
from genai_spine.redact import Secret
from genai_spine.routing.options import Option, Traits
from genai_spine.shared_state.memory import MemoryState
from genai_spine.testing.providers import check_provider
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.messages import Message, Text
from genai_spine.types.stream import Event, Failed, TextDelta, events_of
from tests import virtual_time
from tests.accounts import NoAccounts
from tests.providers import OwnProvider
from tests.routing import option

WORDS: Final = "Hello from mine."
FAULTS: Final[Sequence[type[SpineError]]] = (
    errors.ConnectionFailedError,
    errors.ContentFilterError,
    errors.ContextLengthError,
    errors.InvalidRequestError,
    errors.MalformedResponseError,
    errors.ModelNotFoundError,
    errors.OverloadedError,
    errors.ProviderAuthenticationError,
    errors.ProviderFailedError,
    errors.ProviderPermissionError,
    errors.ProviderTimeoutError,
    errors.QuotaExhaustedError,
    errors.RateLimitedError,
)


class Step(Struct, frozen=True):
    """What a provider does with one call.

    Attributes:
        fault: How it fails; None where it does not.
        place: Where in a stream it fails.
        retry_after: What it asks for when it fails.
        wait: Seconds before it says anything.
        pause: Seconds more before the words.
        told: The failure is the stream's last event instead of being raised.
    """

    fault: type[SpineError] | None
    place: Literal["head", "frames", "words"]
    retry_after: float | None
    wait: float
    pause: float
    told: bool


class Script(Struct, frozen=True, kw_only=True):
    """A provider: how many keys and models it has, and what it does, call by call."""

    keys: int
    context: int | None
    steps: Sequence[Step]
    models: int


class Wish(Struct, frozen=True):
    """A request.

    Attributes:
        at: When it comes.
        seconds: What its caller allows.
        leaves: Seconds after which the caller hangs up.
        reads: Pieces of a stream after which the caller has enough.
    """

    at: float
    stream: bool
    seconds: float | None
    leaves: float | None
    reads: int | None


class Made(Struct):
    """A call as the provider saw it, and how it ended.

    Attributes:
        place: Of the candidate among all.
        whole: It came to its good end.
    """

    provider: str
    place: int
    at: float
    key: str
    error: SpineError | None = None
    whole: bool = False


class Story(Struct):
    """What became of a request.

    Attributes:
        handed: When its caller got the first piece.
        text: What the caller read.
        error: What the caller was told.
        whole: The caller got all of an answer.
    """

    wish: Wish
    begun: float
    made: list[Made]
    handed: float | None = None
    text: str = ""
    error: SpineError | None = None
    whole: bool = False


class LoopClock:
    """The time of the running loop, or so many times that."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed

    def monotonic(self) -> float:
        """Seconds since the loop began."""
        return asyncio.get_running_loop().time() * self._speed

    def now(self) -> float:
        """The same, as if it had begun at some moment."""
        return 1_700_000_000.0 + self.monotonic()


class Moody(OwnProvider):
    """Does what its script says, call by call, from the front again once it has come to its end."""

    def __init__(self, name: str, keys: int, script: Sequence[Step], stories: Sequence[Story]) -> None:
        super().__init__(name, "m0")
        self.keys = tuple(Secret(f"sk-test-{name}-{number}-0123456789") for number in range(keys))
        self.places: dict[str, int] = {}
        self._script = script
        self._stories = stories
        self._calls = 0

    @override
    async def complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> CompletionResponse:
        step, made = self._begin(request, options)
        await self._wait(step.wait + step.pause, made, options)
        if step.fault is not None:
            raise self._failed(step, made)
        made.whole = True
        return await super().complete(request, options)

    @override
    async def stream_complete(
        self, request: CompletionRequest, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        step, made = self._begin(request, options)
        await self._wait(step.wait, made, options)
        first, *others = events_of(await super().complete(request, options))
        words = next(number for number, event in enumerate(others) if isinstance(event, TextDelta)) + 1
        for place, events in (("head", [first]), ("frames", others[:words]), ("words", others[words:])):
            if step.fault is not None and step.place == place:
                error = self._failed(step, made)
                if not step.told:
                    raise error
                yield Failed(error=error)
                return
            if place == "frames":
                await self._wait(step.pause, made, options)
            for event in events:
                # Whoever has the last event may go away with it.
                made.whole = event is others[-1]
                yield event

    def _begin(self, request: CompletionRequest, options: CallOptions) -> tuple[Step, Made]:
        part = request.messages[0].parts[0]
        assert isinstance(part, Text)
        now = asyncio.get_running_loop().time()
        place = self.places.get(request.model or "", 0)
        made = Made(self.name, place, now, options.key.fingerprint if options.key else "")
        self._stories[int(part.text)].made.append(made)
        step = self._script[self._calls % len(self._script)]
        self._calls += 1
        return step, made

    async def _wait(self, seconds: float, made: Made, options: CallOptions) -> None:
        """Let time pass, as long as the call may take."""
        if options.seconds is None:
            await asyncio.sleep(seconds)
            return
        left = made.at + options.seconds - asyncio.get_running_loop().time()
        await asyncio.sleep(min(left, seconds))
        if seconds >= left:
            made.error = ProviderTimeoutError("no time left")
            raise made.error

    def _failed(self, step: Step, made: Made) -> SpineError:
        assert step.fault is not None
        made.error = step.fault("as the script says", retry_after=step.retry_after)
        return made.error


class World(NoAccounts):
    """Providers, and those who ask them."""

    def __init__(self, scripts: Sequence[Script], wishes: Sequence[Wish], clock: LoopClock) -> None:
        self.registry = Registry()
        self.stories = [Story(wish, wish.at, []) for wish in wishes]
        self.options: list[Option] = []
        providers = [
            (Moody(f"p{number}", script.keys, script.steps, self.stories), script)
            for number, script in enumerate(scripts)
        ]
        for provider, _ in providers:
            self.registry.add(provider)
        # The first model of each, then the second of those that have two, and so on.
        for number in range(max(script.models for script in scripts)):
            for provider, script in providers:
                if number < script.models:
                    provider.places[f"m{number}"] = len(self.options)
                    self.options.append(option(f"{provider.name}/m{number}", Traits(context=script.context)))
        self.guards = Guards(clock)
        self.count = 0
        self._clock = clock
        self._attempt = Attempt(clock, Seals(MemoryState(0, clock), {}))
        self._failover = Failover(self.guards, clock, self, jitter=lambda: 0.5)

    @override
    def ended(self, call: Call, trial: Trial) -> None:
        assert trial.over
        self.count += 1

    async def run(self) -> None:
        """Let all of them ask, each at the chosen moment."""
        async with asyncio.TaskGroup() as group:
            for number in range(len(self.stories)):
                group.create_task(self._caller(number))

    async def _caller(self, number: int) -> None:
        story = self.stories[number]
        await asyncio.sleep(story.wish.at)
        story.begun = self._clock.monotonic()
        task = asyncio.create_task(self._ask(number, story))
        await asyncio.wait({task}, timeout=story.wish.leaves)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    async def _ask(self, number: int, story: Story) -> None:
        wish = story.wish
        call = Call(
            request_id=f"r{number}", door="library", started=story.begun, seconds=wish.seconds, stream=wish.stream
        )
        call.registry = self.registry
        message = Message(role="user", parts=(Text(text=str(number)),))
        request = CompletionRequest(messages=(message,))
        try:
            if wish.stream:
                await self._read(call, request, story)
            else:
                answer = await self._failover.whole(
                    call,
                    self.options,
                    lambda trial: self._attempt.complete(call, _for(trial, request), trial.provider, trial.options),
                )
                story.text, story.whole = _text(answer), True
        except SpineError as error:
            story.error = error

    async def _read(self, call: Call, request: CompletionRequest, story: Story) -> None:
        pieces = self._failover.stream(
            call,
            self.options,
            lambda trial: self._attempt.events(call, _for(trial, request), trial.provider, trial.options),
        )
        read = 0
        async with aclosing(pieces) as stream:
            async for event in stream:
                if story.handed is None:
                    story.handed = self._clock.monotonic()
                if isinstance(event, TextDelta):
                    story.text += event.text
                read += 1
                if read == story.wish.reads:
                    return
        story.whole = True


def _for(trial: Trial, request: CompletionRequest) -> CompletionRequest:
    return replace(request, model=trial.option.candidate.model)


def _text(answer: CompletionResponse) -> str:
    return "".join(part.text for part in answer.choices[0].parts if isinstance(part, Text))


def check_bounds(story: Story) -> None:
    """At most three calls of a provider on three keys, for all its models, none after a slow second; none too late."""
    made, seconds = story.made, story.wish.seconds
    assert sorted(one.place for one in made) == [one.place for one in made]
    for provider in {one.provider for one in made}:
        there = [one for one in made if one.provider == provider]
        assert len(there) <= 3
        assert len({one.key for one in there}) <= 3
        assert not any(isinstance(one.error, ProviderTimeoutError) for one in there[1:-1])
    if seconds is not None:
        assert all(one.at < story.begun + seconds for one in made)
    if story.handed is not None:
        assert all(one.at <= story.handed for one in made)


def check_moves(story: Story, options: Sequence[Option]) -> None:
    """Each further call is one that the failure before it allows."""
    for former, latter in pairwise(story.made):
        error = former.error
        assert error is not None
        context, other = (options[one.place].traits.context for one in (former, latter))
        if isinstance(error, ContextLengthError):
            assert context is not None
            assert other is not None
            assert other > context
        elif former.place != latter.place:
            assert error.retry.other_provider
        else:
            assert not isinstance(error, RequestError)
            assert error.retry.same_key or (error.retry.other_key and former.key != latter.key)


def check_outcome(story: Story) -> None:
    """An answer if and only if some call came to its good end; else an error that was one of the calls'."""
    wish, made = story.wish, story.made
    assert all(one.error is not None for one in made[:-1])
    if story.whole:
        assert made[-1].whole
        assert WORDS == story.text
    elif story.error is not None:
        assert not made[-1:] or not made[-1].whole
        happened = any(story.error is one.error for one in made)
        late = wish.seconds is not None and isinstance(story.error, ProviderTimeoutError)
        assert happened or late or (not made and isinstance(story.error, UnavailableError)), (story.error, made)
    else:
        assert wish.leaves is not None or wish.reads is not None


STEPS: Final = st.builds(
    Step,
    fault=st.one_of(st.none(), st.sampled_from(FAULTS)),
    place=st.sampled_from(["head", "frames", "words"]),
    retry_after=st.sampled_from([None, None, 0.0, 1.0, 5.0, 400.0]),
    wait=st.sampled_from([0.0, 0.1, 3.0, 25.0]),
    pause=st.sampled_from([0.0, 0.0, 0.5, 12.0]),
    told=st.booleans(),
)
SCRIPTS: Final = st.builds(
    Script,
    keys=st.integers(0, 5),
    context=st.sampled_from([None, 1000, 2000]),
    steps=st.lists(STEPS, min_size=1, max_size=6),
    models=st.sampled_from([1, 1, 2, 4]),
)
WISHES: Final = st.builds(
    Wish,
    at=st.sampled_from([0.0, 0.0, 0.05, 1.0, 60.0, 301.0, 700.0]),
    stream=st.booleans(),
    seconds=st.sampled_from([None, 0.05, 2.0, 30.0, 600.0]),
    leaves=st.sampled_from([None, None, None, 0.0, 0.05, 0.5, 2.0, 11.0]),
    reads=st.sampled_from([None, None, None, 1, 2, 3]),
)


def always(fault: type[SpineError] | None, keys: int, wait: float = 0.0, *, models: int = 1) -> Script:
    """A provider that does the same with each call."""
    step = Step(fault=fault, place="head", retry_after=None, wait=wait, pause=0.0, told=False)
    return Script(keys=keys, context=None, steps=[step], models=models)


def wish(at: float = 0.0, seconds: float | None = None, leaves: float | None = None, *, stream: bool = False) -> Wish:
    """A request."""
    return Wish(at=at, stream=stream, seconds=seconds, leaves=leaves, reads=None)


async def test_the_provider_of_these_tests_is_one() -> None:
    """Where its script lets it answer it keeps the contract of providers."""
    story = Story(wish(), 0.0, [])
    moody = Moody("p0", 1, always(None, 1).steps, [story])
    await check_provider(moody, CompletionRequest(messages=(Message(role="user", parts=(Text(text="0"),)),)))
    assert story.made


# A circuit that opens under a request hides from it no failure of its own.
@example([always(errors.ProviderFailedError, 1)], [wish(), wish(60.0)])
# A key without credit is not waited for.
@example([always(errors.QuotaExhaustedError, 1)], [wish()])
# Where there are no keys there is no other one.
@example([always(errors.ProviderAuthenticationError, 0)], [wish()])
# A provider of several models is called no more often for them all, ...
@example([always(errors.ProviderFailedError, 1, models=4)], [wish()])
# ... on no more keys, ...
@example([always(errors.ProviderPermissionError, 5, models=4)], [wish()])
# ... and no more often where it is slow.
@example([always(errors.ProviderTimeoutError, 1, models=4)], [wish()])
# A caller may leave in the instant in which the call fails.
@example([always(None, 1, 3.0)], [wish(seconds=2.0, leaves=2.0, stream=True)])
@settings(max_examples=300, deadline=None)
@given(
    scripts=st.lists(SCRIPTS, min_size=1, max_size=4),
    wishes=st.lists(WISHES, min_size=1, max_size=12),
)
def test_whatever_providers_do(scripts: list[Script], wishes: list[Wish]) -> None:
    """Each request is bounded, moves on only where that may help, and tells what happened; nothing is left over."""
    with warnings.catch_warnings(record=True) as lost:
        warnings.simplefilter("always", ResourceWarning)
        world = _run(scripts, wishes)
    assert [] == [str(one.message) for one in lost]
    for story in world.stories:
        check_bounds(story)
        check_moves(story, world.options)
        check_outcome(story)


def _run(scripts: Sequence[Script], wishes: Sequence[Wish], speed: float = 1.0) -> World:
    """Let it all happen, and look at what is left; the gateway's clock may run faster than its loop."""

    async def main() -> World:
        unheard: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: unheard.append(told))
        world = World(scripts, wishes, LoopClock(speed))
        await world.run()
        assert 1 == len(asyncio.all_tasks())
        for provider in world.registry:
            health = world.guards.health(provider)
            assert 0 == health.in_flight
            assert all(key.in_flight == 0 for key in health.keys)
        # A caller may leave between the permission for a call and the call itself.
        assert world.count >= sum(len(story.made) for story in world.stories)
        gc.collect(0)
        assert [] == unheard
        return world

    world, _ = virtual_time.run(main)
    return world


def _called(script: Script) -> list[int]:
    """The candidates that a request calls, each call one entry."""
    return [one.place for one in _run([script], [wish()]).stories[0].made]


def test_the_calls_of_a_provider_are_shared_by_its_models() -> None:
    """A model leaves a call to each of the others, as far as there are any: whose trouble it is, nobody knows yet."""
    assert [0, 0, 0] == _called(always(errors.ProviderFailedError, 1))
    assert [0, 0, 1] == _called(always(errors.ProviderFailedError, 1, models=2))
    assert [0, 1, 2] == _called(always(errors.ProviderFailedError, 1, models=4))
    assert [0, 1] == _called(always(errors.ProviderTimeoutError, 1, models=4))


def test_a_key_may_do_with_another_model_what_it_may_not_with_one() -> None:
    """A refusal of one model is no refusal of the next."""
    refused = Step(errors.ProviderPermissionError, "head", None, 0, 0, told=False)
    script = Script(keys=1, context=None, steps=[refused, replace(refused, fault=None)], models=2)
    story = _run([script], [wish()]).stories[0]
    assert ([0, 1], True) == ([one.place for one in story.made], story.whole)


def test_time_that_is_up_after_a_wait() -> None:
    """The failure that was waited for is told: it says more than that the time is up. Nobody else is asked."""
    failing = always(errors.ProviderFailedError, 1)
    slow = _run([failing, failing], [wish(seconds=1.2)], speed=2.0).stories[0]
    (made,) = slow.made
    assert made.error is slow.error


QUICK: Final = Step(None, "head", None, 0.1, 0, told=False)
SLOW: Final = replace(QUICK, wait=25.0)
HANGS: Final = replace(QUICK, wait=1000.0)


@pytest.mark.parametrize(
    ("before", "seconds", "stream", "expected"),
    [
        ([QUICK], 2.0, True, "open"),
        ([QUICK], 0.5, True, "closed"),
        ([QUICK, SLOW], 2.0, True, "closed"),
        ([], 2.0, True, "closed"),
        ([QUICK], 2.0, False, "closed"),
        ([QUICK], 30.0, False, "open"),
    ],
    ids=["silent", "hasty", "often slow", "never heard of", "whole", "whole and long"],
)
def test_a_model_that_hangs_under_callers_in_a_hurry(
    before: list[Step], seconds: float, expected: str, *, stream: bool
) -> None:
    """It is left alone where it used to answer long before, though no call took too long by the provider's own time."""
    script = Script(keys=1, context=None, steps=[*before, *[HANGS] * 5], models=1)
    wishes = [wish(40.0 * number) for number, _ in enumerate(before)]
    wishes += [wish(100.0 + 40 * number, seconds, stream=stream) for number in range(5)]
    world = _run([script], wishes)
    assert ["closed", expected] == [world.guards.circuits.of(name).state for name in ("p0", "p0/m0")]
