"""The page of promises names tests that exist, and nothing else."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, page

NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+)`", page("reference/promises.md"))))


@pytest.mark.parametrize("path", NAMED)
def test_what_the_page_names_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_promise_names_a_test() -> None:
    rows = [line for line in page("reference/promises.md").splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 15
    assert all("`tests/" in row or "in `tests/channel`" in row or row.startswith("| promise") for row in rows)
