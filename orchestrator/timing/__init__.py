"""Windows, zones, quiet hours and the dates a run is about. Wall clocks in, instants (UTC) out."""
