//===- DriverApi.h - What we use of NVIDIA's driver API --------------------===//
//
// Own declarations of the functions of libcuda.so.1 that the `cuda` device calls, so that
// nothing of CUDA is needed to build. Names and values are those of the CUDA driver API
// reference.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace otodus::runtime::cuda {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx_st *;
using CUmodule = struct CUmod_st *;
using CUfunction = struct CUfunc_st *;
using CUstream = struct CUstream_st *;
using CUevent = struct CUevent_st *;
using CUgraph = struct CUgraph_st *;
using CUgraphExec = struct CUgraphExec_st *;

enum : CUresult {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_INVALID_PTX = 218,
  CUDA_ERROR_JIT_COMPILER_NOT_FOUND = 221,
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_NOT_READY = 600,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701,
  CUDA_ERROR_LAUNCH_TIMEOUT = 702,
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_NOT_SUPPORTED = 801,
  CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
};

enum : int { // CUdevice_attribute
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,
};

enum : int { // CUfunction_attribute
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
  CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED = 14,
};

enum : int { // CUjit_option
  CU_JIT_INFO_LOG_BUFFER = 3,
  CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES = 4,
  CU_JIT_ERROR_LOG_BUFFER = 5,
  CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6,
};

enum : unsigned {
  CU_STREAM_NON_BLOCKING = 1,
  CU_EVENT_DEFAULT = 0,
  CU_MEMHOSTALLOC_PORTABLE = 1,
  CU_MEMHOSTALLOC_DEVICEMAP = 2,
  CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1,
  CU_STREAM_WRITE_VALUE_DEFAULT = 0,
};

enum : int { // of tensor maps
  CU_TENSOR_MAP_DATA_TYPE_INT32 = 3,
  CU_TENSOR_MAP_DATA_TYPE_FLOAT32 = 7,
  CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9,
  CU_TENSOR_MAP_INTERLEAVE_NONE = 0,
  CU_TENSOR_MAP_SWIZZLE_NONE = 0,
  CU_TENSOR_MAP_SWIZZLE_32B = 1,
  CU_TENSOR_MAP_SWIZZLE_64B = 2,
  CU_TENSOR_MAP_SWIZZLE_128B = 3,
  CU_TENSOR_MAP_L2_PROMOTION_L2_128B = 2,
  CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE = 0,
};

enum : int { CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION = 4 };

struct CUlaunchAttribute {
  int id;
  char pad[8 - sizeof(int)];
  union {
    char pad[64];
    struct {
      unsigned x, y, z;
    } clusterDim;
  } value;
};

struct CUlaunchConfig {
  unsigned gridDimX, gridDimY, gridDimZ;
  unsigned blockDimX, blockDimY, blockDimZ;
  unsigned sharedMemBytes;
  CUstream hStream;
  CUlaunchAttribute *attrs;
  unsigned numAttrs;
};

/// 128 bytes, aligned to 64.
struct alignas(64) CUtensorMap {
  uint64_t opaque[16];
};

// FIELD(member, symbol in the library, result, parameters). Where the API has versions the symbol
// names the one that the declaration is of.
#define OTODUS_CUDA_FUNCTIONS(FIELD)                                                               \
  FIELD(init, cuInit, (unsigned flags))                                                            \
  FIELD(driverGetVersion, cuDriverGetVersion, (int *version))                                      \
  FIELD(getErrorName, cuGetErrorName, (CUresult error, const char **text))                         \
  FIELD(getErrorString, cuGetErrorString, (CUresult error, const char **text))                     \
  FIELD(deviceGetCount, cuDeviceGetCount, (int *count))                                            \
  FIELD(deviceGet, cuDeviceGet, (CUdevice *device, int ordinal))                                   \
  FIELD(deviceGetName, cuDeviceGetName, (char *name, int bytes, CUdevice device))                  \
  FIELD(deviceGetAttribute, cuDeviceGetAttribute, (int *value, int attribute, CUdevice device))    \
  FIELD(deviceTotalMem, cuDeviceTotalMem_v2, (size_t *bytes, CUdevice device))                     \
  FIELD(primaryCtxRetain, cuDevicePrimaryCtxRetain, (CUcontext *context, CUdevice device))         \
  FIELD(primaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (CUdevice device))                        \
  FIELD(ctxSetCurrent, cuCtxSetCurrent, (CUcontext context))                                       \
  FIELD(memGetInfo, cuMemGetInfo_v2, (size_t *free, size_t *total))                                \
  FIELD(memAlloc, cuMemAlloc_v2, (CUdeviceptr *at, size_t bytes))                                  \
  FIELD(memFree, cuMemFree_v2, (CUdeviceptr at))                                                   \
  FIELD(memHostAlloc, cuMemHostAlloc, (void **at, size_t bytes, unsigned flags))                   \
  FIELD(memFreeHost, cuMemFreeHost, (void *at))                                                    \
  FIELD(memHostGetDevicePointer, cuMemHostGetDevicePointer_v2,                                     \
        (CUdeviceptr *at, void *host, unsigned flags))                                             \
  FIELD(memcpyHtoDAsync, cuMemcpyHtoDAsync_v2,                                                     \
        (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))                         \
  FIELD(memcpyDtoHAsync, cuMemcpyDtoHAsync_v2,                                                     \
        (void *to, CUdeviceptr from, size_t bytes, CUstream stream))                               \
  FIELD(memcpyDtoDAsync, cuMemcpyDtoDAsync_v2,                                                     \
        (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream))                         \
  FIELD(memsetD8Async, cuMemsetD8Async,                                                            \
        (CUdeviceptr at, unsigned char value, size_t bytes, CUstream stream))                      \
  FIELD(streamCreate, cuStreamCreate, (CUstream *stream, unsigned flags))                          \
  FIELD(streamDestroy, cuStreamDestroy_v2, (CUstream stream))                                      \
  FIELD(streamQuery, cuStreamQuery, (CUstream stream))                                             \
  FIELD(streamSynchronize, cuStreamSynchronize, (CUstream stream))                                 \
  FIELD(streamBeginCapture, cuStreamBeginCapture_v2, (CUstream stream, unsigned mode))             \
  FIELD(streamEndCapture, cuStreamEndCapture, (CUstream stream, CUgraph *graph))                   \
  FIELD(graphInstantiate, cuGraphInstantiateWithFlags,                                             \
        (CUgraphExec *graph, CUgraph from, unsigned long long flags))                              \
  FIELD(graphLaunch, cuGraphLaunch, (CUgraphExec graph, CUstream stream))                          \
  FIELD(graphExecDestroy, cuGraphExecDestroy, (CUgraphExec graph))                                 \
  FIELD(graphDestroy, cuGraphDestroy, (CUgraph graph))                                             \
  FIELD(eventCreate, cuEventCreate, (CUevent *event, unsigned flags))                              \
  FIELD(eventRecord, cuEventRecord, (CUevent event, CUstream stream))                              \
  FIELD(eventElapsedTime, cuEventElapsedTime, (float *milliseconds, CUevent from, CUevent to))     \
  FIELD(eventDestroy, cuEventDestroy_v2, (CUevent event))                                          \
  FIELD(moduleLoadDataEx, cuModuleLoadDataEx,                                                      \
        (CUmodule *module, const void *image, unsigned count, int *options, void **values))        \
  FIELD(moduleUnload, cuModuleUnload, (CUmodule module))                                           \
  FIELD(moduleGetFunction, cuModuleGetFunction,                                                    \
        (CUfunction *function, CUmodule module, const char *name))                                 \
  FIELD(funcSetAttribute, cuFuncSetAttribute, (CUfunction function, int attribute, int value))     \
  FIELD(launchKernelEx, cuLaunchKernelEx,                                                          \
        (const CUlaunchConfig *config, CUfunction function, void **params, void **extra))          \
  FIELD(tensorMapEncodeTiled, cuTensorMapEncodeTiled,                                              \
        (CUtensorMap *map, int type, uint32_t rank, void *base, const uint64_t *sizes,             \
         const uint64_t *strides, const uint32_t *box, const uint32_t *steps, int interleave,      \
         int swizzle, int l2, int fill))

/// The functions, and one that old drivers lack.
struct DriverApi {
#define OTODUS_FIELD(MEMBER, SYMBOL, PARAMETERS) CUresult(*MEMBER) PARAMETERS = nullptr;
  OTODUS_CUDA_FUNCTIONS(OTODUS_FIELD)
#undef OTODUS_FIELD
  /// May be null.
  CUresult (*streamWriteValue32)(CUstream stream, CUdeviceptr at, uint32_t value,
                                 unsigned flags) = nullptr;

  int version = 0;  ///< 12040 is CUDA 12.4
  int gpus = 0;

  /// "illegal address (CUDA_ERROR_ILLEGAL_ADDRESS)" and the like.
  std::string describe(CUresult error) const;
};

/// The driver, initialised. Code::Target if there is none, it is too old (names both versions), it
/// does not work, or there is no GPU. `library` instead of libcuda.so.1, for tests. A library is
/// loaded once.
Result<std::shared_ptr<const DriverApi>> loadDriver(const std::string &library);

/// The oldest driver that has what we call.
inline constexpr int kOldestDriver = 12000;

} // namespace otodus::runtime::cuda
