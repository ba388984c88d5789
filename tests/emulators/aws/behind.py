"""moto in this process, and the calls that reach it. Its state is one for the process, so an emulator resets it."""

import json
import os
from collections.abc import Collection
from functools import cache, cached_property
from typing import Any
from urllib.parse import parse_qsl, urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from starlette.responses import Response
from werkzeug.test import Client, TestResponse

from tests.emulators.emulator import API_KEY

os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
"""moto makes 1,300 of them for each region and keeps them past each reset."""

_FORM = "application/x-www-form-urlencoded; charset=utf-8"


class Call:
    """One request of boto3's; its signature's scope says which service and region it is for."""

    def __init__(self, url: str, headers: dict[str, str], body: bytes) -> None:
        self._url, self._headers, self._body = url, headers, body
        parts = dict(part.split("=", 1) for part in headers.get("authorization", "").split(" ", 1)[-1].split(", "))
        self._signed, self._signature = parts["SignedHeaders"].split(";"), parts["Signature"]
        self.access_key_id, _, self.region, self.service, _ = parts["Credential"].split("/")

    @property
    def action(self) -> str:
        """What is asked for."""
        return self._headers.get("x-amz-target", "").partition(".")[2] or self.form.get("Action", "")

    @cached_property
    def form(self) -> dict[str, str]:
        """The parameters of a query."""
        return dict(parse_qsl(self._body.decode(), keep_blank_values=True))

    @property
    def json(self) -> Any:
        """The body of a service that speaks JSON."""
        return json.loads(self._body)

    def is_signed_by(self, access_key_id: str) -> bool:
        """Whether the signature is that of the emulator's account: computed again, as AWS does."""
        headers = {name: self._headers[name] for name in self._signed}
        request = AWSRequest("POST", self._url, headers=headers, data=self._body)
        request.context["timestamp"] = self._headers["x-amz-date"]
        signer = SigV4Auth(Credentials(access_key_id, API_KEY), self.service, self.region)
        text = signer.string_to_sign(request, signer.canonical_request(request))
        return self.access_key_id == access_key_id and signer.signature(text, request) == self._signature

    def forwarded(self, **changed: str) -> Response:
        """moto's answer, to the same query with some parameters changed."""
        answer = forward(self.service, self.region, urlencode(self.form | changed).encode())
        return Response(answer.data, answer.status_code, media_type="text/xml")

    def key(self) -> tuple[str, str, bytes]:
        """What an answer that never changes depends on."""
        return self.service, self.region, self._body


@cache
def _client() -> Client:
    return Client(DomainDispatcherApplication(create_backend_app))


def forward(service: str, region: str, body: bytes) -> TestResponse:
    """Ask moto; it takes any signature, but finds the service by it."""
    request = AWSRequest("POST", "http://127.0.0.1/", headers={"Content-Type": _FORM}, data=body)
    SigV4Auth(Credentials("emulated", "emulated"), service, region).add_auth(request)
    headers = dict(request.headers.items())
    return _client().open("/", method="POST", data=body, headers=headers, base_url="http://127.0.0.1/")


def cached(call: Call) -> bytes:
    """moto's answer to a query about its fixed data, which takes it long to find."""
    return _fixed(*call.key())


@cache
def _fixed(service: str, region: str, body: bytes) -> bytes:
    return bytes(forward(service, region, body).data)


def forget(region: str, instance_ids: Collection[str]) -> None:
    """Keep these machines no longer; moto alone would list them for ever, each page of them slowly."""
    reservations = ec2_backends[DEFAULT_ACCOUNT_ID][region].reservations
    for reservation_id, reservation in list(reservations.items()):
        reservation.instances = [each for each in reservation.instances if each.id not in instance_ids]
        if not reservation.instances:
            del reservations[reservation_id]


def reset() -> None:
    """Forget every machine."""
    _client().post("/moto-api/reset")
