// The leaf loops for x86-64-v4; setup.py compiles this file with -march=x86-64-v4.
#include "leaf_body.h"

namespace ganfast {
extern const Isa kIsaX86V4 = isa("x86-64-v4");
}
