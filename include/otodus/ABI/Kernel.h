/*===- Kernel.h - How the runtime calls compiled CPU kernels ---------------===*\
|*
|* Plain C. The compiler generates functions of type OtodusKernel; the runtime
|* calls them. Changing anything here needs a new artefact version.
|*
\*===----------------------------------------------------------------------===*/

#ifndef OTODUS_ABI_KERNEL_H
#define OTODUS_ABI_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sizes of the call in progress. `rows` is batch * length. */
typedef struct OtodusKernelArguments {
  void *const *buffers; /* one per Launch::buffers entry, 64-byte aligned */
  int64_t batch;
  int64_t length;
  int64_t rows;
} OtodusKernelArguments;

/* Runs work items lo <= i < hi. Thread-safe for disjoint ranges. */
typedef void (*OtodusKernel)(const OtodusKernelArguments *arguments, int64_t lo,
                             int64_t hi);

#ifdef __cplusplus
}
static_assert(sizeof(OtodusKernelArguments) == 32, "kernel ABI");
static_assert(offsetof(OtodusKernelArguments, rows) == 24, "kernel ABI");
#endif

#endif
