"""`python -m affectnet_plus_modeling.cli VERB`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
