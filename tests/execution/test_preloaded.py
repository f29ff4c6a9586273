"""The imports of the fork server, which ignores a module that it cannot import."""

import gc
import sys
from importlib import import_module

from ntkode.execution.fork_server import PRELOADED


def test_what_is_preloaded_can_be_imported_and_leaves_the_collector_on():
    for name in PRELOADED:
        import_module(name)
    assert {"torch", "lightning", "ntkode.studies.training", "ntkode.execution.distribution"} <= set(
        sys.modules
    )
    assert gc.isenabled()
