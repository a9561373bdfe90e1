"""The kernels, in Triton's own language: a file for each noun. The launches are one folder up."""
