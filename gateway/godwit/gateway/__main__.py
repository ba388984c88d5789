"""`python -m godwit.gateway`: run a gateway; with `export` first, write what it would serve by for another proxy."""

import os
import sys

from godwit.domain.errors import GodwitError
from godwit.gateway import exporting, settings
from godwit.gateway.main import serve


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    try:
        if sys.argv[1:2] == ["export"]:
            return exporting.run(sys.argv[2:], os.environ)
        return serve(settings.read(sys.argv[1:], os.environ), os.environ)
    except GodwitError as error:
        sys.stderr.write(f"godwit gateway: {error.message}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
