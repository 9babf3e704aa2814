"""``spine chat``: a conversation in the terminal."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from genai_spine.assembly import Spine
from genai_spine.cli.settings import ConfigOption, open_spine, told
from genai_spine.errors import SpineError
from genai_spine.types.messages import Message, Text
from genai_spine.types.stream import Collector, TextDelta, ThinkingDelta
from genai_spine.types.usage import Usage

__all__ = ["chat"]


def chat(
    prompt: Annotated[str | None, typer.Argument(help="Ask only this, and leave.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="An id, or provider/model.")] = None,
    provider: Annotated[str | None, typer.Option("--provider", "-p", help="This provider and no other.")] = None,
    system: Annotated[
        str | None, typer.Option("--system", "-s", help="Instructions for the whole conversation.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Talk with a model; it answers as it thinks. An empty line or Ctrl-D ends the conversation."""
    with told():
        spine = open_spine(config)
        asyncio.run(_Chat(spine, model, provider, system).run(prompt))


class _Chat:
    def __init__(self, spine: Spine, model: str | None, provider: str | None, system: str | None) -> None:
        self._spine = spine
        self._model = model
        self._provider = provider
        self._system = system
        self._messages: list[Message] = []
        self._console = Console()

    async def run(self, prompt: str | None) -> None:
        async with self._spine:
            if prompt is not None:
                await self._turn(prompt)
                return
            while text := await asyncio.to_thread(_ask):
                try:
                    await self._turn(text)
                except SpineError as error:
                    # The conversation goes on as if the turn had not been.
                    self._messages.pop()
                    self._console.print(f"{error.code}: {error.message}", style="red", markup=False)

    async def _turn(self, text: str) -> None:
        self._messages.append(Message(role="user", parts=(Text(text=text),)))
        collector = Collector()
        stream = self._spine.stream(self._messages, model=self._model, provider=self._provider, system=self._system)
        async for event in stream:
            collector.add(event)
            if isinstance(event, TextDelta | ThinkingDelta):
                style = "dim" if isinstance(event, ThinkingDelta) else None
                self._console.print(event.text, end="", style=style, markup=False, highlight=False, soft_wrap=True)
        answer = collector.response()
        self._messages.append(answer.as_message())
        chosen = self._spine.place(self._model, self._provider)
        model = answer.model or chosen.model
        cost = self._spine.registry.get(chosen.provider).cost_of(model, answer.usage or Usage())
        told = f"{cost.usd:f} USD" if cost.known else f"about {cost.usd:f} USD, its price is not known"
        self._console.print(
            f"\n{chosen.provider}/{model} · {answer.input_tokens} in, {answer.output_tokens} out · {told}",
            style="dim",
            markup=False,
            highlight=False,
        )


def _ask() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
