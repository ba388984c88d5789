"""Routes about the secrets of projects: they are set, named and removed here, and never read."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response
from godwit.control_plane.api.access import Actor, Credential
from godwit.control_plane.api.jobs import Cursor, Limit
from godwit.control_plane.api.projects import ProjectRef
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import project_secrets
from godwit.domain.wire.pages import Page
from godwit.domain.wire.secrets import AttemptSecrets, AttemptSecretsRequest, SecretIn, SecretView, VersionView
from godwit.domain.wire.specs import NAME_PATTERN

router = APIRouter(prefix="/v1")

SecretRef = Annotated[str, Path(max_length=64)]
NewSecretRef = Annotated[str, Path(pattern=NAME_PATTERN, max_length=63)]
VersionRef = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("/projects/{project}/secrets")
def list_secrets(
    state: Godwit, _actor: Actor, project: ProjectRef, cursor: Cursor = None, limit: Limit = 100
) -> Page[SecretView]:
    """The secrets of a project by name, without their values."""
    found = project_secrets.listed(state.context, project, limit, cursor)
    return Page(items=found, next_cursor=found[-1].name if len(found) == limit else None)


@router.post("/projects/{project}/secrets/{secret}/versions", status_code=201)
def set_secret(state: Godwit, actor: Actor, project: ProjectRef, secret: NewSecretRef, wanted: SecretIn) -> SecretView:
    """Set a secret: a new version, which attempts that start from now on find. No route gives its value back."""
    return project_secrets.put(state.context, project, secret, wanted.value, actor)


@router.get("/projects/{project}/secrets/{secret}/versions")
def list_versions(state: Godwit, _actor: Actor, project: ProjectRef, secret: SecretRef) -> Page[VersionView]:
    """The versions of a secret, newest first, and the attempts that have them now."""
    return Page(items=project_secrets.versions(state.context, project, secret))


@router.delete("/projects/{project}/secrets/{secret}", status_code=204, response_class=Response)
def remove_secret(state: Godwit, actor: Actor, project: ProjectRef, secret: SecretRef) -> Response:
    """Destroy all values of a secret. What runs with it runs on; jobs that need it wait and say so."""
    project_secrets.remove(state.context, project, secret, None, actor)
    return Response(status_code=204)


@router.delete("/projects/{project}/secrets/{secret}/versions/{version}", status_code=204, response_class=Response)
def remove_version(
    state: Godwit, actor: Actor, project: ProjectRef, secret: SecretRef, version: VersionRef
) -> Response:
    """Destroy the value of one version of a secret."""
    project_secrets.remove(state.context, project, secret, version, actor)
    return Response(status_code=204)


@router.post("/agent/secrets")
def of_attempt(state: Godwit, credential: Credential, request: AttemptSecretsRequest) -> AttemptSecrets:
    """The secrets of an attempt, for a node that runs it."""
    return project_secrets.of_attempt(state.context, credential, request.attempt_id)
