"""Who may be on a node together: jobs of different projects never are, unless both projects allow it. Pure.

Every job belongs to a *tenant*: projects that share nodes are one tenant together, each other project is its own. A
node is of one tenant at a time: of whoever is on it, until nothing of that is left.
"""

from collections.abc import Iterable, Mapping

from godwit.domain.ids import ProjectId
from godwit.domain.projects import Project

TOGETHER = ""
"""The tenant of all projects that share nodes; and of everybody where there is nobody to be kept apart from."""


def tenants(projects: Iterable[Project], present: Iterable[ProjectId]) -> Mapping[ProjectId, str]:
    """The tenant of each of the projects that are present. One that nobody knows shares nothing.

    Where all are one tenant it is `TOGETHER`: an installation with one project pays nothing for the question.
    """
    sharing = {project.name for project in projects if project.shares_nodes}
    found = {name: TOGETHER if name in sharing else str(name) for name in present}
    return found if len(set(found.values())) > 1 else dict.fromkeys(found, TOGETHER)
