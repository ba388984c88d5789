"""A desk in a folder of its own, as the guard would start it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from godwit.agents.dev import leading


class Running:
    """A desk in a folder of its own, as the guard would start it."""

    def __init__(self, folder: Path, restored: Path | None = None, **spec: Any) -> None:
        self.folder, self.home = folder, folder / "home"
        for name in ("run", "checkpoints", "workdir"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        about = {"home_bytes_max": 10**9, "interval_s": 3600.0, "idle_after_s": None, **spec}
        (folder / "desk.json").write_text(json.dumps(about))
        (folder / "beside.sh").write_text(spec.get("run", ":") + "\n")
        env = {**os.environ, "HOME": str(self.home), "SHELL": "/bin/bash"}
        env |= {} if restored is None else {"GODWIT_RESTORED_CHECKPOINT": str(restored)}
        enter = leading._ENTER.format(source=str(leading._SOURCE))
        argv = [sys.executable, "-I", "-S", "-c", enter, str(folder)]
        self.output = folder / "output.log"
        with self.output.open("wb") as log:
            self.process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def entries(self) -> list[Path]:
        whole = [path for path in self.folder.glob("checkpoints/checkpoint-*") if path.suffix != ".tmp"]
        return sorted(whole, key=lambda path: int(path.name.split("-")[1]))
