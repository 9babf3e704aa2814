"""Get an answer that is an object of a class of yours."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from genai_spine import Spine


class City(BaseModel):
    """What the model is asked to fill in."""

    name: str
    country: str
    inhabitants: int


async def main() -> None:
    """Ask for a city, and check what comes."""
    async with Spine.from_env() as spine:
        answer = await spine.complete("Describe the capital of Switzerland.", output_schema=City.model_json_schema())
        city = City.model_validate_json(answer.content)
        print(f"{city.name} in {city.country}: {city.inhabitants} inhabitants")


if __name__ == "__main__":
    asyncio.run(main())
