//===- LaunchMaps.cpp - The tensor maps of a launch ------------------------===//

#include "LaunchMaps.h"
#include "otodus/Formats/Launches.h"

namespace otodus::runtime {

Status encodeMaps(Device &device, const Kernel &kernel, const std::string &launch,
                  void *const *pointers, int64_t batch, int64_t length,
                  std::vector<MapBytes> &maps) {
  maps.resize(kernel.tensorMaps.size());
  for (size_t i = 0; i < kernel.tensorMaps.size(); ++i) {
    const formats::TensorMap &map = kernel.tensorMaps[i];
    TensorMapShape shape;
    shape.dtype = map.dtype;
    shape.rank = static_cast<uint32_t>(map.extents.size());
    shape.base = pointers[map.buffer];
    shape.swizzle = static_cast<uint32_t>(map.swizzle);
    for (size_t d = 0; d < map.extents.size(); ++d) {
      shape.size[d] = static_cast<uint64_t>(formats::valueOf(map.extents[d], batch, length));
      shape.box[d] = static_cast<uint32_t>(map.box[d]);
      if (d > 0)
        shape.stride[d - 1] = static_cast<uint64_t>(formats::valueOf(map.strides[d - 1], batch, length));
    }
    OTODUS_RETURN_IF_ERROR(device.encode(shape, maps[i].bytes)
                               .in("launch '" + launch + "', kernel '" + kernel.name +
                                   "', tensor map " + std::to_string(i)));
  }
  return Status::ok();
}

} // namespace otodus::runtime
