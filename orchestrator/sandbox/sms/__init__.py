"""Stand-ins for the providers of SMS."""
