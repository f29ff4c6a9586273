"""Run the paper's experiments one after the other, and end with all their verdicts."""

import sys

from ntkode.cli.paper import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
