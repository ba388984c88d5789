"""One table from errors to HTTP, as problem details (RFC 9457)."""

import re
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from godwit.control_plane.store.outages import is_away
from godwit.domain import errors
from godwit.domain.wire.pages import FieldProblem, ProblemDetails
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

log = structlog.get_logger()

STATUSES: dict[type[errors.GodwitError], HTTPStatus] = {
    errors.InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Gone: HTTPStatus.GONE,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.ProviderError: HTTPStatus.BAD_GATEWAY,
    errors.GodwitError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The first class that fits, in this order."""

AWAY_S = 2
"""When to ask again while the database is away: a PostgreSQL that was killed is back after one or two seconds."""


def install(app: FastAPI) -> None:
    """Answer every error of the application as problem details."""
    app.add_exception_handler(errors.GodwitError, _godwit_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(SQLAlchemyError, _database_error)
    app.add_exception_handler(Exception, _crash)


def problem(status: int, code: str, detail: str, problems: list[FieldProblem] | None = None) -> Response:
    """A problem details response."""
    body = ProblemDetails(
        title=HTTPStatus(status).phrase, status=status, detail=detail, code=code, problems=problems or []
    )
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return Response(body.model_dump_json(), status, headers, media_type="application/problem+json")


def code_of(error: Exception) -> str:
    """An error class's name in kebab case."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()


def _godwit_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, errors.GodwitError):
        raise error
    status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
    found = error.problems if isinstance(error, errors.InvalidRequest) else ()
    problems = [
        FieldProblem(path=list(p.path), message=p.message, accepted=list(p.accepted), did_you_mean=p.did_you_mean)
        for p in found
    ]
    return problem(status, code_of(error), error.message, problems)


def _validation_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    problems = [FieldProblem(path=list(e["loc"]), message=str(e["msg"])) for e in error.errors()[:20]]
    # The first element only says where in the request it is: body, query, path or header.
    problems = [p.model_copy(update={"path": p.path[1:] if p.path[:1] == ["body"] else p.path}) for p in problems]
    where = ".".join(str(part) for part in problems[0].path) or "the request"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"{where}: {problems[0].message}", problems)


def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = HTTPStatus(error.status_code).name.lower().replace("_", "-")
    response = problem(error.status_code, code, str(error.detail))
    response.headers.update(error.headers or {})
    return response


def _database_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, SQLAlchemyError) or not is_away(error):
        raise error
    log.warning("the database is away", method=request.method, path=request.url.path, why=type(error).__name__)
    return database_away()


def database_away() -> Response:
    """What is answered while the database is away."""
    response = problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "database-away",
        f"the database does not answer; ask again in {AWAY_S} s, with the same Idempotency-Key if there was one",
    )  # fmt: skip
    response.headers["Retry-After"] = str(AWAY_S)
    return response


def _crash(request: Request, error: Exception) -> Response:
    log.error("a request crashed", method=request.method, path=request.url.path, exc_info=error)
    return problem(500, "internal-server-error", "godwit failed to answer this; its log says why")
