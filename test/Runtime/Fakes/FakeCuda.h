//===- FakeCuda.h - A driver without a GPU ---------------------------------===//
//
// libfakecuda.so has the functions of libcuda.so.1 that the runtime calls, over host
// memory. Kernels are functions of the test. Device addresses are no addresses of the
// host, so whoever confuses the two crashes. These functions steer it; each copy of the
// file is a driver of its own.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/ABI/Kernel.h"

extern "C" {
/// "version", "gpus", "major", "minor", "shared", "free": what the driver says of itself and of
/// every GPU.
void fakeCudaSet(const char *key, long long value);
/// Call number `skip` (from now, from 0) of `function` returns `error`.
void fakeCudaFail(const char *function, int error, int skip);
/// The kernel faults on the GPU: error 700 when one waits, and then for good. With `hang` it
/// never ends instead.
void fakeCudaFault(const char *kernel, int hang);
/// What a kernel of loaded code does: `function` over all its blocks, `buffers` pointers first.
void fakeCudaKernel(const char *name, OtodusKernel function, int buffers);
/// What the translator has to say about code.
void fakeCudaJitLog(const char *text);
/// One line per call of the driver since the last time; the text lives until the next call.
const char *fakeCudaLog(void);
/// Allocations, streams, modules, graphs, events and contexts that nobody gave back.
int fakeCudaLive(void);
}
