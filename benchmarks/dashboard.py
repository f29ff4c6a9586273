"""Build a W&B workspace and a W&B report on the runs of a project."""

import sys

from ntkode.cli.dashboard import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
