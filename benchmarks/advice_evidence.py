"""Condense stored sweeps into the evidence that benchmarks/advise.py goes by."""

import sys

from ntkode.cli.advice_evidence import main

if __name__ == "__main__":
    main(sys.argv[1:])
