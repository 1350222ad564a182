"""What happened, counted and told: tallies, statistics, tables, the page, and one member's story.

The way through it: ``launched`` (what the campaign said, or one run of it) → ``tally`` (the ledger counted, frozen
values; ``members`` a row each, ``letters`` by channel, ``refusals``, ``touches``) → ``findings`` (what is concluded,
``statistics``) → ``terminal`` for the console, ``html`` for people who would rather look than read, ``sheet`` for
spreadsheets. ``retention`` tells who stays, of all users (``past`` is its SQL), with a console, a page and words of its
own. ``outcomes`` is every member for the warehouse. ``explain`` reads and ``telling`` tells one member's story.
statsmodels, scipy and pyarrow are imported when first needed.
"""
