"""The schema's revision is told without Alembic, and is the one that Alembic would find."""

from __future__ import annotations

import subprocess
import sys

from alembic.script import ScriptDirectory

from orchestrator.store.migrate import _SCRIPTS, newest
from tests.docs.pages import ROOT

ASKED = """
import sys
from orchestrator.store import Store, upgrade
upgrade(Store(sys.argv[1]))
sys.exit("alembic" in sys.modules)
"""


def test_the_last_file_is_alembics_head() -> None:
    assert newest() == ScriptDirectory(str(_SCRIPTS)).get_current_head()


def test_a_database_that_is_up_to_date_costs_no_alembic(tmp_path: object) -> None:
    command = [sys.executable, "-c", ASKED, f"{tmp_path}/o.db"]
    assert [subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode for _ in range(2)] == [1, 0]
