"""Which version of godwit runs here."""

from importlib.metadata import version

VERSION = version("godwit")

AGENT_PACKAGE = f"godwit[agent]=={VERSION}"
"""What a machine that has no agent installs: exactly the version with which it is going to talk."""
