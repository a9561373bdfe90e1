// The leaf loops for x86-64-v3; setup.py compiles this file with -march=x86-64-v3.
#include "leaf_body.h"

namespace ganfast {
extern const Isa kIsaX86V3 = isa("x86-64-v3");
}
