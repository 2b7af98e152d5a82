//===- BuildKernels.cpp - Kernel functions for all groups ------------------===//

#include "KernelEmitter.h"

#include "otodus/Codegen/Common/Passes.h"

#include "mlir/IR/SymbolTable.h"

namespace otodus {
#define GEN_PASS_DEF_BUILDKERNELS
#include "otodus/Codegen/Common/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

struct BuildKernels : impl::BuildKernelsBase<BuildKernels> {
  using BuildKernelsBase::BuildKernelsBase;

  void runOnOperation() override {
    SmallVector<mega::GroupOp> groups;
    getOperation().walk([&](mega::GroupOp group) { groups.push_back(group); });
    for (mega::GroupOp group : groups)
      if (failed(build(group)))
        return signalPassFailure();
  }

  LogicalResult build(mega::GroupOp group) {
    if (group.getNumResults() == 0)
      return group.emitOpError("expects a result: a kernel without one computes nothing");
    mega::ScheduleAttr schedule = group.getScheduleAttr();
    mega::RowRole role = mega::RowRole::None;
    for (Operation &op : group.getBody(0)->without_terminator())
      if (auto fusion = dyn_cast<mega::FusionOpInterface>(op)) {
        mega::RowRole own = fusion.getRowRole();
        if (own == mega::RowRole::Stream || own == mega::RowRole::Attention ||
            own == mega::RowRole::Gather || own == mega::RowRole::Accumulation)
          role = own;
      }

    bool complete = role == mega::RowRole::Gather || role == mega::RowRole::Accumulation;
    if (schedule && role == mega::RowRole::Stream)
      complete = schedule.getTimeTile() && schedule.getChannelTile();
    else if (schedule && role == mega::RowRole::Attention)
      complete = schedule.getRowTiles() && schedule.getColumnBlock();
    else if (schedule)
      complete = schedule.getRowTiles() && schedule.getRowBlock() && schedule.getColumnBlock();
    if (!complete)
      return group.emitOpError("expects a whole schedule; run otodus-choose-schedule first");

    std::string base = ("k" + Twine(counter++) + "_" + group.getName()).str();
    SmallVector<Attribute> names;
    auto record = [&](FailureOr<func::FuncOp> function) -> LogicalResult {
      if (failed(function))
        return failure();
      names.push_back(FlatSymbolRefAttr::get(*function));
      return success();
    };
    ModuleOp module = getOperation();
    switch (role) {
    case mega::RowRole::Stream:
      if (llvm::any_of(*group.getBody(0), [](Operation &op) {
            return isa<mega::TimestepNormOp, mega::TimestepNormSavingOp>(op);
          })) {
        // All channels of a sequence read the count while the stream runs, so it is advanced
        // afterwards.
        if (failed(record(emitCountKernel(group, module, base + "_count"))))
          return failure();
        group->setAttr("mega.after", b().getArrayAttr({names.back()}));
        names.clear();
      }
      if (failed(record(emitStreamKernel(group, module, base))))
        return failure();
      break;
    case mega::RowRole::Attention: {
      // Two launches: the new keys and values join the open chunk, then every row attends.
      if (failed(record(emitAppendKernel(group, module, base + "_append"))))
        return failure();
      group->setAttr("mega.before", b().getArrayAttr({names.back()}));
      names.clear();
      for (int64_t rowTile : schedule.getRowTiles().asArrayRef())
        if (failed(record(emitAttentionKernel(group, module,
                                              base + "_r" + std::to_string(rowTile), rowTile))))
          return failure();
      break;
    }
    case mega::RowRole::Gather:
      if (failed(record(emitGatherKernel(group, module, base))))
        return failure();
      break;
    case mega::RowRole::Accumulation:
      if (failed(record(emitAccumulationKernel(group, module, base))))
        return failure();
      break;
    default:
      for (int64_t rowTile : schedule.getRowTiles().asArrayRef())
        if (failed(record(
                emitRowsKernel(group, module, base + "_r" + std::to_string(rowTile), rowTile))))
          return failure();
    }
    group->setAttr("mega.kernels", b().getArrayAttr(names));
    return success();
  }

  Builder b() { return Builder(&getContext()); }

  int64_t counter = 0;
};

} // namespace
} // namespace otodus
