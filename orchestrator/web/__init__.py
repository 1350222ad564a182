"""The doors to the outside: app events, providers' callbacks, health and metrics."""
