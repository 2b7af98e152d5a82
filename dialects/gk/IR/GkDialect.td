//===- GkDialect.td - The gk dialect ---------------------------*- tablegen -*-===//
//
// The dialect itself and the base class of its ops that are PTX instructions.
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_GK_DIALECT_TD
#define OTODUS_GK_DIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/Dialect/LLVMIR/BasicPtxBuilderInterface.td"

def Gk_Dialect : Dialect {
  let name = "gk";
  let cppNamespace = "::otodus::gk";
  let summary = "What GPU kernels need beyond the upstream dialects";
  let description = [{
    Instructions of PTX for which the nvvm dialect has no op, or one that says too
    little: each implements upstream's `BasicPtxBuilderOpInterface`, so that
    `convert-nvvm-to-llvm` turns it into inline assembly for the device, while the
    simulator, which takes the module before that, still sees what the instruction
    is. A module at the NVVM stage (docs/Gpu.md) holds no `llvm.inline_asm`; a new
    instruction is a new op here.

    Attributes of functions with the dialect's prefix (`gk.shared_bytes`,
    `gk.tensor_maps`) are described in docs/Gpu.md.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect"];
}

class Gk_Op<string mnemonic, list<Trait> traits = []> : Op<Gk_Dialect, mnemonic, traits>;

// An instruction. The text's operands are numbered by the op's getAsmValues().
class Gk_PtxOp<string mnemonic, list<Trait> traits = []> : Gk_Op<mnemonic, !listconcat([
    DeclareOpInterfaceMethods<BasicPtxBuilderOpInterface, ["getPtx", "getAsmValues"]>], traits)>;

#endif // OTODUS_GK_DIALECT_TD
