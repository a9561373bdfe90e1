// Clipping and the optimizers' steps for Python. What they are given is torch's own: lists of parameters, and the
// optimizer, whose options and arrays are looked up here: in Python that would cost more than the step of a small
// network.
#include <algorithm>
#include <cmath>
#include <optional>

#include "args.h"
#include "optim.h"

namespace ganfast {
namespace {

// A string that is looked up in dicts and on objects again and again.
struct Key {
  explicit Key(const char* text) : text(text), object(PyUnicode_InternFromString(text)) {}
  const char* text;
  PyObject* object;
};

struct Keys {
  Key param_groups{"param_groups"}, state{"state"}, grad_scale{"grad_scale"}, found_inf{"found_inf"};
  Key params{"params"}, grad{"grad"}, step{"step"};
  Key lr{"lr"}, eps{"eps"}, weight_decay{"weight_decay"}, weight_clip{"weight_clip"}, maximize{"maximize"},
      capturable{"capturable"}, differentiable{"differentiable"}, alpha{"alpha"}, momentum{"momentum"},
      centered{"centered"}, betas{"betas"}, amsgrad{"amsgrad"}, decoupled{"decoupled_weight_decay"};
  // The arrays of each optimizer, in the order of leaf.h.
  Key rmsprop[3]{Key{"square_avg"}, Key{"grad_avg"}, Key{"momentum_buffer"}};
  Key adam[3]{Key{"exp_avg"}, Key{"exp_avg_sq"}, Key{"max_exp_avg_sq"}};
};

const Keys& keys() {
  static const Keys keys;
  return keys;
}

// The value of a key, borrowed; null if there is none.
PyObject* get(PyObject* dict, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(dict, key);
  if (value == nullptr && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

PyObject* get(PyObject* dict, const Key& key) { return get(dict, key.object); }

PyObject* need(PyObject* dict, const Key& key) {
  PyObject* value = get(dict, key);
  if (value == nullptr) throw py::key_error(key.text);
  return value;
}

double number(PyObject* dict, const Key& key) { return Argument<double>::get(need(dict, key), {key.text}); }

bool flag(PyObject* dict, const Key& key) { return Argument<bool>::get(need(dict, key), {key.text}); }

// A scalar of a GradScaler; `otherwise` if it left none. One on another device is waited for.
double scalar(PyObject* own, const Key& key, double otherwise) {
  PyObject* value = get(own, key);
  return value == nullptr || value == Py_None ? otherwise : Argument<double>::get(value, {key.text});
}

// The bound of a group, HUGE_VAL for none. Whoever changed it since it was checked is told what is wrong with it.
double bound_of(PyObject* group) {
  PyObject* clip = get(group, keys().weight_clip);
  if (clip == nullptr || clip == Py_None) return HUGE_VAL;
  const bool plain = PyFloat_CheckExact(clip) && PyFloat_AS_DOUBLE(clip) > 0 && PyFloat_AS_DOUBLE(clip) < HUGE_VAL;
  if (!plain) py::module_::import("ganfast.reference.optim").attr("check_clip")(py::handle(group));
  return Argument<double>::get(clip, {keys().weight_clip.text});
}

optim::Common common_options(PyObject* group) {
  const Keys& k = keys();
  for (const Key* key : {&k.capturable, &k.differentiable})
    if (flag(group, *key)) throw Refused{std::string(key->text) + " is set, which torch's own step serves"};
  optim::Common out{};
  out.lr = number(group, k.lr);
  out.eps = number(group, k.eps);
  out.weight_decay = number(group, k.weight_decay);
  out.bound = bound_of(group);
  out.gradient_scale = flag(group, k.maximize) ? -1 : 1;
  return out;
}

struct RmspropReader {
  using Options = optim::Rmsprop;
  static constexpr auto kStep = rmsprop_step;
  static const Key* arrays() { return keys().rmsprop; }

  optim::Rmsprop options{};
  bool wanted[3];

  explicit RmspropReader(PyObject* group) {
    options.common = common_options(group);
    options.alpha = number(group, keys().alpha);
    options.momentum = number(group, keys().momentum);
    wanted[0] = true, wanted[1] = flag(group, keys().centered), wanted[2] = options.momentum > 0;
  }
  optim::Rmsprop at(double) const { return options; }
};

struct AdamReader {
  using Options = optim::Adam;
  static constexpr auto kStep = adam_step;
  static const Key* arrays() { return keys().adam; }

  optim::Adam options{};
  bool wanted[3];

  explicit AdamReader(PyObject* group) {
    options.common = common_options(group);
    const auto betas = Argument<std::vector<double>>::get(need(group, keys().betas), {"betas"});
    options.beta1 = betas.at(0), options.beta2 = betas.at(1);
    options.decoupled = flag(group, keys().decoupled);
    wanted[0] = wanted[1] = true, wanted[2] = flag(group, keys().amsgrad);
  }
  optim::Adam at(double t) const {
    optim::Adam o = options;
    o.correction1 = 1 - std::pow(o.beta1, t);
    o.correction2 = 1 - std::pow(o.beta2, t);
    return o;
  }
};

Weights weights_of(const View& param) {
  param.need(is_floating(param.dtype), "has a dtype that no kernel takes");
  param.need(param.dense(), "is not dense in memory");
  Weights w;
  w.count = param.count, w.dtype = param.dtype, w.at[kParam] = param.data;
  return w;
}

// How to walk through `x` in the order in which `other`, of its shape and dense, lies in memory.
std::vector<Dim> dims_in_order_of(const View& other, const View& x) {
  std::vector<std::int32_t> order;
  for (std::int32_t d = 0; d < x.ndim; ++d)
    if (x.shape[d] != 1) order.push_back(d);
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return other.strides[a] > other.strides[b]; });
  std::vector<Dim> dims;
  for (const std::int32_t d : order) {
    if (!dims.empty() && dims.back().stride == x.shape[d] * x.strides[d])
      dims.back() = {dims.back().size * x.shape[d], x.strides[d]};
    else
      dims.push_back({x.shape[d], x.strides[d]});
  }
  return dims;
}

// Tells autograd that the tensors in `list` were changed in place.
void increment_versions(const py::list& list) {
  checked(PyObject_CallOneArg(imports().increment_version, list.ptr()));
}

// Everything that a step will touch, found before anything is touched.
template <class Reader>
struct Plan {
  std::vector<Task<typename Reader::Options>> tasks;
  std::vector<std::pair<double, Weights>> only_clipped;  // what has no gradient stays in its bound too
  std::vector<py::object> alive;  // gradients: another thread may drop them while we work
  py::list touched;
  std::int64_t total = 0;

  void add(PyObject* group, PyObject* state, bool scaled) {
    const Reader reader(group);
    for_each_parameter(group, [&](Py_ssize_t i, PyObject* param) { add(reader, i, param, state, scaled); });
  }

  // The parameters of a group that add() would refuse.
  py::list refused(PyObject* group, PyObject* state) {
    py::list found;
    std::optional<Reader> reader;
    try {
      reader.emplace(group);
    } catch (const Refused&) {
    }
    for_each_parameter(group, [&](Py_ssize_t i, PyObject* param) {
      try {
        if (!reader) throw Refused{};
        add(*reader, i, param, state, false);
      } catch (const NoState&) {
      } catch (const Refused&) {
        found.append(py::handle(param));
      }
    });
    return found;
  }

 private:
  template <class Body>
  static void for_each_parameter(PyObject* group, Body body) {
    PyObject* params = need(group, keys().params);
    if (!PyList_Check(params)) throw Refused{"params is not a list"};
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(params); ++i) body(i, PyList_GET_ITEM(params, i));
  }

  void add(const Reader& reader, Py_ssize_t i, PyObject* param, PyObject* state, bool scaled) {
    py::object grad = checked(PyObject_GetAttr(param, keys().grad.object));
    if (!grad.is_none()) {
      add(reader, i, param, std::move(grad), get(state, param), scaled);
    } else if (reader.options.common.bound < HUGE_VAL) {
      only_clipped.emplace_back(reader.options.common.bound, weights_of(view(param, {"params", i})));
      touched.append(py::handle(param));
    }
  }

  void add(const Reader& reader, Py_ssize_t i, PyObject* param, py::object grad, PyObject* state, bool scaled) {
    const View p = view(param, {"params", i});
    Weights w = weights_of(p);
    const auto beside = [&](PyObject* array, const char* name) {
      const View v = view(array, {name, i});
      v.need(v.laid_out_as(p), "has another layout or dtype than its parameter");
      return v.data;
    };
    const View g = view(grad.ptr(), {"grad", i});
    w.at[kGrad] = g.data;
    if (!g.laid_out_as(p)) {  // it is only read, unless a GradScaler's scale is to be taken out of it
      g.need(!scaled && g.fits(p), "has another layout or dtype than its parameter");
      w.grad_dims = dims_in_order_of(p, g);
    }
    if (state == nullptr || !PyDict_Check(state) || PyDict_Size(state) == 0) throw NoState{};
    touched.append(py::handle(param));
    if (scaled) touched.append(grad);
    for (int k = 0; k < 3; ++k) {
      if (!reader.wanted[k]) continue;
      const Key& key = Reader::arrays()[k];
      PyObject* array = get(state, key);
      w.at[kState + k] = beside(array ? array : Py_None, key.text);
      touched.append(py::handle(array));
    }
    PyObject* step = get(state, keys().step);
    const View counter = view(step ? step : Py_None, {"step", i});
    counter.need(counter.count == 1 && (counter.dtype == Dtype::f32 || counter.dtype == Dtype::f64),
                 "is not one float32 or float64");
    (counter.dtype == Dtype::f32 ? reinterpret_cast<void*&>(w.step32) : reinterpret_cast<void*&>(w.step64)) =
        counter.data;
    touched.append(py::handle(step));
    tasks.push_back({reader.at(w.steps() + 1), w});
    total += w.count;
    alive.push_back(std::move(grad));
  }
};

// An optimizer of torch: its attributes, and of these the two that hold everything.
struct Optimizer {
  explicit Optimizer(const py::object& optimizer) : own(checked(PyObject_GenericGetDict(optimizer.ptr(), nullptr))) {
    groups = need(own.ptr(), keys().param_groups), state = need(own.ptr(), keys().state);
    if (!PyList_Check(groups) || !PyDict_Check(state)) throw py::type_error("optimizer: not one of torch's");
  }
  py::object own;
  PyObject *groups, *state;
};

template <class Reader>
py::list refused(const py::object& optimizer) {
  const Optimizer o(optimizer);
  py::list found;
  Plan<Reader> plan;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(o.groups); ++i)
    found.append(plan.refused(PyList_GET_ITEM(o.groups, i), o.state));
  return found;
}

template <class Reader>
void step(const py::object& optimizer) {
  const Optimizer o(optimizer);
  const py::object& own = o.own;
  const double scale = scalar(own.ptr(), keys().grad_scale, 1);
  Plan<Reader> plan;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(o.groups); ++i)
    plan.add(PyList_GET_ITEM(o.groups, i), o.state, scale != 1);
  if (scalar(own.ptr(), keys().found_inf, 0) != 0) return;  // a step to leave out
  for (auto& task : plan.tasks) {
    task.options.common.bound = bound_in(task.weights.dtype, task.options.common.bound);
    if (task.weights.step64)
      *task.weights.step64 += 1;
    else
      *task.weights.step32 += 1;
  }
  run(2 * plan.total, [&](int threads) { Reader::kStep(plan.tasks, 1 / scale, threads); });
  for (const auto& [bound, weights] : plan.only_clipped) clip_weights({weights}, bound, false, 1);
  increment_versions(plan.touched);
}

// How many weights are then at the bound; 0 unless `count`.
std::int64_t clip(const py::list& tensors, double bound, bool count) {
  std::vector<Weights> weights;
  weights.reserve(tensors.size());
  std::int64_t total = 0, at_bound = 0;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(tensors.ptr()); ++i) {
    weights.push_back(weights_of(view(PyList_GET_ITEM(tensors.ptr(), i), {"tensors", i})));
    total += weights.back().count;
  }
  run(2 * total, [&](int threads) { at_bound = clip_weights(weights, bound, count, threads); });
  increment_versions(tensors);
  return at_bound;
}

}  // namespace

void bind_optim(py::module_& m) {
  define<step<RmspropReader>>(m, "rmsprop", {"optimizer"}, "One step of a torch.optim.RMSprop, then its weight_clip.");
  define<step<AdamReader>>(m, "adam", {"optimizer"}, "One step of a torch.optim.Adam, then its weight_clip.");
  constexpr char kRefused[] = "Of each group, the parameters that the step would refuse; nothing is done.";
  define<refused<RmspropReader>>(m, "rmsprop_refused", {"optimizer"}, kRefused);
  define<refused<AdamReader>>(m, "adam_refused", {"optimizer"}, kRefused);
  define<clip>(m, "clip_weights", {"tensors", "bound", "count"},
               "Brings every weight into [-bound, bound]; if `count`, how many are then at the bound.");
}

}  // namespace ganfast
