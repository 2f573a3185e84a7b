"""``python -m cqrs_core``: what the command ``cqrs`` does."""

import sys

from cqrs_core.cli import main

if __name__ == "__main__":
    sys.exit(main(program="python -m cqrs_core"))
