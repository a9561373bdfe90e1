// The leaf loops for machines other than x86-64, with what their compiler assumes (NEON on aarch64).
#include "leaf_body.h"

namespace ganfast {
extern const Isa kIsaGeneric = isa("generic");
}
