//===- FinishNVVM.cpp - Kernels that NVPTX can select ----------------------===//
//
// "Cannot select" inside of NVPTX ends the process, so what it has no instruction for is refused
// here, with the place in the model where it comes from.
//
//===----------------------------------------------------------------------===//

#include "otodus/Codegen/GPU/Chips.h"
#include "otodus/Codegen/GPU/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMTypes.h"
#include "mlir/IR/PatternMatch.h"

namespace otodus {
#define GEN_PASS_DEF_FINISHNVVM
#include "otodus/Codegen/GPU/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

/// Intrinsics of LLVM that are instructions of PTX, or a few of them.
bool isInstruction(Operation *op) {
  return isa<LLVM::AbsOp, LLVM::AssumeOp, LLVM::BitReverseOp, LLVM::ByteSwapOp, LLVM::CopySignOp,
             LLVM::CountLeadingZerosOp, LLVM::CountTrailingZerosOp, LLVM::CtPopOp, LLVM::Exp2Op,
             LLVM::FAbsOp, LLVM::FCeilOp, LLVM::FFloorOp, LLVM::FMAOp, LLVM::FMulAddOp,
             LLVM::FTruncOp, LLVM::FshlOp, LLVM::FshrOp, LLVM::LifetimeEndOp,
             LLVM::LifetimeStartOp, LLVM::MaxNumOp, LLVM::MaximumOp, LLVM::MinNumOp,
             LLVM::MinimumOp, LLVM::NearbyintOp, LLVM::RintOp, LLVM::RoundEvenOp, LLVM::SMaxOp,
             LLVM::SMinOp, LLVM::SqrtOp, LLVM::UMaxOp, LLVM::UMinOp, LLVM::MaskedLoadOp,
             LLVM::MaskedStoreOp, LLVM::vector_extract, LLVM::vector_insert,
             LLVM::vector_reduce_add, LLVM::vector_reduce_and, LLVM::vector_reduce_fadd,
             LLVM::vector_reduce_fmax, LLVM::vector_reduce_fmaximum, LLVM::vector_reduce_fmin,
             LLVM::vector_reduce_fminimum, LLVM::vector_reduce_fmul, LLVM::vector_reduce_mul,
             LLVM::vector_reduce_or, LLVM::vector_reduce_smax, LLVM::vector_reduce_smin,
             LLVM::vector_reduce_umax, LLVM::vector_reduce_umin, LLVM::vector_reduce_xor>(op);
}

/// Instructions of LLVM IR itself, other than calls and what floating point has no code for.
bool isPlain(Operation *op) {
  return !op->getName().getStringRef().starts_with("llvm.intr.") &&
         !isa<LLVM::CallOp, LLVM::InvokeOp, LLVM::InlineAsmOp, LLVM::FRemOp, LLVM::LandingpadOp,
              LLVM::ResumeOp, LLVM::VaArgOp, LLVM::CallIntrinsicOp>(op);
}

/// Instructions that only some chips have, by the start of the op's name.
bool hasInstruction(const Chip &chip, StringRef name) {
  name.consume_front("nvvm.") || name.consume_front("gk.");
  if (name.starts_with("wgmma"))
    return chip.matrixUnit == MatrixUnit::WarpGroup;
  if (name.starts_with("tcgen05"))
    return chip.matrixUnit == MatrixUnit::TensorMemory;
  if (name.starts_with("cp.async.bulk"))
    return chip.tma;
  if (name.starts_with("cp.async"))
    return chip.asyncCopy;
  if (name.starts_with("cluster.") || name.starts_with("mapa"))
    return chip.clusters;
  if (name.starts_with("stmatrix"))
    return chip.stmatrix;
  if (name.starts_with("ldmatrix"))
    return chip.ldmatrix;
  if (name.starts_with("setmaxregister"))
    return chip.setMaxRegisters;
  return true;
}

struct FinishNVVM : impl::FinishNVVMBase<FinishNVVM> {
  using FinishNVVMBase::FinishNVVMBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    Result<Chip> chip = chipFor(target);
    if (!chip.isOk()) {
      module.emitError(chip.status().message());
      return signalPassFailure();
    }
    foldPointerCasts(module);
    for (auto function : module.getOps<LLVM::LLVMFuncOp>())
      if (function->hasAttr("gpu.threads"))
        finish(function);
    if (failed(verify(module, *chip)))
      signalPassFailure();
  }

private:
  /// inttoptr (ptrtoint p) → p: how a kernel takes the address of a buffer for an instruction.
  void foldPointerCasts(ModuleOp module) {
    SmallVector<Operation *> dead;
    module.walk([&](LLVM::IntToPtrOp op) {
      auto source = op.getArg().getDefiningOp<LLVM::PtrToIntOp>();
      if (!source || source.getArg().getType() != op.getType())
        return;
      op.replaceAllUsesWith(source.getArg());
      dead.push_back(op);
    });
    for (Operation *op : dead) {
      Operation *source = op->getOperand(0).getDefiningOp();
      op->erase();
      if (source->use_empty())
        source->erase();
    }
  }

  void finish(LLVM::LLVMFuncOp function) {
    Builder b(function.getContext());
    int64_t threads = function->getAttrOfType<IntegerAttr>("gpu.threads").getInt();
    SmallVector<StringAttr> dropped;
    for (NamedAttribute attr : function->getDiscardableAttrs())
      if (attr.getName().strref().starts_with("mega.") || attr.getName() == "gpu.threads")
        dropped.push_back(attr.getName());
    for (StringAttr name : dropped)
      function->removeDiscardableAttr(name);
    function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), b.getUnitAttr());
    function->setAttr(NVVM::NVVMDialect::getReqntidAttrName(),
                      b.getDenseI32ArrayAttr({static_cast<int32_t>(threads), 1, 1}));
    // One block on an SM is enough: without a word ptxas would rather spill than give up a second.
    function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                      IntegerAttr::get(IntegerType::get(&getContext(), 32), 1));
    if (auto cluster = function->getAttrOfType<IntegerAttr>("gk.cluster"))
      if (cluster.getInt() > 1)
        function->setAttr(NVVM::NVVMDialect::getClusterDimAttrName(),
                          b.getDenseI32ArrayAttr({static_cast<int32_t>(cluster.getInt()), 1, 1}));
    function.setCConv(LLVM::CConv::C);
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      auto pointer = dyn_cast<LLVM::LLVMPointerType>(function.getArgument(i).getType());
      if (!pointer)
        continue;
      if (pointer.getAddressSpace() == 1) {
        function.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), b.getUnitAttr());
        function.setArgAttr(i, LLVM::LLVMDialect::getAlignAttrName(), b.getI64IntegerAttr(64));
      } else {
        auto map = LLVM::LLVMArrayType::get(b.getI8Type(), 128);
        function.setArgAttr(i, LLVM::LLVMDialect::getByValAttrName(), TypeAttr::get(map));
        function.setArgAttr(i, LLVM::LLVMDialect::getAlignAttrName(), b.getI64IntegerAttr(64));
        function.setArgAttr(i, NVVM::NVVMDialect::getGridConstantAttrName(), b.getUnitAttr());
      }
    }
  }

  LogicalResult verify(ModuleOp module, const Chip &chip) {
    auto version = NVVM::NVVMCheckSMVersion::getTargetSMVersionFromStr(chip.llvmCpu);
    WalkResult found = module.walk<WalkOrder::PreOrder>([&](Operation *op) -> WalkResult {
      if (op == module)
        return success();
      StringRef dialect = op->getName().getDialectNamespace();
      if (auto needs = dyn_cast<NVVM::RequiresSMInterface>(op))
        if (!needs.getRequiredMinSMVersion().isCompatibleWith(version))
          return op->emitOpError("is not an instruction of ") << chip.name;
      if (dialect == "nvvm" || dialect == "gk") {
        if (!hasInstruction(chip, op->getName().getStringRef()))
          return op->emitOpError("is not an instruction of ") << chip.name;
        return verifyTypes(op);
      }
      if (dialect != "llvm")
        return op->emitOpError("is left after the nvvm stage");
      if (auto call = dyn_cast<LLVM::CallIntrinsicOp>(op)) {
        if (!call.getIntrin().starts_with("llvm.nvvm."))
          return op->emitOpError("expects an intrinsic of NVPTX, but got ") << call.getIntrin();
        return verifyTypes(op);
      }
      if (isa<LLVM::InlineAsmOp>(op))
        return op->emitOpError(
            "is assembly, which the simulator cannot run; use an op of nvvm or gk");
      if (isa<LLVM::CallOp>(op))
        return op->emitOpError("calls a function; a GPU kernel is linked with no library");
      if (!isPlain(op) && !isInstruction(op))
        return op->emitOpError("has no instruction on a GPU");
      return verifyTypes(op);
    });
    return failure(found.wasInterrupted());
  }

  /// Integers beyond 64 bits are library calls once they are divided, and slow before.
  LogicalResult verifyTypes(Operation *op) {
    for (Value result : op->getResults()) {
      Type element = getElementTypeOrSelf(result.getType());
      if (element.isIntOrFloat() && element.getIntOrFloatBitWidth() > 64)
        return op->emitOpError("has the type ") << result.getType() << ", which no GPU computes with";
    }
    return success();
  }
};

} // namespace
} // namespace otodus
