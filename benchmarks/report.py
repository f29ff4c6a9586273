"""Show stored results, computing nothing: a sweep's table and picture, and a page over all sweeps."""

import sys

from ntkode.cli.report import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
