"""Who may use which route: each route of the control plane has one rule, and the gateway is not built without.

The hot routes want the scope ``inference``; ``server/dataplane.py`` asks for it itself.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute
from typing_extensions import override

from genai_spine.errors import InvalidRequestError, PermissionDeniedError
from genai_spine.identity.api_keys import presented_key
from genai_spine.server.queries import check_query
from genai_spine.server.state import request_id_of, state_of
from genai_spine.settings import Settings
from genai_spine.types.principal import Principal, Scope

__all__ = ["METRICS", "OPEN", "Rule", "Rules", "check_scope", "include", "require"]


class Rule:
    """Lets those in whose key has one of some scopes, without any scope everybody, and whose query their route knows.

    Args:
        scopes: Those scopes.
        any_query: Let any query in: others say what stands there, the clients of a dialect or who watches the gateway.
    """

    def __init__(self, *scopes: Scope, any_query: bool = False) -> None:
        self._scopes = scopes
        self._any_query = any_query

    def scopes(self, settings: Settings) -> tuple[Scope, ...]:  # noqa: ARG002  # a rule may depend on them
        """Return the scopes of which any will do; none where everybody is let in."""
        return self._scopes

    async def __call__(self, request: Request) -> None:
        """Let a request in.

        Raises:
            AuthenticationError: It presents no good key.
            PermissionDeniedError: Its key is not good for this.
            DatabaseDownError: Whether it is good cannot be looked up.
            InvalidFieldError: Its query has a name that the route does not know, or has one twice.
            InvalidRequestError: Its address holds a sign that no database takes.
        """
        if "\x00" in request.url.path or b"%00" in request.scope["query_string"]:
            message = "the address holds a NUL, which stands in no name"
            raise InvalidRequestError(message)
        state = state_of(request)
        if scopes := self.scopes(state.spine.settings):
            presented = presented_key(request.headers, request.url.query)
            principal = await state.callers.admit(presented, request_id_of(request))
            check_scope(principal, *scopes)
            request.state.principal = principal
        if not self._any_query:
            check_query(request)


class _MetricsRule(Rule):
    """Lets everybody in, unless the operator has set that a key be asked for."""

    @override
    def scopes(self, settings: Settings) -> tuple[Scope, ...]:
        """Return the scopes of which any will do."""
        return () if settings.values.metrics_open else super().scopes(settings)


Rules: TypeAlias = dict[tuple[str, str], Rule]
"""By method, and path as the OpenAPI description writes it."""


def check_scope(principal: Principal, *scopes: Scope) -> None:
    """Let a caller go on whose key has one of some scopes.

    Raises:
        PermissionDeniedError: It has none.
    """
    if principal.scopes.isdisjoint(scopes):
        message = f"the API key is not good for this: it lacks the scope {' or '.join(scopes)}"
        raise PermissionDeniedError(message)


def require(*scopes: Scope, any_query: bool = False) -> Dependency:
    """Return the rule that wants one of some scopes, for a route or for all of a router; arguments as of ``Rule``."""
    rule: Dependency = Depends(Rule(*scopes, any_query=any_query))
    return rule


OPEN: Final[Dependency] = Depends(Rule(any_query=True))
"""The rule of a route for everybody."""

METRICS: Final[Dependency] = Depends(_MetricsRule("metrics", "admin", any_query=True))


def include(app: FastAPI, router: APIRouter) -> Rules:
    """Have an application serve a router's routes, and return their rules.

    Raises:
        TypeError: A route has no rule, or several.
    """
    rules: Rules = {}
    for route in router.routes:
        if not isinstance(route, APIRoute):
            message = f"{route} can have no rule"
            raise TypeError(message)
        found = [one.call for one in route.dependant.dependencies if isinstance(one.call, Rule)]
        if len(found) != 1:
            message = f"{route.path} needs one rule of who may use it, and has {len(found)}"
            raise TypeError(message)
        rules |= {(method, route.path_format): found[0] for method in route.methods or ()}
    app.include_router(router)
    return rules
