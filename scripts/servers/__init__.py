"""
Real servers for tests: each service is described by a file of its own, the rest starts and stops whatever is described.

Python and not bash, because what decides (whose process is this, is it ready, may it be ended) is tested with fakes.
"""
