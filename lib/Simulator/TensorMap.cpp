//===- TensorMap.cpp - Boxes of tensors and how they lie in shared memory --===//
//
// The encoder refuses what cuTensorMapEncodeTiled refuses (CUDA driver API, "Tensor Map Object
// Management").
//
//===----------------------------------------------------------------------===//

#include "TensorMap.h"

#include "otodus/ABI/SimLibrary.h"

#include <cstdio>
#include <cstring>

namespace otodus::sim {
namespace {

uint32_t bytesOf(OtodusSimType type) {
  switch (type) {
  case OTODUS_SIM_I8:
    return 1;
  case OTODUS_SIM_I16:
  case OTODUS_SIM_F16:
  case OTODUS_SIM_BF16:
    return 2;
  case OTODUS_SIM_I32:
  case OTODUS_SIM_F32:
    return 4;
  case OTODUS_SIM_I64:
  case OTODUS_SIM_F64:
    return 8;
  default:
    return 0;
  }
}

bool isFloat(OtodusSimType type) {
  return type == OTODUS_SIM_F16 || type == OTODUS_SIM_BF16 || type == OTODUS_SIM_F32 ||
         type == OTODUS_SIM_F64;
}

std::string number(uint64_t value) { return std::to_string(value); }

std::string dimension(uint32_t i) { return " of dimension " + std::to_string(i); }

/// Empty if the map is fine.
std::string refuse(OtodusSimType type, uint32_t rank, uint64_t base, const uint64_t *size,
                   const uint64_t *stride, const uint32_t *box, const uint32_t *step,
                   uint32_t swizzleBytes, bool fillNaN) {
  uint32_t element = bytesOf(type);
  if (element == 0)
    return "tensor map: expected an element type of 1, 2, 4 or 8 bytes";
  if (rank < 1 || rank > 5)
    return "tensor map: expected 1 to 5 dimensions, found " + number(rank);
  if (base % 16 != 0)
    return "tensor map: expected a global address that is a multiple of 16, found one that is " +
           number(base % 16) + " bytes past it";
  for (uint32_t i = 0; i < rank; ++i) {
    if (size[i] == 0 || size[i] >> 32)
      return "tensor map: expected a size" + dimension(i) + " below 2^32, at least 1, found " +
             number(size[i]);
    if (box[i] == 0 || box[i] > 256)
      return "tensor map: expected a box size" + dimension(i) + " from 1 to 256, found " +
             number(box[i]) + "; cut the box";
    if (step[i] == 0 || step[i] > 8)
      return "tensor map: expected an element step" + dimension(i) + " from 1 to 8, found " +
             number(step[i]);
  }
  for (uint32_t i = 0; i + 1 < rank; ++i)
    if (stride[i] % 16 != 0 || stride[i] >= (uint64_t(1) << 40))
      return "tensor map: expected a stride" + dimension(i + 1) +
             " that is a multiple of 16 bytes below 2^40, found " + number(stride[i]) +
             "; pad the rows";
  uint32_t inner = box[0] * element;
  if (inner % 16 != 0)
    return "tensor map: expected an inner box size that is a multiple of 16 bytes, found " +
           number(inner);
  if (swizzleBytes != 0 && swizzleBytes != 32 && swizzleBytes != 64 && swizzleBytes != 128)
    return "tensor map: expected a swizzle of 0, 32, 64 or 128 bytes, found " +
           number(swizzleBytes);
  if (swizzleBytes != 0 && inner > swizzleBytes)
    return "tensor map: expected an inner box size of at most the swizzle's " +
           number(swizzleBytes) + " bytes, found " + number(inner) + "; cut the box";
  if (fillNaN && !isFloat(type))
    return "tensor map: expected zero as the value outside of a tensor of integers, found NaN";
  return {};
}

} // namespace

uint32_t boxBytes(const OtodusSimTensorMap &map) {
  uint64_t bytes = map.elementBytes;
  for (uint32_t i = 0; i < map.rank; ++i)
    bytes *= boxElements(map, i);
  return static_cast<uint32_t>(bytes);
}

std::string refuseBox(const OtodusSimTensorMap &map, uint64_t address) {
  uint32_t repeat = swizzleRepeat(map.swizzle);
  if (address % repeat != 0)
    return "the box starts " + number(address % repeat) + " bytes past a multiple of " +
           number(repeat) + ", but a swizzle of " + number(map.swizzle) +
           " bytes needs that alignment in shared memory";
  uint32_t inner = boxElements(map, 0) * map.elementBytes;
  if (map.swizzle != 0 && inner != map.swizzle)
    return "the box's rows have " + number(inner) + " bytes and the swizzle " +
           number(map.swizzle) + "; only rows as long as the swizzle are simulated: use a box or a "
           "swizzle of the other's size";
  return {};
}

} // namespace otodus::sim

extern "C" int otodusSimEncodeTensorMap(OtodusSimTensorMap *map, OtodusSimType type, uint32_t rank,
                                        void *base, const uint64_t *size, const uint64_t *stride,
                                        const uint32_t *box, const uint32_t *step,
                                        uint32_t swizzleBytes, int fillNaN, char *error,
                                        size_t errorBytes) {
  using namespace otodus::sim;
  std::string reason = reinterpret_cast<uint64_t>(map) % 64 != 0
                           ? "tensor map: expected the map itself at a multiple of 64 bytes"
                           : refuse(type, rank, reinterpret_cast<uint64_t>(base), size, stride, box,
                                    step, swizzleBytes, fillNaN != 0);
  if (!reason.empty()) {
    if (errorBytes)
      std::snprintf(error, errorBytes, "%s", reason.c_str());
    return 1;
  }
  *map = {};
  map->magic = OTODUS_SIM_TENSOR_MAP;
  map->base = reinterpret_cast<uint64_t>(base);
  map->elementBytes = static_cast<uint8_t>(bytesOf(type));
  map->rank = static_cast<uint8_t>(rank);
  map->swizzle = static_cast<uint8_t>(swizzleBytes);
  map->fillNaN = fillNaN != 0;
  map->elementType = static_cast<uint8_t>(type);
  for (uint32_t i = 0; i < rank; ++i) {
    map->size[i] = static_cast<uint32_t>(size[i]);
    map->box[i] = static_cast<uint16_t>(box[i]);
    // The driver ignores the step of the innermost dimension.
    map->step[i] = static_cast<uint16_t>(i == 0 ? 1 : step[i]);
    if (i > 0)
      map->stride[i - 1] = stride[i - 1];
  }
  return 0;
}
