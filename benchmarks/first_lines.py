"""How long a command takes to print a given line."""

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """The line came `after_s` seconds after the command was started; `output` is all that the command said."""

    after_s: float
    output: str


def watch(argv: Sequence[str], line: str, environment: Mapping[str, str], timeout_s: float) -> Seen:
    """Run a command to its end and see when it prints `line`.

    Raises `RuntimeError` with its output when the line never came, it failed, or it took longer than `timeout_s`.
    """
    began, after_s, said = time.monotonic(), None, list[str]()
    with subprocess.Popen(
        argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        # Ending it closes the pipe, so that the loop below cannot outlast the limit.
        limit = threading.Timer(timeout_s, process.kill)
        limit.start()
        try:
            for text in process.stdout or ():
                if after_s is None and text.strip() == line:
                    after_s = time.monotonic() - began
                said.append(text)
            process.wait()  # it closed its output; the limit still holds
        except BaseException:
            process.kill()  # else leaving the block would wait for it
            raise
        finally:
            limit.cancel()
    output = "".join(said)
    if after_s is None or process.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode} and did not do its job:\n{output}")
    return Seen(after_s, output)
