//===- FakeCuda.cpp - A driver without a GPU -------------------------------===//

#include "FakeCuda.h"
#include "Runtime/Cuda/DriverApi.h"

#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace otodus::runtime::cuda {
struct CUctx_st {
  int device;
  bool faulted = false; ///< a kernel failed; nobody has waited yet
  bool dead = false;    ///< everybody is told
  bool hangs = false;
};
struct CUmod_st {};
struct CUfunc_st {
  std::string name;
  int sharedLimit = 48 * 1024;
};
struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st : CUgraph_st {};
struct CUstream_st {
  CUgraph_st *capture = nullptr;
};
struct CUevent_st {};
} // namespace otodus::runtime::cuda

using namespace otodus::runtime::cuda;

namespace {

struct Kernel {
  OtodusKernel function;
  int buffers;
};
struct Failure {
  int error, skip;
};

std::map<std::string, long long> settings = {{"version", 12080}, {"gpus", 2},
                                             {"major", 9},       {"minor", 0},
                                             {"shared", 232448}, {"free", 1ll << 34}};
std::map<std::string, Failure> failures;
std::map<std::string, Kernel> kernels;
std::map<std::string, bool> faults; ///< value: hangs
std::string jitLog, callLog, shownLog;
std::map<CUdeviceptr, size_t> allocations;
std::set<void *> hostAllocations;
int live = 0;
std::map<int, CUctx_st> contexts;
thread_local CUctx_st *current = nullptr;

/// Device addresses are not canonical.
constexpr CUdeviceptr kDevice = 1ull << 62;
void *host(CUdeviceptr at) { return reinterpret_cast<void *>(at - kDevice); }

/// Notes the call and says whether it is to fail.
CUresult enter(const char *function, const std::string &details = "") {
  callLog += function + (details.empty() ? "" : " " + details) + "\n";
  auto found = failures.find(function);
  if (found != failures.end() && found->second.skip-- == 0) {
    int error = found->second.error;
    failures.erase(found);
    return error;
  }
  return CUDA_SUCCESS;
}

#define ENTER(...)                                                                                 \
  if (CUresult error = enter(__func__ __VA_OPT__(, ) __VA_ARGS__))                                 \
  return error
#define ENTER_CONTEXT(...)                                                                         \
  ENTER(__VA_ARGS__);                                                                              \
  if (!current)                                                                                    \
    return 201;                                                                                    \
  if (current->dead)                                                                               \
  return CUDA_ERROR_ILLEGAL_ADDRESS

/// Runs it now, or when a graph is played; not at all behind a fault.
void put(CUstream stream, std::function<void()> work) {
  CUctx_st *context = current;
  auto guarded = [context, work = std::move(work)] {
    if (!context->faulted && !context->hangs)
      work();
  };
  if (stream && stream->capture)
    stream->capture->work.push_back(guarded);
  else
    guarded();
}

CUresult wait() {
  if (current->faulted)
    current->dead = true;
  return current->dead ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS;
}

bool onDevice(CUdeviceptr at, size_t bytes) {
  auto next = allocations.upper_bound(at);
  if (next == allocations.begin())
    return false;
  --next;
  return at + bytes <= next->first + next->second;
}

} // namespace

extern "C" {

void fakeCudaSet(const char *key, long long value) { settings[key] = value; }
void fakeCudaFail(const char *function, int error, int skip) { failures[function] = {error, skip}; }
void fakeCudaFault(const char *kernel, int hang) { faults[kernel] = hang; }
void fakeCudaKernel(const char *name, OtodusKernel function, int buffers) {
  kernels[name] = {function, buffers};
}
void fakeCudaJitLog(const char *text) { jitLog = text; }
const char *fakeCudaLog(void) {
  shownLog = std::move(callLog);
  callLog.clear();
  return shownLog.c_str();
}
int fakeCudaLive(void) { return live; }

CUresult cuInit(unsigned) {
  ENTER();
  return CUDA_SUCCESS;
}
CUresult cuDriverGetVersion(int *version) {
  *version = static_cast<int>(settings["version"]);
  return CUDA_SUCCESS;
}
CUresult cuGetErrorName(CUresult error, const char **text) {
  *text = error == CUDA_ERROR_ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_OTHER";
  return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult error, const char **text) {
  *text = error == CUDA_ERROR_ILLEGAL_ADDRESS ? "an illegal memory access was encountered"
                                              : "another error";
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetCount(int *count) {
  ENTER();
  *count = static_cast<int>(settings["gpus"]);
  return CUDA_SUCCESS;
}
CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  ENTER();
  *device = ordinal;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetName(char *name, int bytes, CUdevice device) {
  ENTER();
  std::strncpy(name, ("Fake " + std::to_string(device)).c_str(), static_cast<size_t>(bytes));
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice) {
  ENTER();
  *value = static_cast<int>(
      attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? settings["major"]
      : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? settings["minor"]
      : attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT     ? 132
                                                                  : settings["shared"]);
  return CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice) {
  *bytes = size_t(1) << 35;
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  ENTER();
  *context = &contexts.try_emplace(device, CUctx_st{device}).first->second;
  ++live;
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) {
  ENTER();
  --live;
  return CUDA_SUCCESS;
}
CUresult cuCtxSetCurrent(CUcontext context) {
  current = context;
  return CUDA_SUCCESS;
}
CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
  ENTER_CONTEXT();
  size_t used = 0;
  for (auto [at, bytes] : allocations)
    used += bytes;
  *free = static_cast<size_t>(settings["free"]) - used;
  *total = size_t(1) << 35;
  return CUDA_SUCCESS;
}
CUresult cuMemAlloc_v2(CUdeviceptr *at, size_t bytes) {
  ENTER_CONTEXT(std::to_string(bytes));
  size_t free = 0, total = 0;
  cuMemGetInfo_v2(&free, &total);
  if (bytes > free)
    return CUDA_ERROR_OUT_OF_MEMORY;
  void *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(memory, 0xab, bytes);
  *at = reinterpret_cast<uintptr_t>(memory) + kDevice;
  allocations[*at] = bytes;
  ++live;
  return CUDA_SUCCESS;
}
CUresult cuMemFree_v2(CUdeviceptr at) {
  ENTER_CONTEXT();
  if (!allocations.erase(at))
    return CUDA_ERROR_INVALID_VALUE;
  std::free(host(at));
  --live;
  return CUDA_SUCCESS;
}
CUresult cuMemHostAlloc(void **at, size_t bytes, unsigned) {
  ENTER_CONTEXT(std::to_string(bytes));
  *at = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  hostAllocations.insert(*at);
  ++live;
  return CUDA_SUCCESS;
}
CUresult cuMemFreeHost(void *at) {
  ENTER_CONTEXT();
  if (!hostAllocations.erase(at))
    return CUDA_ERROR_INVALID_VALUE;
  std::free(at);
  --live;
  return CUDA_SUCCESS;
}
CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *at, void *host, unsigned) {
  ENTER_CONTEXT();
  *at = reinterpret_cast<uintptr_t>(host) + kDevice;
  return CUDA_SUCCESS;
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  ENTER_CONTEXT(std::to_string(bytes));
  if (!onDevice(to, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  put(stream, [=] { std::memcpy(host(to), from, bytes); });
  return CUDA_SUCCESS;
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  ENTER_CONTEXT(std::to_string(bytes));
  if (!onDevice(from, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  put(stream, [=] { std::memcpy(to, host(from), bytes); });
  return CUDA_SUCCESS;
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  ENTER_CONTEXT(std::to_string(bytes));
  if (!onDevice(from, bytes) || !onDevice(to, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  put(stream, [=] { std::memcpy(host(to), host(from), bytes); });
  return CUDA_SUCCESS;
}
CUresult cuMemsetD8Async(CUdeviceptr at, unsigned char value, size_t bytes, CUstream stream) {
  ENTER_CONTEXT(std::to_string(bytes));
  if (!onDevice(at, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  put(stream, [=] { std::memset(host(at), value, bytes); });
  return CUDA_SUCCESS;
}
CUresult cuStreamCreate(CUstream *stream, unsigned) {
  ENTER_CONTEXT();
  *stream = new CUstream_st();
  ++live;
  return CUDA_SUCCESS;
}
CUresult cuStreamDestroy_v2(CUstream stream) {
  ENTER_CONTEXT();
  delete stream;
  --live;
  return CUDA_SUCCESS;
}
CUresult cuStreamQuery(CUstream) {
  if (!current)
    return 201;
  return current->hangs ? CUresult(CUDA_ERROR_NOT_READY) : wait();
}
CUresult cuStreamSynchronize(CUstream) {
  ENTER_CONTEXT();
  return wait();
}
CUresult cuStreamBeginCapture_v2(CUstream stream, unsigned) {
  ENTER_CONTEXT();
  stream->capture = new CUgraph_st();
  return CUDA_SUCCESS;
}
CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  ENTER_CONTEXT();
  *graph = stream->capture;
  stream->capture = nullptr;
  ++live;
  return CUDA_SUCCESS;
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec *graph, CUgraph from, unsigned long long) {
  ENTER_CONTEXT();
  *graph = new CUgraphExec_st{*from};
  ++live;
  return CUDA_SUCCESS;
}
CUresult cuGraphLaunch(CUgraphExec graph, CUstream) {
  ENTER_CONTEXT();
  for (const auto &work : graph->work)
    work();
  return CUDA_SUCCESS;
}
CUresult cuGraphExecDestroy(CUgraphExec graph) {
  ENTER_CONTEXT();
  delete graph;
  --live;
  return CUDA_SUCCESS;
}
CUresult cuGraphDestroy(CUgraph graph) {
  ENTER_CONTEXT();
  delete graph;
  --live;
  return CUDA_SUCCESS;
}
CUresult cuEventCreate(CUevent *event, unsigned) {
  ENTER_CONTEXT();
  *event = new CUevent_st();
  ++live;
  return CUDA_SUCCESS;
}
CUresult cuEventRecord(CUevent, CUstream) {
  ENTER_CONTEXT();
  return CUDA_SUCCESS;
}
CUresult cuEventElapsedTime(float *milliseconds, CUevent, CUevent) {
  ENTER_CONTEXT();
  *milliseconds = 0.25f;
  return CUDA_SUCCESS;
}
CUresult cuEventDestroy_v2(CUevent event) {
  ENTER_CONTEXT();
  delete event;
  --live;
  return CUDA_SUCCESS;
}
CUresult cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr at, uint32_t value, unsigned) {
  ENTER_CONTEXT();
  put(stream, [=] { *static_cast<uint32_t *>(host(at)) = value; });
  return CUDA_SUCCESS;
}
CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, int *options,
                            void **values) {
  size_t room = 0;
  for (unsigned i = 0; i < count; ++i)
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
      room = reinterpret_cast<size_t>(values[i]);
  for (unsigned i = 0; i < count; ++i)
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER && room)
      std::strncpy(static_cast<char *>(values[i]), jitLog.c_str(), room - 1);
  ENTER_CONTEXT(std::string(static_cast<const char *>(image)).substr(0, 12));
  *module = new CUmod_st();
  ++live;
  return CUDA_SUCCESS;
}
CUresult cuModuleUnload(CUmodule module) {
  ENTER_CONTEXT();
  delete module;
  --live;
  return CUDA_SUCCESS;
}
CUresult cuModuleGetFunction(CUfunction *function, CUmodule, const char *name) {
  ENTER_CONTEXT(name);
  static std::map<std::string, CUfunc_st> functions;
  if (!kernels.count(name))
    return CUDA_ERROR_NOT_FOUND;
  *function = &functions[name];
  (*function)->name = name;
  return CUDA_SUCCESS;
}
CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
  ENTER_CONTEXT(function->name + " " + std::to_string(attribute) + " " + std::to_string(value));
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
    function->sharedLimit = value;
  return CUDA_SUCCESS;
}
CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **params,
                          void **) {
  std::string cluster;
  for (unsigned i = 0; i < config->numAttrs; ++i)
    if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
      cluster = " cluster " + std::to_string(config->attrs[i].value.clusterDim.x);
  ENTER_CONTEXT(function->name + " grid " + std::to_string(config->gridDimX) + " block " +
                std::to_string(config->blockDimX) + " shared " +
                std::to_string(config->sharedMemBytes) + cluster);
  if (static_cast<int>(config->sharedMemBytes) > function->sharedLimit)
    return CUDA_ERROR_INVALID_VALUE;
  const Kernel &kernel = kernels.at(function->name);
  std::vector<void *> buffers;
  for (int i = 0; i < kernel.buffers; ++i)
    buffers.push_back(host(*static_cast<CUdeviceptr *>(params[i])));
  int64_t sizes[3];
  for (int i = 0; i < 3; ++i)
    sizes[i] = *static_cast<int64_t *>(params[kernel.buffers + i]);
  int64_t items = config->gridDimX;
  auto fault = faults.find(function->name);
  CUctx_st *context = current;
  bool bad = fault != faults.end(), hangs = bad && fault->second;
  put(config->hStream, [=]() mutable {
    if (hangs)
      context->hangs = true;
    else if (bad)
      context->faulted = true;
    if (bad)
      return;
    OtodusKernelArguments arguments = {buffers.data(), sizes[0], sizes[1], sizes[2]};
    kernel.function(&arguments, 0, items);
  });
  return CUDA_SUCCESS;
}
CUresult cuTensorMapEncodeTiled(CUtensorMap *map, int type, uint32_t rank, void *base,
                                const uint64_t *sizes, const uint64_t *strides,
                                const uint32_t *box, const uint32_t *steps, int interleave,
                                int swizzle, int, int) {
  std::string text = std::to_string(type) + " sizes";
  for (uint32_t i = 0; i < rank; ++i)
    text += " " + std::to_string(sizes[i]);
  text += " strides";
  for (uint32_t i = 0; i + 1 < rank; ++i)
    text += " " + std::to_string(strides[i]);
  text += " box";
  for (uint32_t i = 0; i < rank; ++i)
    text += " " + std::to_string(box[i]);
  ENTER(text + " swizzle " + std::to_string(swizzle));
  map->opaque[0] = reinterpret_cast<uintptr_t>(base);
  return steps[0] == 1 && interleave == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

} // extern "C"
