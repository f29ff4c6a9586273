"""Write the documentation pages of the paper's studies from stored results."""

import sys

from ntkode.cli.paper_pages import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
