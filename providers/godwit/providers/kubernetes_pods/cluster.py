"""One cluster's API server through the official client, called once: errors sorted by what the caller does next.

Answers are read as JSON and not into the client's models, so that a field or a word that the client does not know
cannot break a listing.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import urllib3
from godwit.domain import errors
from godwit.providers.kubernetes_pods import refusals
from godwit.providers.kubernetes_pods.access import configured
from godwit.providers.kubernetes_pods.options import Options
from godwit.providers.kubernetes_pods.rights import Right
from kubernetes import client, config, watch
from pydantic import ValidationError

Json = dict[str, Any]

PAGE_LIMIT = 500
"""Objects asked for at once, as kubectl does."""

MAX_RELISTS = 3
"""How often a list is begun anew because its continue token expired: it lives five minutes, so twice is odd already."""

MAX_PAGES = 1_000

_NOTHING_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)


class Cluster:
    """One namespace of one cluster. Safe to call from several threads."""

    def __init__(self, name: str, options: Options, access: str) -> None:
        self.name, self.namespace = name, options.namespace
        configuration = configured(options, access)
        self.host = str(configuration.host)
        # A pair, since clients before version 36 silently ignore a number that is no int.
        self._timeouts_s = (options.timeout_s, options.timeout_s)
        self._api = client.ApiClient(configuration)
        self._core = client.CoreV1Api(self._api)
        self._reviews = client.AuthorizationV1Api(self._api)

    def __repr__(self) -> str:
        return f"Cluster({self.name!r}, {self.host!r}, {self.namespace!r})"

    def close(self) -> None:
        """Close the connections; it cannot be used afterwards."""
        self._api.rest_client.pool_manager.clear()

    def nodes(self) -> list[Json]:
        """Every node of the cluster."""
        return self._list(self._core.list_node)

    def live_pods(self) -> list[Json]:
        """Every pod of the cluster that has not ended, of all namespaces: what takes up room."""
        live = "status.phase!=Succeeded,status.phase!=Failed"
        return self._list(self._core.list_pod_for_all_namespaces, field_selector=live)

    def pods(self, label: str) -> list[Json]:
        """The namespace's pods that have this label."""
        return self._list(self._core.list_namespaced_pod, self.namespace, label_selector=label)

    def quotas(self) -> list[Json]:
        """The namespace's resource quotas."""
        return self._list(self._core.list_namespaced_resource_quota, self.namespace)

    def allows(self, right: Right) -> bool:
        """Whether the account has this right. Anybody may ask, unless the cluster's own rules were cut down."""
        where = {} if right.everywhere else {"namespace": self.namespace}
        asked = {"verb": right.verb, "group": "", "resource": right.resource, **where}
        body = {"spec": {"resourceAttributes": asked}}
        review = cast("Json", self._ask(self._reviews.create_self_subject_access_review, body))
        return bool((review.get("status") or {}).get("allowed"))

    def pod(self, name: str) -> Json | None:
        """One pod; None when there is none."""
        return self._ask(self._core.read_namespaced_pod, name, self.namespace, missing_is_fine=True)

    def create(self, pod: Json) -> Json:
        """Make a pod. Raises `Exists` when that name was used before."""
        made = self._ask(self._core.create_namespaced_pod, self.namespace, pod, launching=True)
        return cast("Json", made)

    def delete(self, name: str, unchanged: Json | None = None) -> None:
        """Ask for a pod's end; one that is gone is no error. Raises `Changed` unless it still is as `unchanged`."""
        body: Json = {}
        if unchanged is not None:
            seen = unchanged["metadata"]
            body = {"preconditions": {"uid": seen["uid"], "resourceVersion": seen["resourceVersion"]}}
        self._ask(self._core.delete_namespaced_pod, name, self.namespace, body=body, missing_is_fine=True)

    def changes(self, pod: Json, seconds: float) -> Iterator[Json]:
        """The later states of a pod, as they come, until it is deleted or none came for `seconds`.

        A watch is a convenience: whatever ends it early (410 Gone, a cut) ends the iteration, and listings tell the
        rest.
        """
        meta = pod["metadata"]
        stream = watch.Watch(return_type="object").stream(
            self._core.list_namespaced_pod, self.namespace, field_selector=f"metadata.name={meta['name']}",
            resource_version=meta["resourceVersion"], timeout_seconds=math.ceil(seconds), allow_watch_bookmarks=True,
            _request_timeout=(self._timeouts_s[0], seconds),
        )  # fmt: skip
        ends = time.monotonic() + seconds
        try:
            for event in stream:
                if event["type"] == "DELETED" or time.monotonic() >= ends:
                    return
                if event["type"] in {"ADDED", "MODIFIED"}:
                    yield event["object"]
        except (client.ApiException, urllib3.exceptions.HTTPError):
            return

    def _list(self, call: Callable[..., Any], *args: Any, **selectors: Any) -> list[Json]:
        """Every object, page by page. An expired continue token means that the list is begun anew."""
        for _ in range(MAX_RELISTS):
            found = self._pages(call, *args, **selectors)
            if found is not None:
                return found
        raise errors.ProviderUnavailable(f"{self.name}: the list expired {MAX_RELISTS} times while it was read")

    def _pages(self, call: Callable[..., Any], *args: Any, **selectors: Any) -> list[Json] | None:
        found: list[Json] = []
        more: dict[str, Any] = {}
        for _ in range(MAX_PAGES):
            try:
                page = cast("Json", self._ask(call, *args, limit=PAGE_LIMIT, **selectors, **more))
            except refusals.Expired:
                return None
            found += page["items"] or []
            token = page["metadata"].get("continue")
            if not token:
                return found
            more = {"_continue": token}
        raise errors.ProviderUnavailable(f"{self.name}: a list of more than {MAX_PAGES} pages does not end")

    def _ask(
        self,
        call: Callable[..., Any],
        *args: Any,
        launching: bool = False,
        missing_is_fine: bool = False,
        **kwargs: Any,
    ) -> Json | None:
        doubt = errors.UnknownOutcome if launching else errors.ProviderUnavailable
        try:
            answer = call(*args, **kwargs, _preload_content=False, _request_timeout=self._timeouts_s)
            status, text, headers = answer.status, answer.data, answer.headers
        except client.ApiException as refused:
            if not refused.status:  # TLS: no request was sent
                raise errors.ProviderUnavailable(f"{self.name} cannot be reached: {refused.reason}") from refused
            status, text, headers = refused.status, refused.body, refused.headers
        except _NOTHING_SENT as exc:
            raise errors.ProviderUnavailable(f"{self.name} cannot be reached: {type(exc).__name__}") from exc
        except urllib3.exceptions.HTTPError as exc:
            raise doubt(f"{self.name} did not answer: {type(exc).__name__}") from exc
        except ValidationError as wrong:  # the client refuses to send it; its words quote the values, a script's too
            fields = ", ".join(sorted({".".join(str(part) for part in each["loc"]) for each in wrong.errors()}))
            raise errors.RequestRejected(f"{self.name}: nothing sent: not as the API has it: {fields}") from None
        except config.ConfigException as exc:
            raise errors.CredentialsRejected(f"{self.name}: the kubeconfig yields no credentials") from exc
        if status == 404 and missing_is_fine:
            return None
        body = _json(text)
        if 200 <= status < 300 and body is not None:
            return body
        if 200 <= status < 300:
            raise doubt(f"{self.name} sent an answer that is not JSON")
        raise refusals.read(self.name, status, body or {}, headers or {}, launching=launching)


def _json(text: Any) -> Json | None:
    try:
        body = json.loads(text or "")
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
