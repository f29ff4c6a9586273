"""What the fork server imports: all that cells need, in two thirds of the time.

The collector would go through everything imported so far each time that imports have made enough objects, and
find nothing. Frozen, they are left alone in the forked processes as well.
"""

import gc
from importlib import import_module

gc.disable()
try:
    for name in ("ntkode.studies.training", "ntkode.execution.distribution"):
        import_module(name)
finally:
    gc.freeze()
    gc.enable()
