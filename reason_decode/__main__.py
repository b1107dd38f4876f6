"""``python -m reason_decode``: the command ``reason-decode``."""

import sys

from reason_decode.cli import main

if __name__ == "__main__":
    sys.exit(main())
