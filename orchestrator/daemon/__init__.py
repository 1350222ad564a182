"""The process that runs day and night: wiring, ticks, signals, and the local socket for the command line."""
