"""The application: routes, errors, and the version for everybody."""

import warnings

from fastapi import Depends, FastAPI
from godwit.control_plane.api import (
    access,
    agents,
    archives,
    arrays,
    authorities,
    changes,
    consequences,
    costs,
    dashboard,
    errors,
    fleet,
    history,
    incidents,
    jobs,
    keys,
    links,
    login,
    metrics,
    migrations,
    notifications,
    overview,
    projects,
    providers,
    routes,
    secrets,
    services,
    streams,
    terminals,
    tokens,
    users,
)
from godwit.control_plane.api.access import Doorkeeper
from godwit.control_plane.api.auditing import Auditing
from godwit.control_plane.api.bodies import Bodies
from godwit.control_plane.api.limiting import Limiting
from godwit.control_plane.api.requests import Tracing
from godwit.control_plane.api.state import Godwit, State
from godwit.control_plane.metrics.timing import Timing
from godwit.control_plane.version import VERSION
from godwit.domain.wire.pages import ProblemDetails
from godwit.domain.wire.views import ServerView
from pydantic.warnings import UnsupportedFieldAttributeWarning

# FastAPI silences it where it makes a validator; those of our messages are made later, when the first one comes.
warnings.filterwarnings("ignore", category=UnsupportedFieldAttributeWarning)

_PROBLEM = {"model": ProblemDetails, "content": {"application/problem+json": {}}}
_PROBLEMS = {
    400: {"description": "the body cannot be read", **_PROBLEM},
    401: {"description": "no valid token", **_PROBLEM},
    403: {"description": "the role or the project of the token does not allow this", **_PROBLEM},
    404: {"description": "no such thing", **_PROBLEM},
    408: {"description": "the body came too slowly", **_PROBLEM},
    409: {"description": "the state does not allow this", **_PROBLEM},
    413: {"description": "more than is taken", **_PROBLEM},
    422: {"description": "the request is not valid", **_PROBLEM},
    429: {"description": "too many requests; `Retry-After` says how many seconds to wait", **_PROBLEM},
    503: {"description": "the database is away; `Retry-After` says how many seconds to wait", **_PROBLEM},
}
_AGENT_PROBLEMS = {
    410: {"description": "this node is not wanted any more", **_PROBLEM},
    503: {"description": "too many agents come at once; `Retry-After` says for how long to stay away", **_PROBLEM},
}
_ARCHIVE_PROBLEMS = {413: {"description": "the workdir is too large", **_PROBLEM}}


def create_app(state: State) -> FastAPI:
    """The API over `state`. Loops and servers are the caller's."""
    app = FastAPI(title="godwit", version=VERSION, responses=_PROBLEMS, docs_url=None, redoc_url=None)  # type: ignore[arg-type]
    app.state.godwit = state
    app.state.doorkeeper = Doorkeeper(state.context)
    errors.install(app)
    # The last one sees a request first.
    app.add_middleware(Auditing, state=state)
    app.add_middleware(Limiting, limits=state.limits)
    app.add_middleware(Bodies)
    app.add_middleware(Timing, state=state)
    app.add_middleware(Tracing, state=state)

    @app.get("/v1/version")
    async def version(state: Godwit) -> ServerView:
        """Which control plane this is; needs no token."""
        return ServerView(identity=state.context.identity, version=VERSION, now=state.context.now())

    # Streams come first: /jobs/{job}/logs/stream must not be taken for something shorter.
    for part in (streams, jobs, services, routes, keys, migrations, arrays, fleet, incidents, providers, projects):
        app.include_router(part.router)
    app.include_router(secrets.router)
    app.include_router(authorities.router)
    app.include_router(changes.router)
    app.include_router(consequences.router)
    app.include_router(history.router)
    app.include_router(overview.router)
    app.include_router(costs.router)
    app.include_router(terminals.router)
    app.include_router(tokens.router)
    app.include_router(login.router)
    app.include_router(users.router)
    app.include_router(notifications.router)
    app.include_router(metrics.router, dependencies=[] if state.open_metrics else [Depends(access.person)])
    app.include_router(archives.router, responses=_ARCHIVE_PROBLEMS)  # type: ignore[arg-type]
    app.include_router(dashboard.router)
    app.include_router(agents.router, responses=_AGENT_PROBLEMS)  # type: ignore[arg-type]
    described = app.openapi
    app.openapi = lambda: links.add(described())  # type: ignore[method-assign]
    return app
