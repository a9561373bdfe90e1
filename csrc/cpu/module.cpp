// ganfast._cpu: the C++ kernels for Python. No torch header: nothing here can break with a version of torch.
// Only ganfast/backends/cpu calls it, after checking dtypes and devices; it keeps the tensors alive.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>

#include "isa.h"
#include "module_bind.h"

namespace py = pybind11;

namespace ganfast {

PYBIND11_MODULE(_cpu, m) {
  m.doc() = "C++ kernels of ganfast for the CPU";
  bind_linalg(m);
  bind_losses(m);
  bind_matrices(m);
  bind_optim(m);
  bind_penalty(m);
  bind_preprocess(m);
  bind_syrk(m);

  m.def("isa", [] { return current_isa() ? current_isa()->name : ""; },
        "the instruction set in use; empty if this processor has none that was built");
  m.def("supported_isas", [] {
    std::vector<std::string> names;
    for (const Isa* isa : supported_isas()) names.emplace_back(isa->name);
    return names;
  });
  m.def("use_isa", [](const std::string& name) {
    if (!use_isa(name.c_str())) throw std::invalid_argument("isa: got '" + name + "', which is not supported here");
  });
}

}  // namespace ganfast
