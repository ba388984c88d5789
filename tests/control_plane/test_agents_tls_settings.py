"""The `agents_tls:` section of config.yaml."""

from pathlib import Path

import pytest
from godwit.control_plane import agents_tls, settings
from godwit.control_plane.agents_tls import AgentsTls
from godwit.domain.errors import InvalidRequest

PATH = Path("config.yaml")


def test_without_the_section_there_is_no_listener() -> None:
    assert agents_tls.read(None, None, "127.0.0.1", PATH) is None


def test_an_empty_section_is_a_listener_for_agents_of_this_machine() -> None:
    read = agents_tls.read({}, None, "127.0.0.1", PATH)
    assert read == AgentsTls("", "127.0.0.1", 0, (), required=True)
    assert read.hosts() == ["127.0.0.1"]


def test_it_listens_where_the_other_one_does_unless_told_and_the_environment_gives_the_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GODWIT_AGENTS_PORT", "7466")
    (tmp_path / "config.yaml").write_text(
        "listen: 10.0.0.1\nagents_tls: {url: 'https://a.example.com:7465', names: [10.0.0.7], required: false}\n"
    )
    read = settings.read(tmp_path).agents_tls
    assert read == AgentsTls("https://a.example.com:7465", "10.0.0.1", 7466, ("10.0.0.7",), required=False)
    assert read.hosts() == ["a.example.com", "10.0.0.7"]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ([], "must hold keys and values"),
        ({"nmaes": []}, "did you mean names"),
        ({"url": "http://a:1"}, "https://HOST:PORT"),
        ({"url": "https://a"}, "https://HOST:PORT"),
        ({"url": "https://u:p@a:1"}, "https://HOST:PORT"),
        ({"url": "https://a:99999"}, "https://HOST:PORT"),
        ({"url": f"https://{'a' * 300}:1"}, "https://HOST:PORT"),
        ({"port": 70_000}, "0 to 65535"),
        ({"port": True}, "0 to 65535"),
        ({"listen": "::1"}, "IPv4"),
        ({"names": ["a b"]}, "a list of at most"),
        ({"names": "a"}, "a list of at most"),
        ({"required": "no"}, "true or false"),
    ],
)
def test_what_cannot_be_is_refused_in_words(section: object, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        agents_tls.read(section, None, "127.0.0.1", PATH)
