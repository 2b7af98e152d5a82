//===- SimSites.h - The constant records of a simulated module -------------===//

#pragma once

#include "otodus/ABI/Sim.h"

#include "mlir/IR/Operation.h"

#include "llvm/ADT/StringMap.h"

#include <optional>
#include <string>
#include <vector>

namespace otodus {

enum class SimWho { Thread, Warp, WarpMask, WarpGroup, Inline, Nothing };

/// A row of SimOps.def.
struct SimRow {
  OtodusSimOp op;
  SimWho who;
  llvm::StringRef attributes;
};

/// The row of an op of the llvm, nvvm or gk dialect; of `llvm.call_intrinsic` that of the
/// intrinsic, whose name may carry types at its end. Null if there is none.
const SimRow *findSimRow(mlir::Operation *op);

/// What a special register is called in messages and where it lies in the context; -1 if `op` is
/// none.
int64_t simRegisterOffset(mlir::Operation *op);

/// Collects the records of a module and lays them out in one constant.
class SimRecords {
public:
  /// Number of the record for `op`. Reports an error and returns nothing if an attribute of the op
  /// has a value that the simulator has no word for.
  std::optional<uint32_t> addSite(mlir::Operation *op, const SimRow &row);
  /// Number of the kernel.
  uint32_t addKernel(const OtodusSimKernelInfo &info, llvm::StringRef name);

  int64_t siteOffset(uint32_t site) const {
    return int64_t(kernels_.size() * sizeof(OtodusSimKernelInfo) + site * sizeof(OtodusSimSite));
  }
  int64_t kernelOffset(uint32_t kernel) const {
    return int64_t(kernel * sizeof(OtodusSimKernelInfo));
  }
  /// All bytes. Sites' offsets are final only when all kernels are added.
  std::vector<uint8_t> bytes() const;

private:
  uint32_t text(llvm::StringRef text);
  std::vector<OtodusSimKernelInfo> kernels_;
  std::vector<OtodusSimSite> sites_; ///< file and label are offsets in strings_
  std::string strings_ = std::string(1, '\0');
  llvm::StringMap<uint32_t> offsets_;
};

} // namespace otodus
