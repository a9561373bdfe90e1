// One function for each noun that ganfast._cpu offers; each adds its functions to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace ganfast {

void bind_linalg(pybind11::module_& m);
void bind_matrices(pybind11::module_& m);
void bind_losses(pybind11::module_& m);
void bind_optim(pybind11::module_& m);
void bind_penalty(pybind11::module_& m);
void bind_preprocess(pybind11::module_& m);
void bind_syrk(pybind11::module_& m);

}  // namespace ganfast
