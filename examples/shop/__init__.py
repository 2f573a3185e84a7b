"""
A shop that keeps its customers' accounts: one command per line of a purchase log, and queries that read it back.

General layout, in the order in which a purchase travels:

* ``__main__`` and ``program``: the command line, and the run from the first line to the totals.
* ``purchase_log``: a line of the log becomes a ``RecordPurchase`` command, or is malformed.
* ``messages``: the commands, queries and events; ``app`` binds them to ``handlers``.
* ``accounts``: what the shop knows of a customer, and the rules of the loyalty tiers. Pure: no framework in it.
* ``read_model``: what the events have built, ready to be asked.
* ``progress``: how far the run is.
"""
