"""The imports of the fork server: all that a run needs, loaded without garbage collection.

This takes a third less time: otherwise the collector repeatedly scans the imported objects, none of which is
garbage. They are frozen, so that the forked processes do not scan them either.
"""

import gc
from importlib import import_module

from ntkode.orphans import end_server_with_parent

end_server_with_parent()
gc.disable()
try:
    for name in ("ntkode.studies.training", "ntkode.execution.distribution"):
        import_module(name)
finally:
    gc.freeze()
    gc.enable()
