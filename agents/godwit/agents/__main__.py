"""`python -m godwit.agents`: run the agent of this machine."""

import os
import sys

from godwit.agents.main import exit_code

if __name__ == "__main__":
    code = exit_code()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that wait for the network must not hold the process back.
    os._exit(code)
