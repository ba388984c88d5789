"""What a release is made of, as a CycloneDX document: `python -m deploy.supply.sbom FILE` (CycloneDX 1.6, ECMA-424).

The Python part is what is installed here and needed by `godwit` with its extras, found by following requirements from
package to package; what else lies in the environment, such as tools for tests, is left out. The dashboard's part is its
package-lock.json: what is in its bundle, and, as `excluded`, what only builds it.
"""

import base64
import importlib.metadata
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "control_plane" / "dashboard" / "package-lock.json"
EXTRAS = ("server", "gateway", "agent", "traces", "postgres", "celery", "s3", "kubernetes", "aws", "nebius", "ssh")
"""What images and machines run; tools for development and examples are not of a release."""

_DIGESTS = {"sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}

Component = dict[str, Any]


def document(lock: Mapping[str, Any], now: datetime, serial: str) -> dict[str, Any]:
    """The whole document. Raises `importlib.metadata.PackageNotFoundError` where godwit itself is not installed."""
    own = importlib.metadata.distribution("godwit")
    python, needs = installed("godwit", EXTRAS)
    bundle = list(locked(lock))
    needs["godwit"] = [*needs.get("godwit", []), *(c["bom-ref"] for c in bundle if c["scope"] == "required")]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "application", "bom-ref": "godwit", "name": "godwit", "version": own.version},
        },
        "components": [*python, *bundle],
        "dependencies": [{"ref": ref, "dependsOn": sorted(set(on))} for ref, on in sorted(needs.items())],
    }


def installed(root: str, extras: Iterable[str]) -> tuple[list[Component], dict[str, list[str]]]:
    """The packages that `root` with its extras needs and that are installed, and which of them needs which."""
    found: dict[str, Component] = {}
    needs: dict[str, list[str]] = {}
    waiting, seen = [(root, frozenset(extras))], set[tuple[str, frozenset[str]]]()
    while waiting:
        name, wanted = waiting.pop()
        distribution = _distribution(name)
        if distribution is None or (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        ref = name if name == root else _purl("pypi", name, distribution.version)
        if name != root:
            found[name] = _python(name, ref, distribution)
        for needed in _requirements(distribution, wanted):
            its = _distribution(canonicalize_name(needed.name))
            waiting.append((canonicalize_name(needed.name), frozenset(needed.extras)))
            if its is not None and canonicalize_name(needed.name) != root:
                needs.setdefault(ref, []).append(_purl("pypi", canonicalize_name(needed.name), its.version))
    return [found[name] for name in sorted(found)], needs


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    """None for what is needed on other systems only, and so is not here."""
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements(of: importlib.metadata.Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    for text in of.requires or ():
        needed = Requirement(text)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield needed


def _python(name: str, ref: str, of: importlib.metadata.Distribution) -> Component:
    licence = "".join(of.metadata.get_all("License-Expression") or ()).strip()
    component = {"type": "library", "bom-ref": ref, "name": name, "version": of.version, "purl": ref}
    if licence:
        return {**component, "licenses": [{"expression": licence}], "scope": "required"}
    named = [line.rsplit(" :: ", 1)[-1] for line in of.metadata.get_all("Classifier") or () if "License ::" in line]
    licences = {"licenses": [{"license": {"name": one}} for one in sorted(set(named))]} if named else {}
    return {**component, **licences, "scope": "required"}


def locked(lock: Mapping[str, Any]) -> Iterator[Component]:
    """The packages of a package-lock.json (version 3), each version once."""
    seen = set[str]()
    for path, entry in sorted(lock.get("packages", {}).items()):
        name = entry.get("name") or path.rpartition("node_modules/")[2]
        if not path or not entry.get("version"):
            continue
        ref = _purl("npm", name, entry["version"])
        if ref in seen:
            continue
        seen.add(ref)
        component = {"type": "library", "bom-ref": ref, "name": name, "version": entry["version"], "purl": ref}
        hashes = [_hash(one) for one in str(entry.get("integrity", "")).split()]
        licences = [{"license": {"name": entry["license"]}}] if isinstance(entry.get("license"), str) else []
        scope = "excluded" if entry.get("dev") or entry.get("devOptional") else "required"
        yield {**component, "scope": scope, "hashes": hashes, "licenses": licences}


def _hash(integrity: str) -> dict[str, str]:
    kind, _, text = integrity.partition("-")
    return {"alg": _DIGESTS[kind], "content": base64.b64decode(text).hex()}


def _purl(kind: str, name: str, version: str) -> str:
    return f"pkg:{kind}/{quote(name, safe='/')}@{quote(version, safe='')}"


def main(arguments: list[str]) -> int:
    """Write the document of this environment."""
    if len(arguments) != 1:
        print("usage: python -m deploy.supply.sbom FILE", file=sys.stderr)
        return 2
    made = document(json.loads(LOCK.read_text()), datetime.now(UTC), str(uuid4()))
    Path(arguments[0]).parent.mkdir(parents=True, exist_ok=True)
    Path(arguments[0]).write_text(json.dumps(made, indent=1) + "\n")
    print(f"{arguments[0]}: {len(made['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
