"""The stages of the pipeline, one module a verb, over the nouns that they share.

Importing the package pins the instruction set of the numerical libraries, which read it once, when they are
first imported. Sums of floats depend on the width of the registers: without the pin, an AVX-512 machine and an
AVX2 one train different weights from the same data. `runtime.instruction_set: native` in params.yaml lifts it.
"""

import gc
import os
import platform
import re
import signal
import sys
from pathlib import Path

AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    # Of MKL's branches the only one that it takes on processors of all makers; an epoch is 3 % slower than with AVX2.
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Haswell",
}


# In a stage that still imports there is nothing to clean up; `cli.guard` takes over when its work begins. DVC takes the
# outputs of a stage that exits 0 as whole, so an interrupted one must not.
if sys.argv[0] == "-m":
    gc.set_threshold(100_000)  # not 700: imports make many objects and no garbage, and take a tenth less time so
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(130))

# Without it, cuBLAS is not deterministic, and torch refuses to go on.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def _wants_native(params: Path) -> bool:
    # By a pattern, since the YAML parser would be a dear import for a module that each stage pays for.
    return params.is_file() and bool(
        re.search(r"^[^#\n]*\binstruction_set:\s*native\b", params.read_text(), re.MULTILINE)
    )


if platform.machine() in ("x86_64", "AMD64") and not _wants_native(Path("params.yaml")):
    os.environ.update(AVX2)
