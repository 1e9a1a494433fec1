"""Environment variables that numerical libraries read once, when they are first imported.

Sums of floats depend on the width of the processor's registers: without the pin, an AVX-512 machine and an AVX2 machine
train different weights from the same data. Child processes inherit the variables and so compute the same bytes.
"""

import os
import platform

AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    # The only branch of MKL that runs on all vendors' processors; an epoch is 3% slower than with AVX2.
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
}


def pin(instruction_set: str) -> None:
    """Set the variables; effective only before a numerical library is imported.

    Args:
        instruction_set: `avx2` for the same bytes on any x86-64 machine, `native` for the best on this one.
    """
    # Without it, cuBLAS is not deterministic, and torch refuses to continue.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # While OpenMP's threads wait for each other, they spin, by default for so long that on a busy machine they keep the
    # cores from those they wait for. 10,000 turns are so few that it trains there in 1.5 times the time of threads that
    # never spin, and so many that an idle machine trains as fast as by default.
    if "OMP_WAIT_POLICY" not in os.environ:  # with PASSIVE, which is for a machine that others use, they do not spin
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Pictures need no window, and Matplotlib cannot be imported with an unknown backend.
    os.environ["MPLBACKEND"] = "agg"
    if instruction_set == "avx2" and platform.machine() in ("x86_64", "AMD64"):
        os.environ.update(AVX2)
