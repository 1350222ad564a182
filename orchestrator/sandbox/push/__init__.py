"""Stand-ins for the providers of push."""
