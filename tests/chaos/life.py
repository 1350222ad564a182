"""A victim's life, begun as the command line begins a daemon's: ``python -m tests.chaos.life DATABASE …``."""

from __future__ import annotations

from orchestrator.dispatch import interpreter


def main() -> None:
    interpreter.begin()
    from tests.chaos import victim

    victim.main()


if __name__ == "__main__":
    main()
