"""Engine, tables, migrations. SQLAlchemy Core on SQLite and PostgreSQL; no ORM sessions."""

from orchestrator.store.engine import AWAY, Store, lock_holder, unavailable, unless_committed
from orchestrator.store.migrate import upgrade

__all__ = ["AWAY", "Store", "lock_holder", "unavailable", "unless_committed", "upgrade"]
