"""Mail: one file per way out, what it answers in a table of its own."""
