"""The kernel by neural-tangents, in a separate interpreter with JAX, which `make perf-peers` installs.

Takes the same specification as worker.py. Only implementation 1 (Jacobian contraction) works with jax 0.4.38.
The solver's steps are a `lax.scan`; unrolled they take twenty times as long.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import neural_tangents
import numpy as np
import stopwatch

SPEC = json.loads(Path(sys.argv[1]).read_text())
STEP = 1.0 / SPEC["steps"]


def forward(parameters, x):  # type: ignore[no-untyped-def]
    """The network's outputs f(x), shape (N, 1)."""
    n, d = parameters["U"].shape

    def field(h):  # type: ignore[no-untyped-def]
        return jnp.tanh(h) @ parameters["W"].T / np.sqrt(n)

    def euler(h, _):  # type: ignore[no-untyped-def]
        return h + STEP * field(h), None

    def rk4(h, _):  # type: ignore[no-untyped-def]
        k1 = field(h)
        k2 = field(h + STEP / 3 * k1)
        k3 = field(h + STEP * (k2 - k1 / 3))
        k4 = field(h + STEP * (k1 - k2 + k3))
        return h + STEP / 8 * (k1 + 3 * (k2 + k3) + k4), None

    step = {"euler": euler, "rk4": rk4}[SPEC["solver"]]
    h, _ = jax.lax.scan(step, x @ parameters["U"].T / np.sqrt(d), None, length=SPEC["steps"])
    return jnp.tanh(h) @ parameters["v"] / np.sqrt(n)


def main() -> None:
    """Compile for the problem's shapes (not timed), then measure."""
    with np.load(SPEC["arrays"]) as stored:
        arrays = {name: jnp.asarray(values) for name, values in stored.items()}
    x = arrays.pop("x")
    kernel = neural_tangents.empirical_ntk_fn(forward, trace_axes=(-1,), vmap_axes=0, implementation=1)
    begin = time.perf_counter()
    compiled = jax.jit(lambda x, parameters: kernel(x, None, parameters)).lower(x, arrays).compile()
    details: dict[str, Any] = {"compile_seconds": time.perf_counter() - begin}
    details |= {name: version(name) for name in ("jax", "neural-tangents")}
    watch = stopwatch.Stopwatch(Path(SPEC["folder"]), SPEC["limit_seconds"])
    watch.measure(lambda: compiled(x, arrays).block_until_ready(), details)


if __name__ == "__main__":
    main()
