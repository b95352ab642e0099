"""`python -m surgrl` is `surgrl`."""

import sys

from .cli import main

sys.exit(main())
