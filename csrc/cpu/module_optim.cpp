// Clipping and the optimizers' steps for Python. What they are given is torch's own: lists of parameters, and
// the param_groups and state of an optimizer, whose options and arrays are looked up here: in Python that would
// cost more than the step of a small network.
#include <cmath>
#include <utility>
#include <vector>

#include "module_bind.h"
#include "module_dlpack.h"
#include "optim.h"

namespace ganfast {
namespace {

// What a step returns.
enum Outcome { kDone = 0, kNoState = 1, kNotPlain = 2 };

// Below this many weights a second thread has not woken up before the first is done.
constexpr std::int64_t kGrain = 32768;

// A name that is looked up in dicts and on objects again and again.
class Name {
 public:
  explicit Name(const char* text) : name_(PyUnicode_InternFromString(text)) {}
  PyObject* ptr() const { return name_; }

 private:
  PyObject* name_;
};

struct OptionNames {
  Name params{"params"}, grad{"grad"}, step{"step"}, lr{"lr"}, eps{"eps"}, weight_decay{"weight_decay"},
      weight_clip{"weight_clip"}, maximize{"maximize"}, capturable{"capturable"},
      differentiable{"differentiable"}, alpha{"alpha"}, momentum{"momentum"}, centered{"centered"},
      betas{"betas"}, amsgrad{"amsgrad"}, decoupled{"decoupled_weight_decay"};
  // The arrays of each optimizer, in the order of leaf_optim.h.
  Name rmsprop[3]{Name{"square_avg"}, Name{"grad_avg"}, Name{"momentum_buffer"}};
  Name adam[3]{Name{"exp_avg"}, Name{"exp_avg_sq"}, Name{"max_exp_avg_sq"}};
};

const OptionNames& option_names() {
  static const OptionNames names;
  return names;
}

// The value of a key, borrowed; null if there is none.
PyObject* get(PyObject* dict, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(dict, key);
  if (value == nullptr && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

PyObject* need(PyObject* dict, const Name& key) {
  PyObject* value = get(dict, key.ptr());
  if (value == nullptr) throw py::key_error(py::str(py::handle(key.ptr())));
  return value;
}

double real(PyObject* value) {
  const double x = PyFloat_AsDouble(value);
  if (x == -1.0 && PyErr_Occurred()) throw py::error_already_set();
  return x;
}

bool truth(PyObject* value) {
  const int x = PyObject_IsTrue(value);
  if (x < 0) throw py::error_already_set();
  return x == 1;
}

// A PyFloat_AsDouble of a tensor waits for its device; these are on the CPU or were checked before.
double scalar(PyObject* tensor) {
  View v;
  if (!view(tensor, v) || v.count != 1 || v.dtype != Dtype::f32) return real(tensor);
  return *static_cast<float*>(v.data);
}

// The options that both optimizers have.
bool common_options(PyObject* group, optim::Common& out) {
  const OptionNames& n = option_names();
  if (truth(need(group, n.capturable)) || truth(need(group, n.differentiable))) return false;
  out.lr = real(need(group, n.lr));
  out.eps = real(need(group, n.eps));
  out.weight_decay = real(need(group, n.weight_decay));
  PyObject* clip = get(group, n.weight_clip.ptr());
  out.bound = clip == nullptr || clip == Py_None ? HUGE_VAL : real(clip);
  out.gradient_scale = truth(need(group, n.maximize)) ? -1 : 1;
  return true;
}

struct RmspropReader {
  using Options = optim::Rmsprop;
  static const Name* arrays() { return option_names().rmsprop; }

  optim::Rmsprop options{};
  bool wanted[3];

  void read(PyObject* group) {
    const OptionNames& n = option_names();
    options.alpha = real(need(group, n.alpha));
    options.momentum = real(need(group, n.momentum));
    wanted[0] = true, wanted[1] = truth(need(group, n.centered)), wanted[2] = options.momentum > 0;
  }
  optim::Rmsprop at(double) const { return options; }
};

struct AdamReader {
  using Options = optim::Adam;
  static const Name* arrays() { return option_names().adam; }

  optim::Adam options{};
  bool wanted[3];

  void read(PyObject* group) {
    const OptionNames& n = option_names();
    PyObject* betas = need(group, n.betas);
    if (!PySequence_Check(betas) || PySequence_Size(betas) != 2) throw py::value_error("betas: give a pair");
    options.beta1 = real(py::reinterpret_steal<py::object>(PySequence_GetItem(betas, 0)).ptr());
    options.beta2 = real(py::reinterpret_steal<py::object>(PySequence_GetItem(betas, 1)).ptr());
    options.decoupled = truth(need(group, n.decoupled));
    wanted[0] = wanted[1] = true, wanted[2] = truth(need(group, n.amsgrad));
  }
  optim::Adam at(double t) const {
    optim::Adam o = options;
    o.correction1 = 1 - std::pow(o.beta1, t);
    o.correction2 = 1 - std::pow(o.beta2, t);
    return o;
  }
};

// Everything that a step will touch, found before anything is touched.
template <class Reader>
struct Plan {
  std::vector<Task<typename Reader::Options>> tasks;
  std::vector<std::pair<double, Weights>> only_clipped;  // what has no gradient stays in its bound too
  std::vector<py::object> alive;  // gradients: another thread may drop them while we work
  py::list touched;
  std::int64_t total = 0;

  Outcome add(PyObject* group, PyObject* state, bool scaled) {
    Reader reader;
    if (!common_options(group, reader.options.common)) return kNotPlain;
    reader.read(group);
    PyObject* params = need(group, option_names().params);
    if (!PyList_Check(params)) return kNotPlain;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(params); ++i) {
      PyObject* param = PyList_GET_ITEM(params, i);
      py::object grad = py::reinterpret_steal<py::object>(
          PyObject_GetAttr(param, option_names().grad.ptr()));
      if (!grad) throw py::error_already_set();
      if (grad.is_none()) {
        if (reader.options.common.bound < HUGE_VAL && !add_clipped(reader, param)) return kNotPlain;
        continue;
      }
      const Outcome outcome = add(reader, param, grad, get(state, param), scaled);
      if (outcome != kDone) return outcome;
    }
    return kDone;
  }

 private:
  bool add_clipped(const Reader& reader, PyObject* param) {
    View p;
    if (!view(param, p) || !p.dense()) return false;
    Weights w;
    w.count = p.count, w.dtype = p.dtype, w.at[kParam] = p.data;
    only_clipped.emplace_back(reader.options.common.bound, w);
    touched.append(py::handle(param));
    return true;
  }

  Outcome add(const Reader& reader, PyObject* param, py::object& grad, PyObject* state, bool scaled) {
    View p, other;
    if (!view(param, p) || !p.dense()) return kNotPlain;
    Weights w;
    w.count = p.count, w.dtype = p.dtype, w.at[kParam] = p.data;
    if (!view(grad.ptr(), other) || !other.laid_out_as(p)) return kNotPlain;
    w.at[kGrad] = other.data;
    if (state == nullptr || !PyDict_Check(state) || PyDict_Size(state) == 0) return kNoState;
    touched.append(py::handle(param));
    if (scaled) touched.append(grad);
    for (int k = 0; k < 3; ++k) {
      if (!reader.wanted[k]) continue;
      PyObject* array = get(state, Reader::arrays()[k].ptr());
      if (array == nullptr || !view(array, other) || !other.laid_out_as(p)) return kNotPlain;
      w.at[kState + k] = other.data;
      touched.append(py::handle(array));
    }
    PyObject* step = get(state, option_names().step.ptr());
    if (step == nullptr || !view(step, other) || other.count != 1) return kNotPlain;
    if (other.dtype == Dtype::f32)
      w.step32 = static_cast<float*>(other.data);
    else if (other.dtype == Dtype::f64)
      w.step64 = static_cast<double*>(other.data);
    else
      return kNotPlain;
    touched.append(py::handle(step));
    tasks.push_back({reader.at(w.steps() + 1), w});
    total += w.count;
    alive.push_back(std::move(grad));
    return kDone;
  }
};

template <class Work>
void run(std::int64_t total, int threads, Work work) {
  if (total < kGrain) return work(1);
  py::gil_scoped_release release;
  work(threads);
}

// (param_groups, state, grad_scale, found_inf, threads) -> Outcome
template <class Reader, class Step>
PyObject* optimizer_step(PyObject* const* items, Py_ssize_t count, Step step) {
  return guarded(5, count, [&] {
    PyObject *groups = items[0], *state = items[1], *grad_scale = items[2], *found_inf = items[3];
    if (!PyList_Check(groups) || !PyDict_Check(state)) throw py::type_error("param_groups, state: not torch's");
    Plan<Reader> plan;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(groups); ++i) {
      const Outcome outcome = plan.add(PyList_GET_ITEM(groups, i), state, grad_scale != Py_None);
      if (outcome != kDone) return PyLong_FromLong(outcome);
    }
    if (found_inf != Py_None && scalar(found_inf) != 0) return PyLong_FromLong(kDone);  // a step to leave out
    const double unscale = grad_scale == Py_None ? 1 : 1 / scalar(grad_scale);
    for (auto& task : plan.tasks) {
      task.options.common.bound = bound_in(task.weights.dtype, task.options.common.bound);
      if (task.weights.step64)
        *task.weights.step64 += 1;
      else
        *task.weights.step32 += 1;
    }
    const int threads = static_cast<int>(number(items[4]));
    run(plan.total, threads, [&](int n) { step(plan.tasks, unscale, n); });
    for (const auto& [bound, weights] : plan.only_clipped) clip_weights({weights}, bound, false, 1);
    increment_versions(plan.touched);
    return PyLong_FromLong(kDone);
  });
}

PyObject* rmsprop(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return optimizer_step<RmspropReader>(items, count, rmsprop_step);
}

PyObject* adam(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return optimizer_step<AdamReader>(items, count, adam_step);
}

// (list of tensors, bound, count, threads) -> how many weights are at the bound (0 unless `count`), or None,
// having done nothing, if one is not plain memory.
PyObject* clip(PyObject*, PyObject* const* items, Py_ssize_t count) {
  return guarded(4, count, [&]() -> PyObject* {
    if (!PyList_Check(items[0])) throw py::type_error("tensors come in a list");
    std::vector<Weights> tensors(static_cast<std::size_t>(PyList_GET_SIZE(items[0])));
    std::int64_t total = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      View p;
      if (!view(PyList_GET_ITEM(items[0], static_cast<Py_ssize_t>(i)), p) || !p.dense()) Py_RETURN_NONE;
      tensors[i].at[kParam] = p.data, tensors[i].count = p.count, tensors[i].dtype = p.dtype;
      total += p.count;
    }
    const double bound = real(items[1]);
    const bool wanted = truth(items[2]);
    std::int64_t at_bound = 0;
    run(total, static_cast<int>(number(items[3])),
        [&](int threads) { at_bound = clip_weights(tensors, bound, wanted, threads); });
    increment_versions(py::reinterpret_borrow<py::list>(items[0]));
    return PyLong_FromLongLong(at_bound);
  });
}

}  // namespace

void bind_optim(py::module_& m) {
  define<rmsprop>(m, "rmsprop", "(param_groups, state, grad_scale, found_inf, threads) -> outcome");
  define<adam>(m, "adam", "(param_groups, state, grad_scale, found_inf, threads) -> outcome");
  define<clip>(m, "clip_weights", "(list of tensors, bound, count, threads) -> how many at the bound, or None");
  m.def("reads_tensors", [] { return torch_().api != nullptr; },
        "whether this torch has DLPack's C exchange API, by which the optimizers read tensors");
}

}  // namespace ganfast
