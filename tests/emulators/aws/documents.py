"""What EC2, its price list and its quotas answer, as text: made here, or moto's with a part of it changed."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from godwit.providers.simulated.catalogue import Shape

_SPACE = "http://ec2.amazonaws.com/doc/2016-11-15"
_IN = {"a": _SPACE}
ET.register_namespace("", _SPACE)

_STATE_CODES = {"pending": "0", "running": "16", "shutting-down": "32", "terminated": "48"}

QUOTAS = [
    {"ServiceCode": "ec2", "QuotaCode": "L-417A185B", "QuotaName": "Running On-Demand P instances", "Value": 384.0},
    {"ServiceCode": "ec2", "QuotaCode": "L-0E3CBAB9", "QuotaName": "Routes per transit gateway", "Value": 10_000.0},
]


def error(code: str, message: str) -> bytes:
    """A refusal as EC2 words it, which boto3 reads for STS too."""
    root = ET.Element("Response")
    fault = ET.SubElement(ET.SubElement(root, "Errors"), "Error")
    ET.SubElement(fault, "Code").text, ET.SubElement(fault, "Message").text = code, message
    ET.SubElement(root, "RequestID").text = "request-id"
    return bytes(ET.tostring(root))


def listing(action: str, holder: str, items: Iterable[Mapping[str, Any]], next_token: str = "") -> bytes:
    """An answer that lists flat items."""
    root = ET.Element(f"{action}Response", xmlns=_SPACE)
    rows = ET.SubElement(root, holder)
    for item in items:
        row = ET.SubElement(rows, "item")
        for key, value in item.items():
            ET.SubElement(row, key).text = str(value)
    if next_token:
        ET.SubElement(root, "nextToken").text = next_token
    return bytes(ET.tostring(root))


def instance_id(text: bytes) -> str:
    """The machine that an answer to a launch names."""
    return str(ET.fromstring(text).findtext(".//a:instanceId", "", _IN))


def with_states(text: bytes, states: Mapping[str, str], hidden: Collection[str], reasons: Mapping[str, str]) -> bytes:
    """A listing of machines with other states, some of them left out."""
    root = ET.fromstring(text)
    reservations = root.find("a:reservationSet", _IN)
    for reservation in list(reservations if reservations is not None else ()):
        machines = reservation.find("a:instancesSet", _IN)
        assert machines is not None
        for machine in list(machines):
            _show(machine, states, reasons)
            if machine.findtext("a:instanceId", "", _IN) in hidden:
                machines.remove(machine)
        if len(machines) == 0 and reservations is not None:
            reservations.remove(reservation)
    return bytes(ET.tostring(root))


def _show(machine: ET.Element, states: Mapping[str, str], reasons: Mapping[str, str]) -> None:
    name = machine.findtext("a:instanceId", "", _IN)
    state, code = machine.find("a:instanceState/a:name", _IN), machine.find("a:instanceState/a:code", _IN)
    if name in states and state is not None and code is not None:
        state.text, code.text = states[name], _STATE_CODES.get(states[name], "80")
    reason = machine.find("a:stateReason/a:code", _IN)
    if name in reasons and reason is not None:
        reason.text = reasons[name]


def only(text: bytes, key: str, values: Collection[str]) -> bytes:
    """A listing with only the items that have one of these values."""
    root = ET.fromstring(text)
    for rows in list(root):
        for item in list(rows):
            if item.findtext(f"a:{key}", "", _IN) not in values:
                rows.remove(item)
    return bytes(ET.tostring(root))


def only_sold(text: bytes, sold: Collection[tuple[str, str]]) -> bytes:
    """A listing of types by zone with only the pairs that are sold."""
    root = ET.fromstring(text)
    for rows in list(root):
        for item in list(rows):
            if (item.findtext("a:instanceType", "", _IN), item.findtext("a:location", "", _IN)) not in sold:
                rows.remove(item)
    return bytes(ET.tostring(root))


def spot_items(shapes: Sequence[Shape], now: float) -> list[dict[str, Any]]:
    """A history: for each shape the present price, then one of an hour ago that no longer holds."""
    return [
        {
            "instanceType": shape.instance_type,
            "productDescription": "Linux/UNIX",
            "spotPrice": f"{(shape.spot_price_usd_per_hour or 0.0) * factor:.6f}",
            "timestamp": datetime.fromtimestamp(now - age_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "availabilityZone": shape.zone,
        }
        for shape in shapes
        for factor, age_s in ((1.0, 60.0), (3.0, 3600.0))
    ]


def price_list(shapes: Iterable[Shape], asked: Mapping[str, str]) -> list[str]:
    """The price list's entries that match all of `asked`: beside each plain price lie some that are not meant."""
    variants: tuple[tuple[dict[str, str], float], ...] = (
        ({}, 1.0), ({"marketoption": "CapacityBlock"}, 0.0), ({"operatingSystem": "Windows"}, 1.4),
        ({"capacitystatus": "UnusedCapacityReservation"}, 1.0), ({"tenancy": "Dedicated"}, 1.1),
        ({"preInstalledSw": "SQL Web"}, 1.7),
    )  # fmt: skip
    entries = [
        (_attributes(shape) | change, shape.price_usd_per_hour * by) for shape in shapes for change, by in variants
    ]
    return [
        json.dumps({"product": {"attributes": attributes}, "terms": {"OnDemand": {"T": {"priceDimensions": {"D": {
            "unit": "Hrs", "pricePerUnit": {"USD": repr(usd)}}}}}}})
        for attributes, usd in entries
        if all(attributes.get(key) == value for key, value in asked.items())
    ]  # fmt: skip


def _attributes(shape: Shape) -> dict[str, str]:
    return {
        "instanceType": shape.instance_type, "regionCode": shape.region, "instanceFamily": "GPU instance",
        "operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used",
        "marketoption": "OnDemand",
    }  # fmt: skip
