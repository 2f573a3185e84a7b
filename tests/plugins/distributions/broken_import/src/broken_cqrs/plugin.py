from __future__ import annotations

import client_that_is_not_installed  # noqa: F401 - the fault
