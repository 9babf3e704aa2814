"""``spine route``: where a request would go, and why, without calling anybody."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from genai_spine.cli.settings import ConfigOption, open_spine, told
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.gateway.attempt import Question
from genai_spine.gateway.explaining import explained
from genai_spine.types.json import Json, JsonObject

__all__ = ["route"]


def route(
    prompt: Annotated[str, typer.Argument(help="What would be asked; - reads it from the standard input.")],
    *,
    model: Annotated[str | None, typer.Option(help="An id, provider/model, an alias, or auto.")] = None,
    provider: Annotated[str | None, typer.Option(help="This provider and no other.")] = None,
    strategy: Annotated[str | None, typer.Option(help="What puts the candidates in order.")] = None,
    hint: Annotated[str | None, typer.Option(help="What stands for a strategy.")] = None,
    fallback: Annotated[
        str | None, typer.Option(help="true, false, or models and providers with commas between them.")
    ] = None,
    prefer: Annotated[list[str] | None, typer.Option(help="A provider to ask first; may be given often.")] = None,
    max_cost: Annotated[str | None, typer.Option(help="The most that it may cost, in USD.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Limit of the answer.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="All candidates, and who was left out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Tell where a request would go."""
    routing: JsonObject = {"preferred_providers": list[Json](prefer or ())}
    routing |= {name: value for name, value in (("strategy", strategy), ("max_cost_usd", max_cost)) if value}
    text = sys.stdin.read() if prompt == "-" else prompt
    body: JsonObject = {"messages": [{"role": "user", "content": text}], "routing": routing}
    optional = (("model", model), ("provider", provider), ("provider_hint", hint), ("max_tokens", max_tokens))
    body |= {name: value for name, value in optional if value is not None}
    headers = {} if fallback is None else {"x-spine-fallback": fallback}
    with told():
        found = asyncio.run(_explained(msgspec.json.encode(body), headers, config))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    elif explain:
        _show(msgspec.json.decode(msgspec.json.encode(found)))
    else:
        first = found["candidates"][0]
        typer.echo(f"{first['provider']}/{first['model']}")


async def _explained(body: bytes, headers: dict[str, str], config: Path | None) -> dict[str, Any]:
    door = OpenAIChat()
    async with open_spine(config) as spine:
        return explained(spine.gateway.planner, Question(door, door.read_envelope(body, headers), body))


def _show(found: dict[str, Any]) -> None:
    typer.echo(f"strategy: {found['strategy']} (by {found['chosen_by']})")
    table = Table("candidate", "USD", "seconds", "rank", "why", box=None, header_style="bold")
    for one in found["candidates"]:
        cost = "?" if one["cost_usd"] is None else f"{one['cost_usd']:f}".rstrip("0").rstrip(".") or "0"
        rank = "?" if one["quality_rank"] is None else str(one["quality_rank"])
        why = one["reason"] + (f"; comes late: {one['trouble']}" if one["trouble"] else "")
        table.add_row(f"{one['provider']}/{one['model']}", cost, f"{one['seconds']:.1f}", rank, why)
    Console().print(table)
    for one in found["dropped"]:
        name = "/".join(part for part in (one["provider"], one["model"]) if part)
        typer.echo(f"left out: {name}: {one['why']}")
