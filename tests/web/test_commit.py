"""Group commit by itself: order, room, one bad item among good ones, and going down."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, insert, select

from orchestrator.store import Store
from orchestrator.store.tables import meta
from orchestrator.web.commit import GroupCommit

OURS = "word:"  # the schema keeps names of its own in ``meta``


class Writer:
    """Writes words into ``meta``; refuses ``bad``; waits while the gate is shut."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.groups: list[list[str]] = []

    def apply(self, connection: Connection, words: Sequence[str]) -> list[str]:
        assert self.gate.wait(10)
        self.groups.append(list(words))
        for word in words:
            connection.execute(insert(meta).values(key=f"{OURS}{word}", value=""))
            if word == "bad":
                raise ValueError(word)
        return [word.upper() for word in words]


def kept(store: Store) -> set[str]:
    with store.read() as connection:
        keys = connection.execute(select(meta.c.key).where(meta.c.key.startswith(OURS))).scalars()
        return {key.removeprefix(OURS) for key in keys}


def commit(
    store: Store, writer: Writer, pool: ThreadPoolExecutor, *, group: int = 100, room: int = 100
) -> GroupCommit[str, str]:
    return GroupCommit[str, str](store, pool, writer.apply, group=group, room=room)


def test_what_waits_goes_together(store: Store) -> None:
    async def scenario() -> None:
        writer = Writer()
        with ThreadPoolExecutor(1) as pool:
            group = commit(store, writer, pool, group=3)
            futures = [group.offer(word) for word in "abcde"]
            task = asyncio.create_task(group.run())
            assert [await future for future in futures if future] == list("ABCDE")
            assert writer.groups == [["a", "b", "c"], ["d", "e"]]
            assert (group.waiting, kept(store)) == (0, set("abcde"))
            group.close()
            await task

    asyncio.run(scenario())


def test_one_bad_item_harms_nobody_else(store: Store) -> None:
    async def scenario() -> None:
        with ThreadPoolExecutor(1) as pool:
            group = commit(store, Writer(), pool)
            good, bad, better = (group.offer(word) for word in ("good", "bad", "better"))
            task = asyncio.create_task(group.run())
            assert good is not None and bad is not None and better is not None  # noqa: PT018
            assert (await good, await better) == ("GOOD", "BETTER")
            with pytest.raises(ValueError, match="bad"):
                await bad
            assert kept(store) == {"good", "better"}
            group.close()
            await task

    asyncio.run(scenario())


def test_without_room_it_says_so(store: Store) -> None:
    async def scenario() -> None:
        writer = Writer()
        with ThreadPoolExecutor(1) as pool:
            group = commit(store, writer, pool, room=10)
            large = group.offer("large", 50)
            assert large is not None  # alone it always fits
            assert group.offer("small", 1) is None
            task = asyncio.create_task(group.run())
            assert await large == "LARGE"
            assert group.offer("small", 1) is not None
            group.close()
            assert group.offer("late") is None
            await task
        assert kept(store) == {"large", "small"}

    asyncio.run(scenario())


def test_going_down_writes_what_waits_and_a_client_that_left_is_no_trouble(store: Store) -> None:
    async def scenario() -> None:
        writer = Writer()
        writer.gate.clear()
        with ThreadPoolExecutor(1) as pool:
            group = commit(store, writer, pool, group=1)
            futures = [group.offer(word) for word in "abc"]
            task = asyncio.create_task(group.run())
            await asyncio.sleep(0.01)
            for future in futures[:2]:
                assert future is not None
                future.cancel()
            group.close()
            writer.gate.set()
            await task
        assert kept(store) == set("abc")

    asyncio.run(scenario())
