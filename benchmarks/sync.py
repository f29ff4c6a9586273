"""Upload a sweep's offline W&B runs, once each."""

import sys

from ntkode.cli.sync import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
