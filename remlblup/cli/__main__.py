"""``python -m remlblup.cli`` is the command ``remlblup``."""

import sys

from remlblup.cli import main

sys.exit(main())
