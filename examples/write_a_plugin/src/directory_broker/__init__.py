"""
A broker whose messages are files in a folder, which any number of processes on a machine may share.

Read on in this order: :mod:`.plugin` (how it is found), :mod:`.broker` (sending), :mod:`.folders` (what is in the
folder), :mod:`.shares` (who of a group has what), :mod:`.subscription` (receiving).
"""
