// ganfast._cpu: the C++ kernels for Python. No torch header: nothing here can break with a version of torch.
// ganfast/backends/cpu calls it; those of the GPU only for their tables and launches.
//
// The functions themselves are in module_*.cpp, a file for each noun, all of one translation unit: pybind11's headers
// take five times as long to compile as such a file does.
#include "args.h"
#include "leaf.h"
#include "module_features.cpp"
#include "module_launch.cpp"
#include "module_linalg.cpp"
#include "module_losses.cpp"
#include "module_matrices.cpp"
#include "module_neighbours.cpp"
#include "module_optim.cpp"
#include "module_penalty.cpp"
#include "module_preprocess.cpp"
#include "module_syrk.cpp"
#include "module_tables.cpp"

namespace ganfast {
namespace {

std::string isa() { return current_isa() ? current_isa()->name : ""; }

std::vector<std::string> supported() {
  std::vector<std::string> names;
  for (const Isa* each : supported_isas()) names.emplace_back(each->name);
  return names;
}

void use(const std::string& name) {
  if (!use_isa(name.c_str())) throw std::invalid_argument("isa: got '" + name + "', which is not supported here");
}

bool use_exchange_api(bool wanted) {
  imports().api = wanted ? imports().found : nullptr;
  return imports().api != nullptr;
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
  m.doc() = "C++ kernels of ganfast for the CPU";
  imports_ = new Imports;
  bind_features(m);
  bind_launch(m);
  bind_linalg(m);
  bind_losses(m);
  bind_matrices(m);
  bind_neighbours(m);
  bind_optim(m);
  bind_penalty(m);
  bind_preprocess(m);
  bind_syrk(m);
  bind_tables(m);
  define<isa>(m, "isa", {}, "The instruction set in use; empty if this processor has none that was built.");
  define<supported>(m, "supported_isas", {}, "Those that it has, worst first.");
  define<use>(m, "use_isa", {"name"}, "Chooses one of them, for tests and measurements.");
  define<use_exchange_api>(m, "use_exchange_api", {"wanted"},
                           "Whether tensors are read through DLPack, if torch can, or by their attributes: for tests.");
}

}  // namespace ganfast
