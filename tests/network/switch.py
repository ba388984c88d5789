"""Hosts in network namespaces around a switch of our own, on which each direction of each link can be made worse.

Every host has a TAP device, and so has this machine itself for the two addresses that hosts call: the control plane's
and the store's. One thread forwards the frames between them through a heap ordered by due time. The kernel needs no
`tc netem` for that, and what a link does can change while it is in use.

Addresses are always resolved (ARP passes), so that a cut of one link leaves every other as it is.
"""

import ctypes
import fcntl
import heapq
import os
import random
import selectors
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

CONTROL, STORE = "control", "store"
"""The names of this machine's own two addresses."""

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # <linux/if_tun.h>
_CLONE_NEWNET = 0x40000000  # <linux/sched.h>
_IPV4, _ARP = 0x0800, 0x0806
_FRAME_BYTES = 65_536

Made = TypeVar("Made")


@dataclass(frozen=True)
class Link:
    """What one direction between two hosts does to a frame."""

    is_cut: bool = False
    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0


PERFECT = Link()


def why_not() -> str:
    """Say why no hosts can be made here; nothing when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"gwtry{os.getpid()}"
    try:
        _ip("netns", "add", name)
        os.close(_in_namespace(name, lambda: _tap("e0")))
        _ip("netns", "del", name)
    except (OSError, subprocess.CalledProcessError) as exc:
        return f"network namespaces or TAP devices cannot be made here: {exc}"
    return ""


class Switch:
    """Forwards between this machine and `count` hosts, h1, h2, ..., in 10.`network`.0.0/24, until it is closed."""

    def __init__(self, network: int, count: int, rng: random.Random) -> None:
        self._prefix, self._rng = f"10.{network}.0", rng
        self._links: dict[tuple[str, str], Link] = {}
        self._due: list[tuple[float, int, int, bytes]] = []
        self._serial = 0
        self.hosts = {f"h{n}": f"gw{network}h{n}" for n in range(1, count + 1)}
        """Namespaces by the names of the hosts."""
        self.addresses = {CONTROL: self._address(1), STORE: self._address(2)}
        self.addresses |= {name: self._address(n) for n, name in enumerate(self.hosts, 11)}
        self._name_by_address = {_packed(address): name for name, address in self.addresses.items()}
        self._port: dict[str, int] = {}
        self._selector, self._closing = selectors.DefaultSelector(), threading.Event()
        self._plug_in(f"gw{network}")
        self._thread = threading.Thread(target=self._forward, name="switch", daemon=True)
        self._thread.start()

    def _address(self, number: int) -> str:
        return f"{self._prefix}.{number}"

    def _plug_in(self, device: str) -> None:
        own = _tap(device)
        for name in (CONTROL, STORE):
            self._port[name] = own
            _ip("addr", "add", f"{self.addresses[name]}/24", "dev", device)
        _ip("link", "set", device, "up")
        for name, namespace in self.hosts.items():
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)  # of a run that died
            _ip("netns", "add", namespace)
            self._port[name] = _in_namespace(namespace, lambda: _tap("e0"))
            for words in (f"addr add {self.addresses[name]}/24 dev e0", "link set e0 up", "link set lo up"):
                _ip("-n", namespace, *words.split())
        for descriptor in set(self._port.values()):
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ)

    def set(self, direction: tuple[str, str], link: Link) -> None:
        """From now on, frames from the first host of `direction` to the second fare like this."""
        self._links[direction] = link

    def heal(self) -> None:
        """Every link is perfect again."""
        self._links = {}

    def close(self) -> None:
        """Unplug everything and remove the namespaces; processes in them are the caller's to end first."""
        self._closing.set()
        self._thread.join(5.0)
        for descriptor in set(self._port.values()):
            os.close(descriptor)
        for namespace in self.hosts.values():
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)

    def _forward(self) -> None:
        while not self._closing.is_set():
            left_s = self._due[0][0] - time.monotonic() if self._due else 0.2
            for key, _ in self._selector.select(max(0.0, min(0.2, left_s))):
                self._take_all(key.fd)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                _, _, port, frame = heapq.heappop(self._due)
                _write(port, frame)

    def _take_all(self, port: int) -> None:
        while True:
            try:
                frame = os.read(port, _FRAME_BYTES)
            except BlockingIOError:
                return
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        (kind,) = struct.unpack_from("!H", frame, 12)
        if kind == _ARP:
            target = self._name_by_address.get(frame[38:42])
            if target is not None:
                _write(self._port[target], frame)
            return
        if kind != _IPV4:
            return
        source, target = (self._name_by_address.get(part) for part in (frame[26:30], frame[30:34]))
        if source is None or target is None:
            return
        link = self._links.get((source, target), PERFECT)
        if link is PERFECT:
            _write(self._port[target], frame)
        elif not link.is_cut and self._rng.random() >= link.loss:
            self._serial += 1
            due = time.monotonic() + link.delay_s + self._rng.random() * link.jitter_s
            heapq.heappush(self._due, (due, self._serial, self._port[target], frame))


def _packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def _write(port: int, frame: bytes) -> None:
    try:
        os.write(port, frame)
    except OSError:
        return  # the host's queue is full, or the host is gone: a frame is lost, as on any network


def _tap(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TAP | _IFF_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _in_namespace(name: str, make: Callable[[], Made]) -> Made:
    """Call `make` in the network namespace `name`, on a thread that ends with it: a namespace is a thread's own."""
    made: list[Made] = []
    failed: list[OSError] = []

    def enter_and_make() -> None:
        try:
            with Path(f"/run/netns/{name}").open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {name}")
            made.append(make())
        except OSError as exc:
            failed.append(exc)

    thread = threading.Thread(target=enter_and_make)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
