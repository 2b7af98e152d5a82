//===- VerifyStage.cpp - The gates between stages --------------------------===//

#include "otodus/Pipelines/Passes.h"

#include "mega/IR/MegaOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/SymbolTable.h"

#include "llvm/ADT/StringSwitch.h"

namespace otodus {
#define GEN_PASS_DEF_VERIFYSTAGE
#include "otodus/Pipelines/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

bool isKernel(func::FuncOp function) { return function->hasAttr("mega.grid"); }

/// Functions hold only what the host's plan can do.
LogicalResult verifyFused(ModuleOp module) {
  for (auto function : module.getOps<func::FuncOp>()) {
    if (isKernel(function) || function.isExternal())
      continue;
    for (Operation &op : function.getBody().getOps())
      if (!isa<mega::UseWeightOp, mega::GroupOp, tensor::ExtractSliceOp, func::CallOp,
               func::ReturnOp>(op)) {
        InFlightDiagnostic error =
            op.emitOpError("is left outside of groups after the fused stage");
        if (isa<arith::ConstantOp>(op))
          error << "; make it a mega.weight, which the checkpoint fills";
        return error;
      }
  }
  return success();
}

LogicalResult verifyKernelOf(mega::GroupOp group, Attribute name, SymbolTable &symbols) {
  auto symbol = dyn_cast<FlatSymbolRefAttr>(name);
  auto kernel = symbol ? symbols.lookup<func::FuncOp>(symbol.getValue()) : nullptr;
  if (!kernel)
    return group.emitOpError("names the kernel ")
           << name << " after the kernel stage, but there is no such function";
  for (StringRef attribute : {"mega.grid", "mega.buffers"})
    if (!kernel->hasAttrOfType<ArrayAttr>(attribute))
      return kernel.emitOpError("is a kernel without ") << attribute << " after the kernel stage";
  WalkResult found = kernel.walk([](Operation *op) {
    // What still has a role in fusion is mathematics of whole tensors.
    if (!isa<mega::FusionOpInterface>(op))
      return WalkResult::advance();
    op->emitOpError("is left in a kernel after the kernel stage");
    return WalkResult::interrupt();
  });
  return failure(found.wasInterrupted());
}

LogicalResult verifyKernel(ModuleOp module) {
  SymbolTable symbols(module);
  WalkResult found = module.walk([&](mega::GroupOp group) -> WalkResult {
    auto kernels = group->getAttrOfType<ArrayAttr>("mega.kernels");
    if (!kernels || kernels.empty())
      return group.emitOpError("has no kernel after the kernel stage");
    for (StringRef attribute : {"mega.before", "mega.kernels", "mega.after"})
      if (auto names = group->getAttrOfType<ArrayAttr>(attribute))
        for (Attribute name : names)
          if (failed(verifyKernelOf(group, name, symbols)))
            return failure();
    return success();
  });
  return failure(found.wasInterrupted());
}

LogicalResult verifyLLVM(ModuleOp module) {
  WalkResult found = module.walk<WalkOrder::PreOrder>([&](Operation *op) -> WalkResult {
    if (op == module || isa_and_nonnull<LLVM::LLVMDialect>(op->getDialect()))
      return success();
    return op->emitOpError("is left after the llvm stage");
  });
  return failure(found.wasInterrupted());
}

/// A kernel says how many threads a block has, and nothing in it works on tensors any more.
LogicalResult verifyGpu(ModuleOp module) {
  for (auto function : module.getOps<func::FuncOp>()) {
    if (!isKernel(function))
      continue;
    if (!function->hasAttrOfType<IntegerAttr>("gpu.threads"))
      return function.emitOpError("is a kernel without gpu.threads after the gpu stage");
    WalkResult found = function.walk([](Operation *op) -> WalkResult {
      if (!llvm::any_of(op->getResultTypes(), llvm::IsaPred<TensorType>) &&
          !llvm::any_of(op->getOperandTypes(), llvm::IsaPred<TensorType>))
        return success();
      return op->emitOpError("works on a tensor after the gpu stage");
    });
    if (found.wasInterrupted())
      return failure();
  }
  return success();
}

LogicalResult verifyNVVM(ModuleOp module) {
  WalkResult found = module.walk<WalkOrder::PreOrder>([&](Operation *op) -> WalkResult {
    StringRef dialect = op->getName().getDialectNamespace();
    if (op == module || dialect == "llvm" || dialect == "nvvm" || dialect == "gk")
      return success();
    return op->emitOpError("is left after the nvvm stage");
  });
  return failure(found.wasInterrupted());
}

struct VerifyStage : impl::VerifyStageBase<VerifyStage> {
  using VerifyStageBase::VerifyStageBase;

  void runOnOperation() override {
    using Verify = LogicalResult (*)(ModuleOp);
    auto verify = llvm::StringSwitch<Verify>(stage)
                      .Case("fused", verifyFused)
                      .Case("kernel", verifyKernel)
                      .Case("llvm", verifyLLVM)
                      .Case("gpu", verifyGpu)
                      .Case("nvvm", verifyNVVM)
                      .Default(nullptr);
    if (!verify) {
      getOperation()->emitError("expects the stage fused, kernel, llvm, gpu or nvvm, but got '")
          << stage << "'";
      return signalPassFailure();
    }
    if (failed(verify(getOperation())))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace
} // namespace otodus
