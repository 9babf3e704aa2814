"""The package ``openai``, over Responses."""

from __future__ import annotations

import json
from typing import Any

import openai
from openai.types.responses import Response
from pydantic import BaseModel

from tests.flow.packages.base import Ask, Told, data_uri, uri
from tests.flow.published import Heard, overhear
from tests.flow.said import Call

__all__ = ["ResponsesClient"]


class ResponsesClient:
    """The package ``openai``, over Responses."""

    name = "responses"

    def __init__(self, url: str, key: str) -> None:
        self.heard: list[Heard] = []
        http = openai.DefaultAsyncHttpxClient(event_hooks=overhear(self.heard))
        self.sdk = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http)
        self.seen: dict[str, str] = {}

    def _result(self, text: str, image: bytes | None) -> Any:  # Any: words, or a list of parts
        if image is None:
            return text
        return [
            {"type": "input_text", "text": text},
            {"type": "input_image", "detail": "auto", "image_url": uri(image)},
        ]

    def _input(self, ask: Ask) -> list[Any]:
        user: list[dict[str, Any]] = [{"type": "input_text", "text": ask.prompt}]
        if ask.image is not None:
            user.append({"type": "input_image", "detail": "auto", "image_url": uri(ask.image)})
        if ask.document is not None:
            kind = "txt" if isinstance(ask.document, str) else "pdf"
            user.append({"type": "input_file", "filename": f"guide.{kind}", "file_data": data_uri(ask.document)})
        items: list[Any] = [{"role": "user", "content": user if len(user) > 1 else ask.prompt}]
        for turn in ask.rounds:
            items += turn.told.message
            last = len(turn.results) - 1
            items += [
                {
                    "type": "function_call_output",
                    "call_id": call.id,
                    "output": self._result(result, ask.result_image if number == last else None),
                }
                for number, (call, result) in enumerate(zip(turn.told.calls, turn.results, strict=True))
            ]
        return items

    def _body(self, model: str, ask: Ask) -> dict[str, Any]:
        body: dict[str, Any] = {"model": model, "input": self._input(ask), "max_output_tokens": ask.max_tokens}
        if ask.system:
            body["instructions"] = ask.system
        if ask.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                    "strict": tool.strict,
                }
                for tool in ask.tools
            ]
        if ask.choice is not None:
            plain = ask.choice in {"auto", "none", "required"}
            body["tool_choice"] = ask.choice if plain else {"type": "function", "name": ask.choice}
        if ask.one_call:
            body["parallel_tool_calls"] = False
        if ask.effort is not None:
            body["reasoning"] = {"effort": ask.effort}
        return {**body, **ask.more}

    async def complete(self, model: str, ask: Ask) -> Told:
        """Use ``create``, or ``parse`` with a shape."""
        body = self._body(model, ask)
        if ask.shape is not None:
            return self._told(await self.sdk.responses.parse(**body, text_format=ask.shape))
        raw = await self.sdk.responses.with_raw_response.create(**body)
        self.seen = {name.lower(): value for name, value in raw.headers.items()}
        answer: Response = raw.parse()
        return self._told(answer)

    async def stream(self, model: str, ask: Ask) -> Told:
        """Use ``create`` with a stream; with a shape ``stream``, which parses."""
        body = self._body(model, ask)
        if ask.shape is not None:
            async with self.sdk.responses.stream(**body, text_format=ask.shape) as events:
                count = [event.type async for event in events].count("response.output_text.delta")
                return self._told(await events.get_final_response(), count)
        told = [event async for event in await self.sdk.responses.create(**body, stream=True)]
        count = sum(event.type == "response.output_text.delta" for event in told)
        last = told[-1]
        assert last.type in {"response.completed", "response.incomplete"}, last
        return self._told(last.response, count)

    def _told(self, answer: Response, count: int = 1) -> Told:
        usage = answer.usage
        assert usage is not None
        calls = [item for item in answer.output if item.type == "function_call"]
        thoughts = [item for item in answer.output if item.type == "reasoning"]
        words = [part for item in answer.output if item.type == "message" for part in item.content]
        cut = answer.incomplete_details.reason if answer.incomplete_details else None
        parsed: BaseModel | None = getattr(answer, "output_parsed", None)
        return Told(
            text=answer.output_text,
            calls=tuple(Call(call.call_id, call.name, json.loads(call.arguments)) for call in calls),
            finish=f"{answer.status}:{cut}" if cut else answer.status,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached=usage.input_tokens_details.cached_tokens,
            thinking="".join(part.text for item in thoughts for part in item.summary or item.content or ()),
            logprobs=tuple(
                (entry.token, entry.logprob)
                for part in words
                if part.type == "output_text"
                for entry in part.logprobs or ()
            ),
            model=answer.model,
            pieces=count,
            message=answer.output,
            parsed=parsed,
            raw=answer,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.sdk.close()
