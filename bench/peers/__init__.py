"""What others use, as their documentation shows it: run by :mod:`bench.against` in a virtual environment of its own.

Each is a script that is told by environment variables where the far end is, sends so many pushes to it and prints one
JSON object: ``messages`` and ``seconds``. None of them leaves this machine: their endpoints are set to the loopback.
"""
