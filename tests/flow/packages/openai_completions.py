"""The package ``openai``, over the older Completions: a text goes in, and is continued."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import openai
from openai.types import Completion

from tests.flow.packages.base import Ask, Told
from tests.flow.published import Heard, overhear

__all__ = ["CompletionsClient"]


class CompletionsClient:
    """The package ``openai``, over Completions."""

    name = "completions"

    def __init__(self, url: str, key: str) -> None:
        self.heard: list[Heard] = []
        http = openai.DefaultAsyncHttpxClient(event_hooks=overhear(self.heard))
        self.sdk = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http)
        self.seen: dict[str, str] = {}

    def _body(self, model: str, ask: Ask) -> dict[str, Any]:
        assert ask.shape is None
        assert () == ask.tools + ask.rounds, "the dialect has no tools"
        assert "" == ask.system, "the dialect has no instructions"
        body: dict[str, Any] = {"model": model, "prompt": ask.prompt, "max_tokens": ask.max_tokens}
        if ask.stop:
            body["stop"] = list(ask.stop)
        return {**body, **ask.more}

    async def complete(self, model: str, ask: Ask) -> Told:
        """Use ``create``."""
        raw = await self.sdk.completions.with_raw_response.create(**self._body(model, ask))
        self.seen = {name.lower(): value for name, value in raw.headers.items()}
        answer: Completion = raw.parse()
        return self._told([answer])

    async def stream(self, model: str, ask: Ask) -> Told:
        """Use ``create`` with a stream."""
        body = {**self._body(model, ask), "stream": True, "stream_options": {"include_usage": True}}
        return self._told([part async for part in await self.sdk.completions.create(**body)])

    def _told(self, parts: Sequence[Completion]) -> Told:
        choices = [choice for part in parts for choice in part.choices if choice.index == 0]
        usage = parts[-1].usage
        assert usage is not None
        details = usage.prompt_tokens_details
        finish = choices[-1].finish_reason
        likely = [choice.logprobs for choice in choices if choice.logprobs]
        return Told(
            text="".join(choice.text for choice in choices),
            calls=(),
            finish=finish,
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cached=details.cached_tokens if details else None,
            logprobs=tuple(
                (token, value or 0.0)
                for rows in likely
                for token, value in zip(rows.tokens or (), rows.token_logprobs or (), strict=True)
            ),
            model=parts[0].model,
            pieces=sum(bool(choice.text) for choice in choices),
            raw=parts[0],
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.sdk.close()
