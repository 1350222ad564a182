"""The demonstration: a real shop's purchases, generated people around the world, and one campaign from file to report.

purchases   what is real: who bought what, when
places      where generated people live; phones: numbers that belong to nobody
people      the generated people
tables      purchases and people as CSV files with their mapping files, as an app's data warehouse would export them
project     the folder it happens in: settings, campaign copy, ports
processes   sandbox and daemon as processes of their own, always ended
timeline    which local date is run, and the accelerated clock
behaviour   what people do with their phones; crowd: doing it, through the same doors as real ones
show, checks  progress while it runs; what has to hold at its end
command, up   ``orchestrator demo``, ``orchestrator up``
"""
