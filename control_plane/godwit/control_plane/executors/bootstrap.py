"""The startup script: what a fresh machine runs, once, to become a node.

Plain sh, without root and without a tool beyond coreutils: it runs under cloud-init, in containers and over SSH. The
tightest cloud cuts such scripts at 4,048 characters (Vast.ai's documentation, August 2026).
"""

import shlex

EXPORTS = """\
#!/bin/sh
# Starts the godwit agent, and again when it dies; it ends with 0 once the control plane has no more use for it.
export GODWIT_URL={url} GODWIT_JOIN_TOKEN={token}
"""

BODY = """\
python=${GODWIT_PYTHON:-python3}
if [ -z "$GODWIT_NODE_DIR" ]; then
  # Short, since sockets lie below it, and the same when a container starts again.
  if [ -w /var/lib ]; then GODWIT_NODE_DIR=/var/lib/godwit; else GODWIT_NODE_DIR=${HOME:-/tmp}/.godwit-node; fi
fi
if [ -z "$GODWIT_NODE_ADDRESS" ]; then
  # From where this machine would talk to the world (RFC 5737); nothing is sent.
  GODWIT_NODE_ADDRESS=$("$python" -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("192.0.2.1", 9))
print(s.getsockname()[0])' 2>/dev/null) || GODWIT_NODE_ADDRESS=127.0.0.1
fi
export GODWIT_NODE_DIR GODWIT_NODE_ADDRESS
tries=0
while [ $tries -lt 100 ]; do
  "$python" -m godwit.agents && exit 0
  if ! why=$("$python" -c 'import godwit.agents.main' 2>&1); then
    why=$(printf '%s\\n' "$why" | tail -n 1)
    echo "godwit: $python cannot import godwit.agents ($why): use an image with Python 3.11 or later in which" \\
      "\\"pip install 'godwit[agent]'\\" was run, or set GODWIT_PYTHON to the Python that has it" >&2
    exit 1
  fi
  tries=$((tries + 1))
  sleep 1
done
exit 1
"""


def startup_script(url: str, join_token: str) -> str:
    """The script for one machine; the join token is the only secret in it, and it works once.

    What the machine's image sets (GODWIT_PYTHON, GODWIT_NODE_DIR, GODWIT_NODE_ADDRESS) wins over what it finds out.
    """
    return EXPORTS.format(url=shlex.quote(url), token=shlex.quote(join_token)) + BODY
