/*===- SimLibrary.h - The C API of libotodus-sim.so ------------------------===*\
|*
|* The GPU simulator as a library: the runtime's `sim` device and the tests load
|* it with dlopen and look the functions up by name. One simulator stands for one
|* GPU: calls on one simulator must not overlap; several simulators are independent.
|* Memory that kernels may touch is registered; anything else is out of bounds.
|*
\*===----------------------------------------------------------------------===*/

#ifndef OTODUS_ABI_SIMLIBRARY_H
#define OTODUS_ABI_SIMLIBRARY_H

#include "otodus/ABI/Sim.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OTODUS_SIM_LIBRARY_VERSION 1

typedef struct OtodusSimulator OtodusSimulator;

typedef enum OtodusSimChecks {
  OTODUS_SIM_CHECK_NONE, /* nothing but what the semantics need: an access out of bounds is
                            undefined */
  OTODUS_SIM_CHECK_FAST, /* bounds, alignment, shared-memory races, reads of memory never written,
                            two blocks writing one byte */
  OTODUS_SIM_CHECK_FULL  /* also reads of global memory against writes by others */
} OtodusSimChecks;

typedef enum OtodusSimOrder { /* which runnable thread runs next; random uses the seed */
  OTODUS_SIM_FIFO,
  OTODUS_SIM_LIFO,
  OTODUS_SIM_RANDOM
} OtodusSimOrder;

typedef enum OtodusSimAsync { /* when asynchronous operations take effect */
  OTODUS_SIM_LATE,   /* as late as is legal: a missing wait reads old data */
  OTODUS_SIM_EARLY,  /* at once */
  OTODUS_SIM_MIXED   /* by the seed */
} OtodusSimAsync;

typedef struct OtodusSimOptions {
  uint32_t size;        /* sizeof(OtodusSimOptions) */
  uint32_t checks;      /* OtodusSimChecks */
  uint32_t order;       /* OtodusSimOrder */
  uint32_t async;       /* OtodusSimAsync */
  uint64_t seed;
  uint32_t workers;     /* threads of the host, 0: one per core */
  uint32_t maxReports;  /* kept per launch, 0: 32 */
  double timeout;       /* seconds that a launch may take, 0: no limit */
  uint32_t sharedBytes; /* shared memory a block may have, 0: 233472 */
  uint32_t banks;       /* 1: count bank conflicts of ordinary accesses too; needs checks */
} OtodusSimOptions;

typedef enum OtodusSimStatus {
  OTODUS_SIM_OK,       /* ran to the end, nothing to report */
  OTODUS_SIM_REPORTS,  /* ran to the end, but see the reports */
  OTODUS_SIM_FAULT,    /* stopped: access out of bounds, misaligned, deadlock; see the reports */
  OTODUS_SIM_TIMEOUT,  /* stopped after `timeout` seconds */
  OTODUS_SIM_INVALID   /* could not start: arguments or version; see the reports */
} OtodusSimStatus;

typedef struct OtodusSimLaunch {
  uint32_t size;          /* sizeof(OtodusSimLaunch) */
  OtodusSimKernel kernel;
  const char *name;       /* for reports, may be null: then the kernel's own name */
  uint32_t grid[3], threads[3];
  uint32_t cluster[3];    /* blocks per cluster; all 0 or 1: none */
  uint32_t sharedBytes;   /* dynamic shared memory */
  void *const *params;    /* as for cuLaunchKernel; copied neither by the call nor later */
  uint32_t cooperative;   /* all blocks are resident at the same time */
  uint32_t reserved;
} OtodusSimLaunch;

/* Of the last launch, and since otodusSimResetCounters. */
typedef struct OtodusSimCounters {
  uint64_t launches, blocks, threads;
  uint64_t collectives;     /* warp and warp group ops executed */
  uint64_t barriers;        /* block barriers completed */
  uint64_t loads, stores;   /* per thread, all memories; 0 without checks */
  uint64_t sharedAccesses;  /* accesses of a warp by ldmatrix and stmatrix (8 rows each); with
                               OtodusSimOptions::banks also by loads, stores and cp.async */
  uint64_t bankConflicts;   /* passes of those beyond what their bytes need */
  uint64_t reports;
} OtodusSimCounters;

/* OTODUS_SIM_LIBRARY_VERSION the library was built with. */
uint32_t otodusSimVersion(void);

/* A simulator, or null and a message in `error` (at most errorBytes with its NUL). */
OtodusSimulator *otodusSimCreate(const OtodusSimOptions *options, char *error, size_t errorBytes);
void otodusSimDestroy(OtodusSimulator *simulator);

/* Makes [base, base + bytes) known as global memory named `name` (copied). Ranges must not overlap;
 * keep them at least 256 bytes apart, so that small overruns are seen. Bytes are uninitialised
 * until otodusSimInitialised or a kernel's store says otherwise. Returns 0, or 1 if a range
 * overlaps. */
int otodusSimRegister(OtodusSimulator *simulator, void *base, size_t bytes, const char *name);
/* Forgets the range that starts at `base`. */
void otodusSimUnregister(OtodusSimulator *simulator, void *base);
/* The host wrote (initialised != 0) or gave up (0) these bytes of a registered range. */
void otodusSimInitialised(OtodusSimulator *simulator, const void *at, size_t bytes,
                          int initialised);

/* Runs a kernel to its end. */
OtodusSimStatus otodusSimLaunch(OtodusSimulator *simulator, const OtodusSimLaunch *launch);
/* Reports of the last launch: 0 <= index < count; lines of text, valid until the next launch.
 * The order does not depend on timing. */
size_t otodusSimReportCount(const OtodusSimulator *simulator);
const char *otodusSimReport(const OtodusSimulator *simulator, size_t index);

/* The accesses to shared memory that were counted in the last launch, a line per op, those with
 * most conflicts first; valid until the next launch. */
size_t otodusSimBankCount(const OtodusSimulator *simulator);
const char *otodusSimBank(const OtodusSimulator *simulator, size_t index);

void otodusSimGetCounters(const OtodusSimulator *simulator, OtodusSimCounters *counters);
void otodusSimResetCounters(OtodusSimulator *simulator);

/* Fills a tensor map, with the rules of cuTensorMapEncodeTiled: size[rank] and box[rank],
 * step[rank] in elements, stride[rank - 1] in bytes; swizzle is 0, 32, 64 or 128. Returns 0, or 1
 * and a message in `error`. */
int otodusSimEncodeTensorMap(OtodusSimTensorMap *map, OtodusSimType type, uint32_t rank, void *base,
                             const uint64_t *size, const uint64_t *stride, const uint32_t *box,
                             const uint32_t *step, uint32_t swizzle, int fillNaN, char *error,
                             size_t errorBytes);

#ifdef __cplusplus
}
#endif

#endif
