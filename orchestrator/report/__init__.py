"""What happened, counted and told: tallies, statistics, tables, the page, and one member's story.

The way through it: ``launched`` (what the campaign said) → ``tally`` (the ledger counted, frozen values) →
``findings`` (what may be concluded, ``statistics``) → ``terminal`` for the console, ``html`` for people who would
rather look than read. ``explain`` reads and ``telling`` tells one member's story. statsmodels and scipy are imported
in ``statistics`` alone, when first needed.
"""
