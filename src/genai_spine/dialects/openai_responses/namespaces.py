"""OpenAI Responses: tools that stand in a namespace.

Nobody else knows namespaces. In the vocabulary such a tool has one name made of both, as in ``crm__find_customer``, so
that every provider can be offered it; its own name and its namespace stand in its extras, and in those of its calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from genai_spine.dialects.tool_ids import word_characters
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.tools import Tool, ToolOffer

__all__ = ["NAMESPACE", "calls_of", "grouped", "joint_name", "joint_name_of"]

NAMESPACE: Final = "namespace"
"""The kind of a tool that holds others, the field of a call that names it, and the extra that holds a tool's."""

_SEPARATOR: Final = "__"
_ILL: Final = re.compile(r"[^a-zA-Z0-9_-]")


def joint_name(namespace: str, name: str) -> str:
    """Return the one name of a tool in a namespace, in letters that every provider takes, and not too many."""
    return word_characters(_ILL.sub("_", f"{namespace.rstrip('_')}{_SEPARATOR}{name}"))


def joint_name_of(name: str, extras: JsonObject) -> tuple[str, JsonObject]:
    """Return a call's name as the vocabulary has it, and its extras, which keep the name that it came with."""
    namespace = extras.get(NAMESPACE)
    if not isinstance(namespace, str) or not namespace:
        return name, extras
    return joint_name(namespace, name), {**extras, "name": name}


def calls_of(tools: Iterable[ToolOffer]) -> Mapping[str, JsonObject]:
    """Return what a call of each tool that stands in a namespace must say, by the tool's one name."""
    found: dict[str, JsonObject] = {}
    for tool in tools:
        space = tool.extras.get(NAMESPACE) if isinstance(tool, Tool) else None
        if isinstance(tool, Tool) and isinstance(space, dict):
            found[tool.name] = {"name": tool.extras["name"], NAMESPACE: space["name"]}
    return found


def grouped(tools: Iterable[JsonObject]) -> list[Json]:
    """Put tools that follow one another in one namespace into it."""
    entries: list[Json] = []
    last: Json = None
    members: list[Json] = []
    for tool in tools:
        space = tool.pop(NAMESPACE, None)
        if not isinstance(space, dict):
            entries.append(tool)
        elif space == last:
            members.append(tool)
        else:
            members = [tool]
            entries.append({"type": NAMESPACE, **space, "tools": members})
        last = space
    return entries
