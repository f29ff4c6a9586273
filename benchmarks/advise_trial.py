"""Test the advice: train as advised, by default and at random, and compare test errors."""

import sys

from ntkode.cli.advise_trial import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
