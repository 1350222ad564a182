"""The sandbox as tests start it."""

from __future__ import annotations

from pathlib import Path

from tests.far_end import FarEnd


def test_a_daemon_that_starts_leaves_the_key_alone_that_another_is_reading(tmp_path: Path) -> None:
    (tmp_path / "smtp-port").write_text("25")
    far = FarEnd(1, tmp_path, 0)
    key = Path(far.mail_options()["verp_key_file"])
    assert len(key.read_text()) > 16
    key.write_text("what the other is reading")
    far.mail_options()
    assert key.read_text() == "what the other is reading"
    assert [one.name for one in tmp_path.glob("verp*")] == ["verp.key"]
