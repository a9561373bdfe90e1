// A libcuda.so.1 without a GPU: its launches write down what they are given. The functions that Triton's own module
// asks for besides are added by fake_driver.py, and do nothing.
#include <string.h>

typedef struct {
  unsigned grid[3], block[3], shared;
  void* stream;
  void* attributes;
  unsigned attribute_count;
} Config;  // CUlaunchConfig

// What the next launch's parameters are, in bytes; what the last one was given, and how many there were.
int sizes[64], size_count, launches, device, failure;
unsigned dimensions[7], attribute_count;
void *function, *stream;
unsigned char parameters[64][8];

static int record(void* f, void** given) {
  function = f;
  memset(parameters, 0, sizeof parameters);
  for (int i = 0; i < size_count; ++i) memcpy(parameters[i], given[i], sizes[i]);
  ++launches;
  return failure;
}

int cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void* on, void** given, void** extra) {
  const unsigned all[7] = {gx, gy, gz, bx, by, bz, shared};
  memcpy(dimensions, all, sizeof all);
  stream = on, attribute_count = 0;
  return extra ? 1 : record(f, given);
}

int cuLaunchKernelEx(const Config* config, void* f, void** given, void** extra) {
  memcpy(dimensions, config->grid, sizeof dimensions);
  stream = config->stream, attribute_count = config->attribute_count;
  return extra ? 1 : record(f, given);
}

int cuCtxGetDevice(int* current) { return *current = device, device < 0 ? 201 : 0; }
int cuCtxGetCurrent(void** context) { return *context = &device, 0; }
int cuPointerGetAttribute(void** found, int attribute, void* pointer) { return *found = pointer, attribute != 3; }
