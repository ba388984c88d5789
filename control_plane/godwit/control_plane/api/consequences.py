"""Routes that say what an action would do, for whoever is asked to confirm it. None of them writes anything."""

from fastapi import APIRouter
from godwit.control_plane.api.access import Actor
from godwit.control_plane.api.arrays import ArrayRef
from godwit.control_plane.api.fleet import NodeRef, NodeVerb
from godwit.control_plane.api.incidents import IncidentRef
from godwit.control_plane.api.jobs import JobRef
from godwit.control_plane.api.services import ServiceRef
from godwit.control_plane.api.state import Godwit
from godwit.control_plane.services import consequences, service_consequences
from godwit.domain.wire.consequences import ConsequencesView
from godwit.domain.wire.migrations import MigrationRequest
from godwit.domain.wire.services import MoveWanted, RolloutWanted, ScaleWanted
from godwit.domain.wire.sizes import SizeWanted

router = APIRouter(prefix="/v1")


@router.post("/nodes/{node}/{verb}/preview")
def preview_node(state: Godwit, _actor: Actor, node: NodeRef, verb: NodeVerb) -> ConsequencesView:
    """What cordoning, draining or terminating a node would do now."""
    return consequences.of_node(state.context, node, verb)


@router.post("/jobs/{job}/cancel/preview")
def preview_cancel(state: Godwit, _actor: Actor, job: JobRef) -> ConsequencesView:
    """What cancelling a job would do now."""
    return consequences.of_cancel(state.context, job)


@router.post("/jobs/{job}/size/preview")
def preview_resize(state: Godwit, _actor: Actor, job: JobRef, size: SizeWanted) -> ConsequencesView:
    """What another number of nodes would do now."""
    return consequences.of_resize(state.context, job, size.nodes)


@router.post("/arrays/{array}/cancel/preview")
def preview_cancel_array(state: Godwit, _actor: Actor, array: ArrayRef) -> ConsequencesView:
    """What cancelling an array would do now."""
    return consequences.of_cancel_array(state.context, array)


@router.post("/jobs/{job}/migrations/preview")
def preview_migration(state: Godwit, _actor: Actor, job: JobRef, request: MigrationRequest) -> ConsequencesView:
    """What moving a job would do now, in words; `migrations/plan` has the figures."""
    return consequences.of_migration(state.context, job, request)


@router.post("/services/{service}/scale/preview")
def preview_scale(state: Godwit, _actor: Actor, service: ServiceRef, wanted: ScaleWanted) -> ConsequencesView:
    """What another number of replicas would do now."""
    return service_consequences.of_scale(state.context, service, wanted.replicas)


@router.post("/services/{service}/move/preview")
def preview_move(state: Godwit, _actor: Actor, service: ServiceRef, wanted: MoveWanted) -> ConsequencesView:
    """What moving a service or one of its replicas would do now."""
    return service_consequences.of_move(state.context, service, wanted.to)


@router.post("/services/{service}/rollout/preview")
def preview_rollout(state: Godwit, _actor: Actor, service: ServiceRef, wanted: RolloutWanted) -> ConsequencesView:
    """What holding, ending or taking back a change of versions would do now."""
    return service_consequences.of_rollout(state.context, service, wanted)


@router.post("/services/{service}/delete/preview")
def preview_removal(state: Godwit, _actor: Actor, service: ServiceRef) -> ConsequencesView:
    """What removing a service would do now."""
    return service_consequences.of_removal(state.context, service)


@router.post("/incidents/{incident}/close/preview")
def preview_close(state: Godwit, _actor: Actor, incident: IncidentRef) -> ConsequencesView:
    """What closing an incident would do now."""
    return consequences.of_incident_close(state.context, incident)
