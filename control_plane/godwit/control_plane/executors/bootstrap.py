"""The startup script: what a fresh machine runs, once, to become a node.

One text for every style of machine, in startup.sh: under cloud-init, in a container, over SSH and on this computer it
differs only in what it finds there. The tightest cloud cuts such scripts at 4,048 characters (Vast.ai's documentation,
August 2026), so comments and indents stay here.
"""

import hashlib
import shlex
from pathlib import Path

_BODY = "".join(
    f"{line}\n"
    for line in map(str.strip, Path(__file__).with_name("startup.sh").read_text().splitlines())
    if line and not line.startswith("# ")
)


def startup_script(url: str, join_token: str, agent_package: str, *, spot: bool = False, tls: bool = False) -> str:
    """The script for one machine; the join token is the only secret in it, and it works once.

    `agent_package` is what pip is told to install where no Python has the agent. What the machine's image sets
    (GODWIT_PYTHON, GODWIT_NODE_DIR, GODWIT_NODE_ADDRESS) wins over what the script finds out. On a `spot` machine
    the agent takes SIGTERM for its end. With `tls` it asks at `url` where agents' own listener is, and joins there.
    """
    venv = f"venv-{hashlib.sha256(agent_package.encode()).hexdigest()[:8]}"
    head = (
        "#!/bin/sh\n"
        f"export GODWIT_URL={shlex.quote(url)} GODWIT_JOIN_TOKEN={shlex.quote(join_token)}"
        f"{' GODWIT_SPOT=1' if spot else ''}{' GODWIT_TLS=1' if tls else ''}\n"
        f"package={shlex.quote(agent_package)} venv={venv}\n"
    )
    return head + _BODY
