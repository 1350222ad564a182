"""Push: one file per provider, its codes in a table of their own."""
