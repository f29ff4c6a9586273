"""Write stored runs and their histories as Parquet and CSV."""

import sys

from ntkode.cli.export import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
