"""``python -m app``: the same as ``lifecycle``."""

import sys

from app.cli import main

sys.exit(main())
