"""All checks of the host."""

from godwit.agents.checks.host import clock, disk, memory, ports
from godwit.agents.checks.host.reading import HostCheck

CHECKS: tuple[HostCheck, ...] = (disk.CHECK, memory.CHECK, clock.CHECK, ports.CHECK)
