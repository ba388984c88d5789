"""What a process is given by its environment: values, and secrets that lie in files."""

from collections.abc import Callable, Mapping

from godwit.domain.errors import InvalidRequest

CHARACTERS_MAX = 64 * 1024
"""Keys, tokens and addresses are far shorter; a folder of certificates or a wrong path is found by it."""


def secret(env: Mapping[str, str], name: str, read: Callable[[str], str]) -> str:
    """The variable `name`, or what the file holds that `name`_FILE names, without white space around; "" without both.

    Docker and Kubernetes mount secrets as files, which no inspection of a container or process shows. `read` takes the
    path. Raises `InvalidRequest` when both are set, or the file cannot be read, is empty or far too long.
    """
    value, path = env.get(name, ""), env.get(f"{name}_FILE", "")
    if not path:
        return value
    if value:
        raise InvalidRequest(f"{name} and {name}_FILE are both set; leave one of them out")
    try:
        held = read(path).strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidRequest(f"{name}_FILE names {path}, which cannot be read: {exc}") from exc
    if not held or len(held) > CHARACTERS_MAX:
        raise InvalidRequest(f"{name}_FILE names {path}, which holds {len(held)} characters; write the secret into it")
    return held
