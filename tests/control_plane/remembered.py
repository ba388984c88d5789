"""A caller of the API who remembers what it made, and looks after each step whether the API says the same."""

import re
from collections import defaultdict
from typing import Any

from fastapi.testclient import TestClient
from godwit.control_plane.api.roles import RULES
from godwit.control_plane.services import tokens
from godwit.domain.access import Role
from godwit.domain.wire.access import TokenWanted
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.control_plane.apis import BEARER, app_of
from tests.control_plane.world import World

PROJECTS, NAMES = st.sampled_from(["default", "red", "blue"]), st.sampled_from(["one", "two"])
ROLES = st.sampled_from(list(Role))
VALUES = st.sampled_from(["secret-value-1", "secret-value-2"])
FINAL = ("cancelled", "deleting")


class Remembered(RuleBasedStateMachine):
    """One API, from nothing; the caller has a token of each role. Whoever subclasses it makes the world."""

    def __init__(self) -> None:
        super().__init__()
        self.world = self.make_world()
        self.client = TestClient(app_of(self.world), raise_server_exceptions=False)
        self._bearers = {role: self._bearer(role) for role in Role}
        self.projects: dict[str, dict[str, Any]] = {"default": self._get("/v1/projects/default")}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.keyed: dict[str, tuple[str, dict[str, Any]]] = {}
        self.services: dict[tuple[str, str], dict[str, Any]] = {}
        self.secrets: dict[tuple[str, str], list[int]] = {}
        self.newest: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.api_keys: set[str] = set()
        self.tokens: dict[str, bool] = {one["id"]: False for one in self._get("/v1/tokens")["items"]}
        self.texts: dict[str, str] = {}

    def make_world(self) -> World:
        """A world of its own."""
        raise NotImplementedError

    def teardown(self) -> None:
        """The world is over."""
        self.client.close()
        self.world.db.close()

    def _bearer(self, role: Role) -> dict[str, str]:
        made = tokens.make(self.world.context, TokenWanted(name=f"a-{role}", role=role))
        return {"Authorization": f"Bearer {made.secret}"}

    def _get(self, path: str) -> Any:
        answer = self.client.get(path, headers=BEARER)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def _call(self, role: Role, route: str, body: Any = None, again: str = "", **names: str) -> Any:
        """Call a route as the bearer of a role; None when the table of roles refuses it, as it must."""
        method, path = route.split()
        headers = self._bearers[role] | ({"Idempotency-Key": again} if again else {})
        filled = re.sub(r"\{(\w+)\}", lambda found: names[found[1]], path)
        answer = self.client.request(method, filled, json=body, headers=headers)
        least = RULES[route].least
        assert isinstance(least, Role)
        assert (answer.status_code == 403) is not role.may(least), (route, role, answer.text)
        assert answer.status_code < 500, (route, answer.text)
        assert "secret-value" not in answer.text, "no route shows a secret's value"
        return None if answer.status_code == 403 else answer

    # Projects.

    @rule(role=ROLES, name=PROJECTS, weight=st.sampled_from([1.0, 2.0]), off=st.sampled_from([None, 0, 1]))
    def put_project(self, role: Role, name: str, weight: float, off: int | None) -> None:
        """Make or change a project, sometimes of a version that it may not have."""
        known = self.projects.get(name)
        version = None if off is None else (1 if known is None else known["version"]) + off
        answer = self._call(role, "PUT /v1/projects/{project}", {"weight": weight, "version": version}, project=name)
        if answer is None:
            return
        if version is not None and (known is None or version != known["version"]):
            assert answer.status_code == 409, answer.text
            return
        assert answer.status_code == 200, answer.text
        grown = 0 if known is None else known["version"] + (weight != known["weight"])
        assert known is None or answer.json()["version"] == grown
        self.projects[name] = answer.json()

    @rule(role=ROLES, name=PROJECTS)
    def remove_project(self, role: Role, name: str) -> None:
        """Forget a project: not the default one, and none with jobs that are not over."""
        answer = self._call(role, "DELETE /v1/projects/{project}", project=name)
        if answer is None:
            return
        alive = any(job["project"] == name and job["state"] not in FINAL for job in self.jobs.values())
        serves = any(project == name for project, _ in self.services)
        if name not in self.projects:
            assert answer.status_code == 404, answer.text
        elif name == "default" or alive:
            assert answer.status_code == 409, answer.text
        elif answer.status_code == 409:
            assert serves, answer.text
        else:
            assert answer.status_code == 204, answer.text
            del self.projects[name]
            self.secrets = {ref: versions for ref, versions in self.secrets.items() if ref[0] != name}

    # Jobs.

    @rule(role=ROLES, project=PROJECTS, name=NAMES, key=st.sampled_from(["", "k1", "k2"]))
    def submit(self, role: Role, project: str, name: str, key: str) -> None:
        """Submit a job; the same key again answers the same job, and no other one."""
        body = {"name": name, "run": "true", "project": project, "resources": {"gpus": "H100:8"}}
        answer = self._call(role, "POST /v1/jobs", body, key)
        if answer is None:
            return
        if key in self.keyed:
            job_id, before = self.keyed[key]
            assert answer.status_code == (202 if body == before else 409), answer.text
            assert body != before or answer.json()["id"] == job_id
        elif project not in self.projects:
            assert answer.status_code in {404, 422}, answer.text
        else:
            assert answer.status_code == 202, answer.text
            job = answer.json()
            assert job["id"] not in self.jobs
            self.jobs[job["id"]] = {"name": name, "project": project, "state": job["state"]}
            if key:
                self.keyed[key] = job["id"], body

    @rule(role=ROLES, data=st.data())
    def cancel(self, role: Role, data: st.DataObject) -> None:
        """Cancel a job, twice at times."""
        job_id = data.draw(st.sampled_from([*sorted(self.jobs), "job-of-nobody"]))
        for _ in range(data.draw(st.integers(1, 2))):
            answer = self._call(role, "POST /v1/jobs/{job}/cancel", job=job_id)
            if answer is not None and job_id not in self.jobs:
                assert answer.status_code == 404, answer.text
            elif answer is not None:
                assert (answer.status_code, answer.json()["state"]) == (202, "cancelled"), answer.text
                self.jobs[job_id]["state"] = "cancelled"

    # Services.

    @rule(role=ROLES, project=PROJECTS, name=NAMES, run=st.sampled_from(["serve", "serve --new"]))
    def put_service(self, role: Role, project: str, name: str, run: str) -> None:
        """Make a service, or give it another version; the same again is the same version."""
        body = {"kind": "service", "name": name, "run": run, "project": project, "resources": {"gpus": "H100:8"}}
        answer = self._call(role, "POST /v1/services", body)
        if answer is None:
            return
        known = self.services.get((project, name))
        if known is None and project not in self.projects:
            assert answer.status_code in {404, 422}, answer.text
        elif known is not None and known["state"] == "deleting":
            assert answer.status_code == 409, answer.text
        elif answer.status_code == 409:
            assert known is not None, answer.text
            assert self._get(f"/v1/services/{known['id']}")["rollout"] is not None, answer.text
        else:
            assert answer.status_code == 202, answer.text
            made = answer.json()
            changes = known is not None and run != known["run"]
            assert known is None or made["version"] == known["version"] + changes, answer.text
            self.services[project, name] = {
                "id": made["id"],
                "version": made["version"],
                "state": "serving",
                "run": run,
            }

    @rule(role=ROLES, data=st.data())
    def remove_service(self, role: Role, data: st.DataObject) -> None:
        """Remove a service, twice at times; it is there until its replicas have ended."""
        nobody = {"id": "service-of-nobody"}
        known = data.draw(st.sampled_from([*self.services.values(), nobody]))
        for _ in range(data.draw(st.integers(1, 2))):
            answer = self._call(role, "DELETE /v1/services/{service}", service=known["id"])
            if answer is not None and known is nobody:
                assert answer.status_code == 404, answer.text
            elif answer is not None:
                assert (answer.status_code, answer.json()["state"]) == (202, "deleting"), answer.text
                known["state"] = "deleting"

    # Secrets, keys and tokens.

    @rule(role=ROLES, project=PROJECTS, name=NAMES, value=VALUES)
    def set_secret(self, role: Role, project: str, name: str, value: str) -> None:
        """A new version, above all that were."""
        route = "POST /v1/projects/{project}/secrets/{secret}/versions"
        answer = self._call(role, route, {"value": value}, project=project, secret=name)
        if answer is None:
            return
        if project not in self.projects:
            assert answer.status_code == 404, answer.text
            return
        assert answer.status_code == 201, answer.text
        version = answer.json()["version"]
        assert version > max(self.secrets.get((project, name), [0])), answer.text
        self.secrets.setdefault((project, name), []).append(version)

    @rule(role=ROLES, project=PROJECTS, name=NAMES)
    def remove_secret(self, role: Role, project: str, name: str) -> None:
        """All of its values are destroyed, and then there is none."""
        answer = self._call(role, "DELETE /v1/projects/{project}/secrets/{secret}", project=project, secret=name)
        if answer is not None:
            there = self.secrets.pop((project, name), None)
            assert answer.status_code == (404 if there is None else 204), answer.text

    @rule(role=ROLES, project=PROJECTS)
    def make_key(self, role: Role, project: str) -> None:
        """A key for a project's services."""
        answer = self._call(role, "POST /v1/keys", {"project": project})
        if answer is not None and answer.status_code == 201:
            self.api_keys.add(answer.json()["id"])
        elif answer is not None:
            assert project not in self.projects, answer.text

    @rule(role=ROLES, data=st.data())
    def remove_key(self, role: Role, data: st.DataObject) -> None:
        """A key that is gone is not there any more."""
        key = data.draw(st.sampled_from([*sorted(self.api_keys), "key-of-nobody"]))
        answer = self._call(role, "DELETE /v1/keys/{key}", key=key)
        if answer is not None:
            assert answer.status_code == (204 if key in self.api_keys else 404), answer.text
            self.api_keys.discard(key)

    @rule(role=ROLES, made=ROLES)
    def make_token(self, role: Role, made: Role) -> None:
        """A token, which opens the door at once."""
        answer = self._call(role, "POST /v1/tokens", {"name": "made", "role": made.value})
        if answer is not None:
            assert answer.status_code == 201, answer.text
            self.tokens[answer.json()["id"]] = False
            self.texts[answer.json()["id"]] = answer.json()["secret"]

    @rule(role=ROLES, data=st.data())
    def revoke_token(self, role: Role, data: st.DataObject) -> None:
        """A token that is revoked opens no door any more; the same again is the same."""
        token = data.draw(st.sampled_from([*sorted(self.texts), "token-of-nobody"]))
        answer = self._call(role, "DELETE /v1/tokens/{token}", token=token)
        if answer is not None:
            assert answer.status_code == (200 if token in self.texts else 404), answer.text
            if token in self.texts:
                self.tokens[token] = True

    # What is so at any time.

    @invariant()
    def what_is_listed_is_what_was_made(self) -> None:
        """Nothing is lost, nothing is there twice, and what was refused has changed nothing."""
        projects = {one["name"]: (one["version"], one["weight"]) for one in self._get("/v1/projects")["items"]}
        assert projects == {name: (one["version"], one["weight"]) for name, one in self.projects.items()}
        listed = [one for one in self._get("/v1/jobs?limit=1000")["items"] if one["id"] in self.jobs]
        assert {one["id"]: one["state"] for one in listed} == {key: job["state"] for key, job in self.jobs.items()}
        assert len(listed) == len(self.jobs)
        services = {one["id"]: (one["version"], one["state"]) for one in self._get("/v1/services")["items"]}
        assert services == {one["id"]: (one["version"], one["state"]) for one in self.services.values()}
        assert {one["id"] for one in self._get("/v1/keys")["items"]} == self.api_keys
        told = {one["id"]: one["revoked_at"] is not None for one in self._get("/v1/tokens?limit=1000")["items"]}
        assert told == self.tokens

    @invariant()
    def secrets_are_listed_by_their_newest_version(self) -> None:
        """Of each project; one that is gone has no list."""
        for project in ("default", "red", "blue"):
            answer = self.client.get(f"/v1/projects/{project}/secrets", headers=BEARER)
            assert answer.status_code == (200 if project in self.projects else 404), answer.text
            if answer.status_code == 200:
                found = {one["name"]: one["version"] for one in answer.json()["items"]}
                assert found == {ref[1]: max(of) for ref, of in self.secrets.items() if ref[0] == project}

    @invariant()
    def tokens_open_the_door_until_they_are_revoked(self) -> None:
        """And no longer."""
        for token, text in self.texts.items():
            answer = self.client.get("/v1/sessions/current", headers={"Authorization": f"Bearer {text}"})
            assert answer.status_code == (401 if self.tokens[token] else 200), answer.text
