"""
A shop that keeps its customers' accounts, and reports that are built by the events it publishes: two Apps, one broker.

General layout, in the order in which a purchase travels:

* ``__main__`` and ``program``: the command line, and the run from the first line to the totals.
* ``purchase_log``: a line of the log becomes a ``RecordPurchase`` command, or is malformed.
* ``messages``: the commands, queries and events, and the topic through which the events go.
* ``recording``: the App that takes the commands and publishes events. ``accounts``: what it knows of a customer, and
  the rules of the loyalty tiers. Pure: no framework in it.
* ``reporting``: the App that consumes the events and answers the queries. ``read_model``: what the events have built;
  ``arrivals``: which have arrived, so that nothing is counted twice, and nothing is asked too early.
* ``progress``: how far the run is.
"""
