"""What an account's secret leads to, and what of it no error may repeat."""

from typing import Any

import pytest
from godwit.domain.errors import InvalidRequest
from godwit.providers.kubernetes_pods.access import configured
from godwit.providers.kubernetes_pods.options import Options, parse


def _options(**given: Any) -> Options:
    return parse({"image": "godwit:1", "prices": {"H100-SXM": 2.0}, **given}, {})


def test_a_kubeconfig_leads_to_its_context_and_a_url_with_a_token_to_that() -> None:
    text = (
        "current-context: a\nusers: [{name: u, user: {token: secret}}]\n"
        "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:9'}}, {name: b, cluster: {server: 'http://127.0.0.1:10'}}]\n"
        "contexts: [{name: a, context: {cluster: a, user: u}}, {name: b, context: {cluster: b, user: u}}]\n"
    )
    assert configured(_options(), text).host == "http://127.0.0.1:9"
    assert configured(_options(context="b"), text).host == "http://127.0.0.1:10"
    chosen = configured(_options(url="https://k.example"), "secret")
    assert (chosen.host, chosen.verify_ssl) == ("https://k.example", True)


NO_CLUSTERS = ["", "- a list", "{}", "clusters: []", "a: b: c", "in-cluster", "users: [1]"]


@pytest.mark.parametrize("kubeconfig", NO_CLUSTERS)
def test_what_leads_to_no_cluster_is_refused_with_what_to_do(kubeconfig: str) -> None:
    with pytest.raises(InvalidRequest, match="give a kubeconfig"):
        configured(_options(), kubeconfig)


OUTSIDE = (
    ("exec: {command: touch, args: [never]}", ""), ("tokenFile: /etc/shadow", ""), ("auth-provider: {}", ""),
    ("client-certificate: /etc/ssl/a.pem", ""), ("client-key: /etc/ssl/a.key", ""),
    ("token: t", ", certificate-authority: /etc/ssl/ca.pem"),
)  # fmt: skip


@pytest.mark.parametrize(("user", "cluster"), OUTSIDE, ids=lambda said: said.strip(", ").partition(":")[0])
def test_a_kubeconfig_runs_no_program_and_reads_no_file_of_the_control_planes_machine(user: str, cluster: str) -> None:
    text = (
        f"current-context: a\nusers: [{{name: u, user: {{{user}}}}}]\n"
        f"clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:9'{cluster}}}}}]\n"
        "contexts: [{name: a, context: {cluster: a, user: u}}]\n"
    )
    with pytest.raises(InvalidRequest, match="a kubeconfig with its token or certificates in it"):
        configured(_options(), text)


@pytest.mark.parametrize("written", ["secret", "secret\n", "  secret\r\n"])
def test_white_space_around_a_token_does_not_count(written: str) -> None:
    chosen = configured(_options(url="https://k.example/"), written)
    assert chosen.api_key == {"authorization": "Bearer secret"}
    assert chosen.host == "https://k.example", "a double slash leads to no API"


@pytest.mark.parametrize("written", ["", "two words", "two\nlines", "s\u00e9cret", "apiVersion: v1\nkind: Config"])
def test_what_can_be_no_token_is_refused_without_being_repeated(written: str) -> None:
    with pytest.raises(InvalidRequest, match="one line of printable characters") as caught:
        configured(_options(url="https://k.example"), written)
    assert not written or written not in str(caught.value)
