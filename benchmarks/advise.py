"""Recommend how to train a Neural ODE on a data set: activation, scale, width, solver, learning rate."""

import sys

from ntkode.cli.advise import main

if __name__ == "__main__":
    main(sys.argv[1:])
