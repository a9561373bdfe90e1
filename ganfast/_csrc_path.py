"""Where the text of the C++ and CUDA kernels lies: NVRTC compiles it on the user's machine."""

from pathlib import Path


def csrc_dir() -> Path:
    """The folder that holds gan_math.h and cuda/: inside a wheel, or at the root of a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "_csrc", package.parent / "csrc"):
        if (folder / "gan_math.h").is_file():
            return folder
    raise FileNotFoundError(
        f"the kernels' sources are missing from {package / '_csrc'}: reinstall ganfast"
    )
