"""Which runs are due: pure in time, so that daemon, demo and rehearsal share it.

The database decides whether a run exists; asking twice, or from two machines, makes one.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from orchestrator.campaign.version import Bundle, read_bundle
from orchestrator.ledger.runs import Run, create_run, read_run
from orchestrator.ledger.states import CampaignState
from orchestrator.store.tables import campaign
from orchestrator.timing.schedule import due_dates, ends_at


def due_runs(connection: Connection, now: datetime) -> list[tuple[Run, Bundle]]:
    """Create the runs of running campaigns whose local date is open at ``now``; returns the new ones.

    A date that is over everywhere makes no run: a daemon that slept never sends late.
    """
    running = select(campaign.c.name, campaign.c.version).where(campaign.c.state == CampaignState.RUNNING)
    created = []
    for name, version in connection.execute(running.order_by(campaign.c.name)).all():
        bundle = read_bundle(connection, version)
        for day in due_dates(bundle.campaign.schedule.fires_on, None, now):
            run_id = create_run(connection, name, version, day, now=now, closes_at=ends_at(day))
            if run_id is not None:
                created.append((read_run(connection, run_id), bundle))
    return created
