"""The package ``ollama``."""

from __future__ import annotations

from typing import Any

import ollama

from tests.flow.packages.base import Ask, Told
from tests.flow.published import Heard
from tests.flow.said import Call

__all__ = ["OllamaClient"]


class OllamaClient:
    """The package ``ollama``; it takes no key of its own, but headers."""

    name = "ollama"

    def __init__(self, url: str, key: str) -> None:
        self.seen: dict[str, str] = {}
        self.heard: list[Heard] = []

        async def keep(response: Any) -> None:  # Any: of the HTTP library that the package chose
            self.seen = {name.lower(): value for name, value in response.headers.items()}

        self.sdk = ollama.AsyncClient(
            host=url, headers={"Authorization": f"Bearer {key}"}, event_hooks={"response": [keep]}
        )

    def _body(self, model: str, ask: Ask) -> dict[str, Any]:
        user: dict[str, Any] = {"role": "user", "content": ask.prompt}
        if ask.image is not None:
            user["images"] = [ask.image]
        messages: list[Any] = [{"role": "system", "content": ask.system}] if ask.system else []
        messages.append(user)
        for turn in ask.rounds:
            messages.append(turn.told.message)
            results: list[dict[str, Any]] = [
                {"role": "tool", "content": result, "tool_name": call.name}
                for call, result in zip(turn.told.calls, turn.results, strict=True)
            ]
            if ask.result_image is not None:
                results[-1]["images"] = [ask.result_image]
            messages += results
        options: dict[str, Any] = {"num_predict": ask.max_tokens, **ask.more.get("options", {})}
        if ask.stop:
            options["stop"] = list(ask.stop)
        body: dict[str, Any] = {"model": model, "messages": messages, **ask.more, "options": options}
        if ask.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
                }
                for tool in ask.tools
            ]
        if ask.shape is not None:
            body["format"] = ask.shape.model_json_schema()
        if ask.effort is not None:
            body["think"] = ask.effort
        return body

    async def complete(self, model: str, ask: Ask) -> Told:
        """Use ``chat``."""
        answer: ollama.ChatResponse = await self.sdk.chat(**self._body(model, ask))
        return self._told([answer], ask)

    async def stream(self, model: str, ask: Ask) -> Told:
        """Use ``chat`` with a stream."""
        parts: list[ollama.ChatResponse] = [
            part async for part in await self.sdk.chat(**self._body(model, ask), stream=True)
        ]
        return self._told(parts, ask)

    def _told(self, parts: list[ollama.ChatResponse], ask: Ask) -> Told:
        last = parts[-1]
        assert last.done
        assert last.prompt_eval_count is not None
        assert last.eval_count is not None
        text = "".join(part.message.content or "" for part in parts)
        called = [call for part in parts for call in part.message.tool_calls or []]
        message = ollama.Message(role="assistant", content=text, tool_calls=called or None)
        return Told(
            text=text,
            calls=tuple(Call("", call.function.name, dict(call.function.arguments)) for call in called),
            finish=last.done_reason,
            input_tokens=last.prompt_eval_count,
            output_tokens=last.eval_count,
            thinking="".join(part.message.thinking or "" for part in parts),
            logprobs=tuple((entry.token, entry.logprob) for part in parts for entry in part.logprobs or []),
            model=last.model or "",
            pieces=sum(bool(part.message.content) for part in parts),
            message=message,
            parsed=None if ask.shape is None else ask.shape.model_validate_json(text),
            raw=last,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.sdk.close()  # type: ignore[no-untyped-call]  # the package leaves this method without types
