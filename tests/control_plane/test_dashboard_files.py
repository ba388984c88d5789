"""The dashboard's files are all that anybody gets from its folder, with headers that keep other sites out."""

from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.api import dashboard
from godwit.control_plane.api.app import create_app
from godwit.control_plane.api.state import State

from tests.control_plane.apis import accounts_of, client_of
from tests.control_plane.world import World

SECRET = "beside the folder"


@pytest.fixture
def client(embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The API with a dashboard of two files, beside which lies what is nobody's business."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>index</title>")
    (folder / "assets" / "a.js").write_text("1")
    (folder / "assets" / "way").symlink_to(tmp_path)
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "static-secret").write_text(SECRET)
    monkeypatch.setattr(dashboard, "FOLDER", folder)
    return client_of(embedded)


@pytest.mark.parametrize(
    "path",
    [
        "../secret", "..%2fsecret", "%2e%2e/secret", "assets/../../secret", "assets/..%2f..%2fsecret",
        "assets/way/secret", "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "../static-secret", "..%5csecret",
        "....//secret", "a%00/../secret", "%252e%252e/secret", "assets/a.js/../../../secret", "\u2025/secret",
        "a" * 5_000, "file:///etc/passwd",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_folder(client: TestClient, path: str) -> None:
    answer = client.get(f"/ui/{path}")
    assert SECRET not in answer.text
    assert "root:" not in answer.text
    assert answer.status_code in {200, 404}


def test_every_answer_keeps_other_sites_out(client: TestClient) -> None:
    for path in ("/", "/ui", "/ui/", "/ui/jobs/x", "/ui/assets/a.js", "/ui/assets/gone.js"):
        headers = client.get(path, follow_redirects=False).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" not in headers, "it would lock out who comes over plain HTTP to loopback"


def test_who_came_over_tls_comes_back_over_tls(client: TestClient, embedded: World) -> None:
    assert "strict-transport-security" in client.get("https://testserver/ui/").headers
    context = replace(embedded.context, url="https://godwit.example")
    state = State(context, embedded.shelf, embedded.logs, accounts_of(embedded), dict)
    assert "strict-transport-security" in TestClient(create_app(state)).get("/ui/").headers


@pytest.mark.parametrize(
    "digest", ["..%2f..%2fsecret", "../secret", "a" * 63, "A" * 64, "a" * 64 + "%0a", "%2e%2e", "*"]
)
def test_an_archive_is_asked_for_by_a_digest_and_nothing_else(client: TestClient, digest: str) -> None:
    for method in ("HEAD", "PUT"):
        assert client.request(method, f"/v1/archives/{digest}", content=b"x").status_code in {404, 405, 422}


@pytest.mark.parametrize("job", ["..%2f..%2fetc", "../../etc/passwd", "%2e%2e", "a%2fb", "a%00b", "a%0ab"])
def test_no_name_of_a_job_leads_to_a_file(client: TestClient, job: str) -> None:
    answer = client.get(f"/v1/jobs/{job}/logs")
    assert answer.status_code in {404, 422}
