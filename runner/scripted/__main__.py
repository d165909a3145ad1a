"""`python -m runner.scripted RUN_DIR`: the stand-in for `python -m runner.train RUN_DIR`."""

import sys
from pathlib import Path

from runner.scripted.trainer import main

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
