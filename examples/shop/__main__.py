"""``python examples/shop [--file LOG]``, or ``python -m shop`` inside ``examples``."""

import sys
from pathlib import Path

# Python puts a folder that it runs on the path; the package `shop` is found from the folder above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from shop.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
