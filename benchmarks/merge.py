"""Copy the runs of results folders, of other machines say, into one."""

import sys

from ntkode.cli.merge import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
