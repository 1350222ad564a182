"""The log: one fsync for many, whole after a crash, one owner."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from orchestrator.sandbox.accepted import AcceptedLog, LogError, Record


def record(to: str) -> Record:
    return {"provider": "fcm", "to": to, "body": "午餐"}


async def append_all(log: AcceptedLog, count: int) -> list[Record]:
    return list(await asyncio.gather(*(log.append(record(f"t{n % 7}"), lambda seq: f"id{seq}") for n in range(count))))


def test_many_share_an_fsync_and_all_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    real = os.fdatasync

    def counted(descriptor: int) -> None:
        syncs.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    log = AcceptedLog(tmp_path / "a.jsonl")
    records = asyncio.run(append_all(log, 500))
    assert [each["seq"] for each in records] == list(range(1, 501))
    assert len(syncs) < 10
    assert len((tmp_path / "a.jsonl").read_bytes().splitlines()) == 500
    assert log.get(42) == records[41]
    assert list(log.of("t3"))[:2] == [4, 11]
    assert log.addresses("", 3, lambda _: True) == ["t2", "t1", "t0"]
    log.close()


def test_it_goes_on_where_it_was_and_drops_what_a_crash_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    log = AcceptedLog(path)
    asyncio.run(append_all(log, 3))
    log.close()
    with path.open("ab") as handle:
        handle.write(b'{"seq":4,"to":"t')
    log = AcceptedLog(path)
    assert len(log) == 3
    assert asyncio.run(append_all(log, 1))[0]["seq"] == 4
    assert len(path.read_bytes().splitlines()) == 4
    log.close()


def test_a_page_is_what_comes_after(tmp_path: Path) -> None:
    log = AcceptedLog(tmp_path / "a.jsonl")
    asyncio.run(append_all(log, 5))
    assert [len(log.page(after, 2)) for after in (0, 3, 4, 5, 99)] == [2, 2, 1, 0, 0]
    assert log.get(0) is None
    assert log.get(6) is None
    log.close()


def test_a_strange_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(LogError, match=r"a\.jsonl:1"):
        AcceptedLog(tmp_path / "a.jsonl")


def test_it_has_one_owner(tmp_path: Path) -> None:
    log = AcceptedLog(tmp_path / "a.jsonl")
    with pytest.raises(LogError, match="another sandbox"):
        AcceptedLog(tmp_path / "a.jsonl")
    log.close()


def test_a_full_disk_refuses_all_that_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AcceptedLog(tmp_path / "a.jsonl")

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    async def twice() -> list[object]:
        first = await asyncio.gather(log.append(record("x"), str), return_exceptions=True)
        return [*first, *await asyncio.gather(log.append(record("x"), str), return_exceptions=True)]

    monkeypatch.setattr(os, "write", full)
    assert all(isinstance(each, OSError) for each in asyncio.run(twice()))
    log.close()
