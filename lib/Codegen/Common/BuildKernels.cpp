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

class Builder {
public:
  Builder(ModuleOp module, const KernelEmitters &emitters) : module(module), emitters(emitters) {}

  LogicalResult run() {
    SmallVector<mega::GroupOp> groups;
    module.walk([&](mega::GroupOp group) { groups.push_back(group); });
    for (mega::GroupOp group : groups)
      if (failed(build(group)))
        return failure();
    return success();
  }

private:

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
    else if (schedule && !complete) // the GPU alone cuts sums, and its kernels check how
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
    switch (role) {
    case mega::RowRole::Stream:
      if (failed(record(emitters.stream(group, module, base))))
        return failure();
      break;
    case mega::RowRole::Attention: {
      if (emitters.append) {
        // Two launches: the new keys and values join the open chunk, then every row attends.
        if (failed(record(emitters.append(group, module, base + "_append"))))
          return failure();
        group->setAttr("mega.before", b().getArrayAttr({names.back()}));
        names.clear();
      }
      for (int64_t rowTile : schedule.getRowTiles().asArrayRef())
        if (failed(record(emitters.attention(group, module, base + "_r" + std::to_string(rowTile), rowTile))))
          return failure();
      break;
    }
    case mega::RowRole::Gather:
      if (failed(record(emitters.gather(group, module, base))))
        return failure();
      break;
    case mega::RowRole::Accumulation:
      if (failed(record(emitters.accumulation(group, module, base))))
        return failure();
      break;
    default:
      for (int64_t rowTile : schedule.getRowTiles().asArrayRef())
        if (failed(record(
                emitRowsKernel(group, module, base + "_r" + std::to_string(rowTile), rowTile,
                               emitters.matrices))))
          return failure();
    }
    group->setAttr("mega.kernels", b().getArrayAttr(names));
    return success();
  }

  mlir::Builder b() { return mlir::Builder(module.getContext()); }

  ModuleOp module;
  const KernelEmitters &emitters;
  int64_t counter = 0;
};

struct BuildKernels : impl::BuildKernelsBase<BuildKernels> {
  using BuildKernelsBase::BuildKernelsBase;

  void runOnOperation() override {
    KernelEmitters emitters;
    emitters.stream = emitStreamKernel;
    emitters.gather = emitGatherKernel;
    emitters.append = emitAppendKernel;
    emitters.accumulation = emitAccumulationKernel;
    emitters.attention = emitAttentionKernel;
    if (failed(buildKernels(getOperation(), emitters)))
      signalPassFailure();
  }
};

} // namespace

LogicalResult buildKernels(ModuleOp module, const KernelEmitters &emitters) {
  return Builder(module, emitters).run();
}

} // namespace otodus
