"""A re-engagement push orchestrator: it brings an app's quiet users back, and is honest about how many.

The way through the house is the way data goes. A file becomes a campaign (``campaign``, with ``content`` for its
templates and ``audience`` for its segments); a run selects an audience and a plan decides for each member (``plan``, by
``policy``, ``timing`` and ``experiment``); messages are claimed, composed, admitted, marked, sent and settled
(``dispatch``, through a ``channel``, within ``limits``); what comes back is recorded (``tracking``); reports count it
(``report``); a campaign can be played through all of it on a virtual clock beforehand (``rehearsal``). ``ledger`` is
the only room that changes a message's state; ``store`` holds the tables.

Layers, from the top, each importing only what is below it: ``cli``; ``daemon`` and ``web``; ``rehearsal`` and
``sandbox``; ``report``; ``tracking``; ``dispatch``; ``plan``; ``campaign``; ``policy``; ``content``; ``audience``,
``experiment``, ``timing``, ``limits`` and ``channel``; ``ledger``; ``store``; ``settings`` and ``metrics``; ``clock``
and ``errors``.
"""
