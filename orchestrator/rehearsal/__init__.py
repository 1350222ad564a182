"""A campaign on a virtual clock: what it will do, to whom, and why not to the others, before anything is sent.

The audience is copied into a scratch database that vanishes (``scratch``); there the real planner, door, gate, settler,
sweeper and attribution work through days in seconds (``stage``), on a clock that jumps to the next due instant
(``clock``), through channels that answer by a response model (``responses``, ``channels``, ``afterwards``). What came
of it is counted from the scratch ledger (``counting``, ``cautions``) and shown (``terminal``, ``page``).
"""
