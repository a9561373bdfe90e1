"""Build ganfast._cpu, the one compiled module; no torch, no GPU probe, no network.

Without a working C++ compiler the install goes on without the module (`ganfast doctor` says so).
GANFAST_REQUIRE_EXT=1 makes that an error; GANFAST_NATIVE=1 tunes for this very machine alone;
GANFAST_DEBUG=1 compiles in half the time, without optimisation.
"""

import os
import shutil
import sysconfig
import tempfile
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

REQUIRED = os.environ.get("GANFAST_REQUIRE_EXT") == "1"
NATIVE = os.environ.get("GANFAST_NATIVE") == "1"
DEBUG = os.environ.get("GANFAST_DEBUG") == "1"
FLAGS = [
    "-O0" if DEBUG else "-O3",
    "-std=c++17",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
]

# The features of x86-64-v2, -v3 and -v4 by name: -march=x86-64-vN would ask for GCC 11.
V2 = ["-mcx16", "-msahf", "-mpopcnt", "-msse4.2"]
V3 = [*V2, "-mavx2", "-mbmi", "-mbmi2", "-mf16c", "-mfma", "-mlzcnt", "-mmovbe", "-mxsave"]
V4 = [*V3, *(f"-mavx512{x}" for x in ("f", "bw", "cd", "dq", "vl")), "-mprefer-vector-width=512"]
LEAVES = {"simd_x86_v2": V2, "simd_x86_v3": V3, "simd_x86_v4": V4}
ON_X86 = sysconfig.get_platform().endswith(("x86_64", "amd64"))

NOT_BUILT = """
ganfast: the C++ kernels were NOT built; the reason stands above. ganfast works without
them, only slower. To have them, install a C++17 compiler, then ganfast again with
pip install --force-reinstall --no-deps --no-cache-dir
"""


def flags_of(source: str) -> list[str]:
    """The instruction-set flags of one source file: only the SIMD leaves have any by default."""
    leaf = LEAVES.get(Path(source).stem)
    if leaf is None:
        return ["-march=native"] if NATIVE else []
    return [*leaf, "-mtune=native"] if NATIVE else leaf


class BuildExt(build_ext):
    """Compile with OpenMP where there is one, and each SIMD leaf for its own instruction set."""

    def build_extensions(self):
        compile_one = self.compiler._compile
        openmp = ["-fopenmp"] if self.has_openmp() else []

        def compile_with_flags(obj, src, ext, cc_args, extra_postargs, pp_opts):
            compile_one(obj, src, ext, cc_args, [*extra_postargs, *flags_of(src)], pp_opts)

        self.compiler._compile = compile_with_flags
        (extension,) = self.extensions
        extension.extra_compile_args += openmp
        extension.extra_link_args += openmp
        module = Path(self.get_ext_fullpath(extension.name))
        module.unlink(missing_ok=True)  # one from an older build must not pass for today's
        super().build_extensions()
        if not module.exists():
            print(NOT_BUILT, flush=True)

    def has_openmp(self) -> bool:
        """Whether a program compiles and links with -fopenmp (Apple's clang cannot)."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.cpp")
            source.write_text("#include <omp.h>\nint main() { return !omp_get_max_threads(); }\n")
            flags = {"output_dir": folder, "extra_postargs": ["-fopenmp"]}
            try:
                objects = self.compiler.compile([str(source)], **flags)
                self.compiler.link_executable(objects, "probe", **flags)
            except Exception:  # whatever went wrong, the answer is no
                return False
        return True


class BuildPy(build_py):
    """Put the kernels' text into the wheel: CUDA C++ is compiled on the user's machine."""

    def run(self):
        super().run()
        if self.editable_mode:
            return  # ganfast._csrc_path finds the checkout's own csrc
        for source in [*Path("csrc").rglob("*.h"), *Path("csrc").rglob("*.cu")]:
            target = Path(self.build_lib, "ganfast", "_csrc", source.relative_to("csrc"))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


skipped = {"simd_generic"} if ON_X86 else set(LEAVES)
skipped |= {path.stem for path in Path("csrc/cpu").glob("module_*.cpp")}  # module.cpp includes them
sources = sorted(str(path) for path in Path("csrc/cpu").glob("*.cpp") if path.stem not in skipped)
if not sources:
    raise SystemExit("csrc/cpu holds no .cpp file: this copy of ganfast is incomplete")
extension = Pybind11Extension(
    "ganfast._cpu", sources, include_dirs=["csrc"], extra_compile_args=FLAGS, optional=not REQUIRED
)
with ParallelCompile("GANFAST_BUILD_JOBS", needs_recompile=lambda obj, source: True):
    setup(ext_modules=[extension], cmdclass={"build_ext": BuildExt, "build_py": BuildPy})
