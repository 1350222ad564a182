"""Stand-ins for mail servers and providers of mail."""
