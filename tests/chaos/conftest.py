"""A scene with a sandbox in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.scene import Scene
from tests.far_end import far_end


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with far_end(tmp_path / "far") as far:
        made = Scene(tmp_path, far)
        try:
            yield made
        finally:
            made.close()
