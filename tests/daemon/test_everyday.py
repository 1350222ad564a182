"""A staging deployment as a process: allow-list, seeds, a test through the socket, an alert, and a restored backup."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

from tests.channel.test_webhook import listener
from tests.daemon.place import Place, place
from tests.far_end import wait_for


def change(here: Place, **settings: object) -> None:
    path = here.folder / "orchestrator.yaml"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_a_staging_deployment(tmp_path: Path) -> None:
    here = place(tmp_path)
    here.people(6)
    with listener(200) as (url, heard):
        change(here, only_to=["u1", "u2"], seeds=["u2", "u3"], alerts={"webhook": url, "stuck_after": "PT10M"})
        here.write(
            "campaigns/big.yaml", (here.folder / "campaigns/lunch.yaml").read_text().replace('"lunch",', '"big",', 1)
        )
        text = json.loads((here.folder / "campaigns/big.yaml").read_text())
        here.write("campaigns/big.yaml", {**text, "name": "big", "max_audience": 2, "seeds": []})
        with here.daemon() as process:
            said = json.loads(here.cli("send-test", "lunch", "--to", "canary-token-1", "--locale", "en", "--json"))
            assert [test["says"] for test in said["tests"]] == ["accepted written"]
            assert "only_to" in here.cli("send-test", "lunch", "--to", "canary-token-4", code=1)
            here.cli("launch", "lunch")
            here.cli("launch", "big")
            wait_for(lambda: len(here.sent()) >= 4, "the test, the seed and two pushes", seconds=40)
            wait_for(lambda: bool(heard), "an alert", seconds=40)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    assert {row["title"] for row in here.sent()} == {"Hello Ada", "Hello U1", "Hello U2"}
    assert [row["title"] for row in here.sent()].count("Hello U2") == 2  # the seed's copy, and their own
    alerts = {json.loads(request["body"])["type"] for request in heard}
    assert "max_audience" in alerts
    assert "canary" not in here.log()
    assert (here.folder / "o.db.guard").read_text().startswith("lunch 2026-12-07 ")


def test_a_restored_backup_sends_nothing_until_it_is_accepted(tmp_path: Path) -> None:
    here = place(tmp_path)
    here.people(3)
    shutil.copy(here.folder / "o.db", here.folder / "backup")
    with here.daemon() as process:
        here.cli("launch", "lunch")
        wait_for(lambda: len(here.sent()) == 3, "three pushes", seconds=40)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    for name in ("o.db-wal", "o.db-shm"):
        (here.folder / name).unlink(missing_ok=True)
    shutil.copy(here.folder / "backup", here.folder / "o.db")
    with here.daemon():
        here.cli("launch", "lunch")
        wait_for(lambda: here.counts() == (1, 0), "the run again, and not to be sent", seconds=40)
        assert {row["stopped"] for row in json.loads(here.cli("accounts", "list", "--json"))} == {"restored"}
        assert "restore accept" in here.cli("accounts", "resume", "fcm", code=1)
        done = json.loads(here.cli("restore", "accept", "--json"))
        assert sorted(done["accounts"]) == ["fcm", "twilio"]
        assert "nothing to accept" in here.cli("restore", "accept")
    assert len(here.sent()) == 3
