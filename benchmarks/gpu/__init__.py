"""`make gpu`: where there is a CUDA GPU, installs ganfast, times the ops, runs the GPU tests.

    python3 -m benchmarks.gpu --out FOLDER

Works in the Python that runs it, because a machine with a GPU usually has a torch chosen for it.
In order of value, within ten minutes: each op once against float64, the benchmarks, the other tests
of tests/gpu, compute-sanitizer. FOLDER/gpu-<name of the GPU>.json and .md are written after every
stage. Where there is no GPU, what is simulated of one runs, and one line says so.
"""
