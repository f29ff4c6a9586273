"""The entry of every benchmark: `python benchmarks/run.py -m activation=tanh,softplus,relu`."""

import sys

from ntkode.cli.sweep import main

if __name__ == "__main__":
    sys.exit(main())
