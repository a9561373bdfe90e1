// The leaf loops for x86-64-v2; setup.py compiles this file with -march=x86-64-v2.
#include "leaf_body.h"

namespace ganfast {
extern const Isa kIsaX86V2 = isa("x86-64-v2");
}
