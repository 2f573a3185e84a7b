"""
A shop that keeps its customers' accounts, and reports that are built by the events it publishes: two Apps, one broker.

General layout, in the order in which a purchase travels:

* ``__main__`` and ``program``: the command line, and the run from the first line to the totals.
* ``purchase_log``: a line of the log becomes a ``RecordPurchase`` command, or is malformed.
* ``messages``: the commands, queries and events, and the topic through which the events go.
* ``recording``: the App that takes the commands and publishes events. ``accounts``: what it knows of a customer, and
  the rules of the loyalty tiers. Pure: no framework in it.
* ``ordering``: the saga, which is what is done with a large purchase, or undone. ``orders``: the rules of orders and of
  the stock; ``bank``: who pays, and is not ours. Both know nothing of messages, as the accounts.
* ``reporting``: the App that consumes the events and answers the queries. ``read_model``: what the events have built.
* ``storing``: where both keep that, as the command line says. ``books``: what handlers ask for to remember something;
  ``database``: the same with SQLAlchemy, in the ``tables``.
* ``progress``: how far the run is. ``waiting``: when it is over. ``printing``: what it tells then.

What is in no file of these: the transaction around each message, the outbox that keeps its events until they are sent,
the inbox that knows a repeated one, and the worker that goes on with sagas. An App does that which has a storage.
"""
