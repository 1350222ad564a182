"""The key of links: made once, for its owner alone."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.daemon.key import read_key
from orchestrator.daemon.wiring import key_file, links_of, preview_links, sealer_of
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "k"
    first = read_key(path)
    assert len(first) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path) == first
    assert [one.name for one in tmp_path.iterdir()] == ["k"]


def test_whoever_is_faster_they_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: read_key(tmp_path / "k"), range(8)))) == 1


@pytest.mark.parametrize("text", ["", "not hex", "abcd", "zz" * 32])
def test_what_is_no_key_is_refused_and_never_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "k").write_text(text)
    with pytest.raises(ConfigError, match="links_key_file") as raised:
        read_key(tmp_path / "k")
    assert not text or text not in str(raised.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        read_key(tmp_path / "no" / "k")


def test_where_it_is(tmp_path: Path) -> None:
    assert key_file(Settings(database="a/b.db")) == Path("a/b.db.links.key")
    assert key_file(Settings(database="postgresql://x/y")) == Path("links.key")
    own = Settings(database=str(tmp_path / "d.db"), links_key_file=tmp_path / "own")
    assert links_of(own).key == read_key(tmp_path / "own")


def test_a_preview_makes_no_file(tmp_path: Path) -> None:
    settings = Settings(database=str(tmp_path / "d.db"))
    preview_links(settings)
    assert list(tmp_path.iterdir()) == []
    assert preview_links(settings).key != links_of(settings).key == preview_links(settings).key


def test_what_hashes_opt_outs_is_made_beside_a_file_of_ours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another folder a command would make a key of its own, and what it hashed nobody else would find."""
    monkeypatch.chdir(tmp_path)
    for elsewhere in (
        Settings(database="postgresql://x/y"),
        Settings(database="d.db", erasure_key_file=tmp_path / "old.key"),
    ):
        with pytest.raises(ConfigError, match="is not there"):
            sealer_of(elsewhere)("")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="is not there"):
        sealer_of(Settings(database="d.db"), make=False)("")
    made = sealer_of(Settings(database="d.db"))("")
    assert made == sealer_of(Settings(database="d.db"), make=False)("")
