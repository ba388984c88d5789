"""Wake-ups: none that comes after one looked is missed, and asking costs nothing."""

import asyncio
import threading

from godwit.control_plane.hints import Hints


def test_a_hint_that_came_since_one_looked_is_not_missed() -> None:
    hints = Hints()
    seen = hints.count("plan")
    hints.announce("plan")
    assert hints.wait("plan", seen, 0.0)
    assert not hints.wait("plan", hints.count("plan"), 0.0)


def test_a_thread_wakes_when_its_topic_is_announced() -> None:
    hints, woke = Hints(), threading.Event()

    def wait() -> None:
        if hints.wait("plan", 0, 20.0):
            woke.set()

    thread = threading.Thread(target=wait)
    thread.start()
    hints.announce("events")
    assert not woke.is_set()
    hints.announce("plan")
    thread.join(20.0)
    assert woke.is_set()


def test_coroutines_wake_from_any_thread_and_leave_nothing_behind() -> None:
    hints = Hints()

    async def main() -> list[bool]:
        waiting = [asyncio.create_task(hints.wait_async("log/x", 0, 20.0)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.to_thread(hints.announce, "log/x")
        return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [True] * 3
    assert not hints._waiters
    hints.announce("log/x")


def test_a_coroutine_that_is_cancelled_waits_no_more() -> None:
    hints = Hints()

    async def main() -> None:
        waiting = asyncio.create_task(hints.wait_async("log/x", 0, 20.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(main())
    assert not hints._waiters


def test_asking_about_topics_that_nobody_ever_announced_costs_no_memory() -> None:
    hints = Hints()
    for n in range(100):
        assert hints.count(f"commands/made-up-{n}") == 0
        assert not hints.wait(f"commands/made-up-{n}", 0, 0.0)
    assert not hints._counts
