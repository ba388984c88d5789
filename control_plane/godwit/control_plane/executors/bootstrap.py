"""The startup script: what a fresh machine runs, once, to become a node."""

import shlex

SCRIPT = """\
#!/bin/sh
# Starts the godwit agent, and again when it dies; it ends with 0 once the control plane has no more use for it.
export GODWIT_URL={url} GODWIT_JOIN_TOKEN={token}
tries=0
while [ $tries -lt 100 ]; do
  "${{GODWIT_PYTHON:-python3}}" -m godwit.agents && exit 0
  tries=$((tries + 1))
  sleep 1
done
exit 1
"""


def startup_script(url: str, join_token: str) -> str:
    """The script for one machine; the join token is the only secret in it, and it works once."""
    return SCRIPT.format(url=shlex.quote(url), token=shlex.quote(join_token))
