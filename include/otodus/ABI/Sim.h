/*===- Sim.h - How the GPU simulator and simulated kernels meet ------------===*\
|*
|* Plain C. The pass otodus-nvvm-to-sim (lib/Codegen/Sim) generates host code
|* that uses these records; lib/Simulator runs it. A simulated kernel is a closed
|* position-independent blob: it calls the simulator only through the table of its
|* context, and its own records hold distances, not addresses.
|*
|* What an op means for the simulator stands in SimOps.def, one row per op. The
|* number of a row is part of the code: kernel and simulator must come from the
|* same table, which OtodusSimKernelInfo::version tells.
|*
\*===----------------------------------------------------------------------===*/

#ifndef OTODUS_ABI_SIM_H
#define OTODUS_ABI_SIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One value per row of SimOps.def. */
typedef enum OtodusSimOp {
#define OTODUS_SIM_OP(ID, NAME, WHO, MASK, HANDLER, ATTRIBUTES) OTODUS_SIM_OP_##ID,
#include "otodus/ABI/SimOps.def"
  OTODUS_SIM_OP_COUNT
} OtodusSimOp;

/* Keywords of attributes: kinds of shuffles, layouts, element types ... */
typedef enum OtodusSimWord {
#define OTODUS_SIM_WORD(ID, TEXT) OTODUS_SIM_WORD_##ID,
#include "otodus/ABI/SimOps.def"
  OTODUS_SIM_WORD_COUNT
} OtodusSimWord;

/* Scalars, and elements of vectors. */
typedef enum OtodusSimType {
  OTODUS_SIM_NONE, /* no value, or a struct */
  OTODUS_SIM_I1,
  OTODUS_SIM_I8,
  OTODUS_SIM_I16,
  OTODUS_SIM_I32,
  OTODUS_SIM_I64,
  OTODUS_SIM_F16,
  OTODUS_SIM_BF16,
  OTODUS_SIM_F32,
  OTODUS_SIM_F64,
  OTODUS_SIM_POINTER
} OtodusSimType;

enum {
  OTODUS_SIM_MAX_ATTRIBUTES = 12,
  OTODUS_SIM_MAX_SEGMENTS = 16,
  OTODUS_SIM_WARP = 32
};

/* One op of the kernel: what it is and where it stands. Constant; its address is its identity
 * ("all lanes execute the same instruction"). */
typedef struct OtodusSimSite {
  uint16_t op;         /* OtodusSimOp */
  uint8_t type;        /* OtodusSimType of the result's elements, without a result of operand 0's */
  uint8_t bytes;       /* of one element of `type`, 0 if NONE */
  uint32_t lanes;      /* elements of that value: 1 for scalars */
  uint32_t number;     /* running number in the kernel's module */
  uint32_t line, column;
  int32_t file;        /* distance in bytes from this record to a NUL-terminated string */
  int32_t label;       /* the same: innermost named location ("layers.3.ffn_up"), or "" */
  uint32_t operands;   /* number of slots */
  /* Of an op with optional or variadic operands: how many operands each group has, in the order
   * of the op's definition. Otherwise 0. */
  uint8_t segments[OTODUS_SIM_MAX_SEGMENTS];
  /* In the order of the row's attribute list. Integers as they are, flags 0 / 1, keywords as
   * OtodusSimWord, an absent optional attribute as -1. */
  int64_t attributes[OTODUS_SIM_MAX_ATTRIBUTES];
} OtodusSimSite;

typedef struct OtodusSimContext OtodusSimContext;

/* An op with an effect beyond its lane. Operand i is in slots[i]: integers and pointers
 * zero-extended, floats and vectors of at most 8 bytes by their bits, anything larger by the
 * address of a copy. The result is written to `result` as the value lies in memory (a struct with
 * natural alignment; i1 as one byte). `slots` and `result` live on the thread's own stack until
 * the handler returns; for a collective the handler returns when all lanes have arrived. */
typedef void (*OtodusSimHandler)(OtodusSimContext *context, const OtodusSimSite *site,
                                 uint64_t *slots, void *result);

/* Before a load or store of `bytes` bytes at `address`, which must be a multiple of `alignment`
 * (a power of two). */
typedef void (*OtodusSimAccess)(OtodusSimContext *context, const OtodusSimSite *site,
                                uint64_t address, uint32_t bytes, uint32_t alignment);

/* What one thread sees. Kernels read the fields directly; each block has its own shared memory,
 * which lies below 4 GiB at a multiple of 256 KiB, so that a host pointer is the shared address. */
struct OtodusSimContext {
  const OtodusSimHandler *handlers; /* [OTODUS_SIM_OP_COUNT] */
  OtodusSimAccess load, store;
  void (*poll)(OtodusSimContext *context); /* on every backward branch */
  uint64_t shared;                  /* address of the block's shared memory */
  uint32_t tid[3], ntid[3], ctaid[3], nctaid[3];
  uint32_t laneid, warpid, nwarpid;
  uint32_t smid, nsmid, gridid;
  uint32_t lanemask[5];             /* eq, lt, le, gt, ge */
  uint32_t clusterid[3], nclusterid[3], cluster_ctaid[3], cluster_nctaid[3];
  uint32_t cluster_ctarank, cluster_nctarank;
  uint32_t dynamic_smem_size, total_smem_size;
  uint32_t warpsize;
  uint32_t reserved;
};

/* What the host must know about a kernel; lies in its code, constant. */
typedef struct OtodusSimKernelInfo {
  uint64_t version;        /* OTODUS_SIM_VERSION of the compiler */
  uint32_t staticShared;   /* bytes of shared memory with a name, before the dynamic part */
  uint32_t sharedAlign;    /* of the dynamic part, bytes */
  uint32_t threads[3];     /* required block size (reqntid), 0 if any */
  uint32_t clusters[3];    /* required cluster size, 0 if any */
  uint32_t parameters;     /* entries of params */
  uint32_t sites;          /* number of OtodusSimSite records */
  int32_t firstSite;       /* distance in bytes from this record to site 0 */
  int32_t name;            /* distance in bytes to the kernel's name */
} OtodusSimKernelInfo;

/* Entry of a simulated kernel. With a context: runs one thread; params[i] points at the value of
 * parameter i, as cuLaunchKernel takes them (a byval parameter: at its bytes). With a null context
 * it does nothing. Returns the kernel's record either way. */
typedef const OtodusSimKernelInfo *(*OtodusSimKernel)(OtodusSimContext *context,
                                                      void *const *params);

/* The simulator's tensor map: 128 bytes, in place of CUtensorMap. Made by
 * otodusSimEncodeTensorMap (SimLibrary.h). Dimension 0 is the innermost. */
typedef struct OtodusSimTensorMap {
  uint64_t magic;          /* OTODUS_SIM_TENSOR_MAP */
  uint64_t base;           /* global address, multiple of 16 */
  uint8_t elementBytes;
  uint8_t rank;            /* 1 ... 5 */
  uint8_t swizzle;         /* bytes: 0, 32, 64, 128 */
  uint8_t fillNaN;         /* out of bounds elements are NaN instead of 0 */
  uint8_t elementType;     /* OtodusSimType */
  uint8_t reserved[3];
  uint64_t stride[4];      /* bytes between indices of dimension 1 ... rank-1 */
  uint32_t size[5];        /* elements */
  uint32_t reserved2;
  uint16_t box[5];         /* elements, 1 ... 256 */
  uint16_t step[5];        /* element strides (1 = dense) */
  uint8_t reserved3[28];
} OtodusSimTensorMap;

#define OTODUS_SIM_TENSOR_MAP 0x70616d54736f646full

#ifdef __cplusplus
}
static_assert(sizeof(OtodusSimTensorMap) == 128, "a tensor map has 128 bytes");
static_assert(sizeof(OtodusSimSite) == 32 + 16 + 96, "simulator ABI");

namespace otodus::sim {
/// Changes with every change of the table: FNV-1a over the rows' names and attribute lists.
constexpr uint64_t tableVersion() {
  uint64_t hash = 0xcbf29ce484222325ull ^ sizeof(OtodusSimContext) ^ (sizeof(OtodusSimSite) << 16);
  auto add = [&hash](const char *text) {
    for (; *text; ++text)
      hash = (hash ^ uint64_t(uint8_t(*text))) * 0x100000001b3ull;
    hash = (hash ^ 0xff) * 0x100000001b3ull;
  };
#define OTODUS_SIM_OP(ID, NAME, WHO, MASK, HANDLER, ATTRIBUTES) add(NAME), add(ATTRIBUTES);
#define OTODUS_SIM_WORD(ID, TEXT) add(TEXT);
#include "otodus/ABI/SimOps.def"
  return hash;
}
inline constexpr uint64_t kTableVersion = tableVersion();
} // namespace otodus::sim
#endif

#endif
