"""Many requests answered by one piece of work: who comes while it is under way goes along with the next one.

A lone request is worked on at once. Under load the work takes at most a share of the time, so that groups grow and the
cost of each request falls; what is waited for that is bounded.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

Item = TypeVar("Item")
Answer = TypeVar("Answer")

SHARE = 0.05
"""Of the time, work may take this much."""

PAUSE_MAX_S = 0.75
"""The longest that a group is put off for that. Agents report each second or more rarely."""

GROUP_MAX, WAITING_MAX = 2_000, 20_000


class Crowded(Exception):
    """More wait than are let wait: come back later."""


class GroupFailed(Exception):
    """The work of the whole group failed; nothing is known to have happened."""


@dataclass
class _Queue(Generic[Item, Answer]):
    waiting: list[tuple[Item, asyncio.Future[Answer]]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    rests_until: float = 0.0


class Grouped(Generic[Item, Answer]):
    """`work` takes the items of a group and gives an answer for each, in their order; it runs in a thread of its own.

    It may be asked from any event loop; each has groups of its own, of which one is worked on at a time.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Answer]],
        name: str,
        *,
        share: float = SHARE,
        pause_max_s: float = PAUSE_MAX_S,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._work, self._share, self._pause_max_s, self._waiting_max = work, share, pause_max_s, waiting_max
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue[Item, Answer]] = WeakKeyDictionary()

    async def ask(self, item: Item) -> Answer:
        """The answer for `item`, once its group was worked on. Raises `Crowded`, or `GroupFailed`."""
        return await self.join(item)

    def join(self, item: Item) -> asyncio.Future[Answer]:
        """The same for who need not wait here; `GroupFailed` is what the future holds then."""
        loop = asyncio.get_running_loop()
        queue = self._queues.setdefault(loop, _Queue())
        if len(queue.waiting) >= self._waiting_max:
            raise Crowded
        answer: asyncio.Future[Answer] = loop.create_future()
        queue.waiting.append((item, answer))
        if queue.task is None:
            queue.task = loop.create_task(self._run(queue))
        return answer

    async def _run(self, queue: _Queue[Item, Answer]) -> None:
        try:
            while queue.waiting:
                pause_s = queue.rests_until - time.monotonic()
                if pause_s > 0.0:
                    await asyncio.sleep(pause_s)
                group, queue.waiting = queue.waiting[:GROUP_MAX], queue.waiting[GROUP_MAX:]
                began = time.monotonic()
                await self._answer(group)
                ended = time.monotonic()
                queue.rests_until = ended + min(self._pause_max_s, (ended - began) * (1.0 / self._share - 1.0))
        finally:
            queue.task = None

    async def _answer(self, group: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._pool, self._work, [item for item, _ in group])
        except Exception as exc:  # noqa: BLE001 - each who waits is told, and what it was goes along
            for _, waiting in group:
                if not waiting.done():
                    failed = GroupFailed(f"{type(exc).__name__}: {exc}")
                    failed.__cause__ = exc
                    waiting.set_exception(failed)
            return
        for (_, waiting), answer in zip(group, answers, strict=True):
            if not waiting.done():
                waiting.set_result(answer)
