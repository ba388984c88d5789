"""From an account's options and secret to the official client's configuration: where the API server is, who asks."""

import re
from typing import Any
from urllib.parse import urlsplit

from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.wire import plain_yaml
from godwit.providers.kubernetes_pods.options import Options
from kubernetes import client, config

IN_CLUSTER = "in-cluster"

_TOKEN = re.compile(r"[!-~]+")
"""Printable ASCII without a space: what may follow "Bearer" in a header (RFC 9110, section 11.2, is narrower)."""


OUTSIDE = frozenset({"exec", "auth-provider", "tokenFile", "client-certificate", "client-key", "certificate-authority"})
"""What of a kubeconfig names programs and files (kubernetes.io, "kubeconfig (v1)", 2026-11-20); with `-data` behind it
the last three hold what they say themselves."""


def configured(options: Options, access: str) -> Any:
    """The client's configuration from the secret: a token when there is an address, `IN_CLUSTER`, or a kubeconfig.

    White space around a token does not count, since files end with a line break. Raises `InvalidRequest` when the
    secret leads to no cluster.
    """
    made = client.Configuration()
    made.retries = False
    try:
        if options.url is not None:
            made.host, made.ssl_ca_cert = options.url.rstrip("/"), options.ca_file
            made.api_key = {"authorization": f"Bearer {_token(access)}"}
        elif access.strip() == IN_CLUSTER:
            config.load_incluster_config(client_configuration=made)
        else:
            _load(access, options.context, made)
    except (config.ConfigException, plain_yaml.NotPlain, AttributeError, TypeError) as wrong:
        # Not from the cause: a parser's message quotes what it read, and that is a secret.
        what = (
            "no cluster: give a kubeconfig with its token or certificates in it (kubectl config view --raw --flatten "
            f"makes one), or a token and url, or the word {IN_CLUSTER}"
        )
        raise InvalidRequest(problems=[Problem(("access",), f"{what} ({type(wrong).__name__})")]) from None
    if (urlsplit(made.host).hostname or "").startswith("127."):
        made.proxy = None
    return made


def _token(access: str) -> str:
    """The token alone. Anything else would fail in the HTTP client, with a message that quotes it."""
    token = access.strip()
    if _TOKEN.fullmatch(token) is None:
        told = "with url, access is a token: one line of printable characters without spaces"
        raise InvalidRequest(problems=[Problem(("access",), told)])
    return token


def _load(kubeconfig: str, context: str | None, into: Any) -> None:
    content = plain_yaml.load(kubeconfig)
    if not isinstance(content, dict):
        raise config.ConfigException("the kubeconfig is not a mapping")
    told = [one.get("user") for one in content.get("users") or []]
    told += [one.get("cluster") for one in content.get("clusters") or []]
    # Whoever may add a provider must not by that run programs, or send off files, where the control plane runs.
    if any(OUTSIDE & set(one or {}) for one in told):
        raise config.ConfigException("the kubeconfig's credentials lie outside of it")
    config.load_kube_config_from_dict(content, context=context, client_configuration=into, persist_config=False)
