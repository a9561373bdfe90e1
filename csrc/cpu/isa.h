// Which instruction set the leaf loops use: chosen once, when the module is loaded.
#pragma once

#include <vector>

#include "leaf.h"

namespace ganfast {

// The sets that this build has and this processor can run, worst first; empty if there is none.
const std::vector<const Isa*>& supported_isas();

// The set in use: the best one, or the one that use_isa() asked for. Never null if supported_isas() is not empty.
const Isa* current_isa();

// Chooses a supported set by name, for tests and measurements. False if there is none of that name.
bool use_isa(const char* name);

}  // namespace ganfast
