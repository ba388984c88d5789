"""Routes about accounts at clouds."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.state import Godwit
from godwit.domain.wire.pages import Page
from godwit.domain.wire.providers import ProviderIn, ProviderKindView, ProviderView, StandingView

router = APIRouter(prefix="/v1")

ProviderRef = Annotated[str, Path(max_length=64)]


@router.get("/provider-kinds")
def list_kinds(state: Godwit, _actor: Actor) -> Page[ProviderKindView]:
    """The kinds of providers there are, and what each wants to know."""
    return Page(items=state.accounts.kinds())


@router.get("/providers")
def list_providers(state: Godwit, _actor: Actor) -> Page[ProviderView]:
    """Configured providers: how the last look at each went, how calls to it do, and what foreign instances it lists."""
    return Page(items=state.accounts.overview(state.contacts()))


@router.get("/providers/{provider}")
def get_provider(state: Godwit, _actor: Actor, provider: ProviderRef) -> ProviderView:
    """One provider."""
    return state.accounts.show(provider, state.contacts())


@router.post("/providers", status_code=201)
def add_provider(state: Godwit, _actor: Actor, request: ProviderIn) -> ProviderView:
    """Add an account: its credentials are checked with one cheap read, stored encrypted, and never shown."""
    return state.accounts.add(request)


@router.post("/providers/{provider}/check")
def check_provider(state: Godwit, _actor: Actor, provider: ProviderRef) -> StandingView:
    """How an account stands now: reachable, permitted to do what, quota left."""
    return state.accounts.check(provider)


@router.delete("/providers/{provider}", status_code=204, response_class=Response)
def remove_provider(state: Godwit, _actor: Actor, provider: ProviderRef) -> Response:
    """Forget an account and its credentials."""
    state.accounts.remove(provider)
    return Response(status_code=204)
