//===- PtxTest.cpp - What a kernel's PTX says besides its instructions -----===//

#include "otodus/Target/Ptx.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

using namespace otodus;

namespace {

const char *const kLoop = R"(
llvm.func @fill(%p: !llvm.ptr<1>, %n: i64)
    attributes {gk.shared_bytes = 48 : i64, nvvm.kernel, nvvm.reqntid = array<i32: 64, 1, 1>} {
  %zero = llvm.mlir.constant(0 : i64) : i64
  %one = llvm.mlir.constant(1 : i64) : i64
  llvm.br ^head(%zero : i64)
^head(%i: i64):
  %q = llvm.getelementptr %p[%i] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i64
  llvm.store volatile %i, %q : i64, !llvm.ptr<1>
  %next = llvm.add %i, %one : i64
  %more = llvm.icmp "slt" %next, %n : i64
  llvm.cond_br %more, ^head(%next : i64), ^end
^end:
  llvm.return
}
)";

std::string ptxOf(const PtxTarget &target, formats::Code *out = nullptr) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::LLVM::LLVMDialect, mlir::NVVM::NVVMDialect>();
  mlir::MLIRContext context(registry);
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::parseSourceString<mlir::ModuleOp>(kLoop, &context);
  if (!module)
    return "";
  Result<formats::Code> code = emitPtx(*module, target, 1);
  if (!code.isOk())
    return code.status().message();
  if (out)
    *out = *code;
  return std::string(code->blob.begin(), code->blob.end());
}

TEST(Ptx, EntrySaysHowToLaunch) {
  formats::Code code;
  std::string text = ptxOf({"sm_80", "sm_80", 70, {}}, &code);
  ASSERT_EQ(code.entries.size(), 1u) << text;
  EXPECT_EQ(code.kind, formats::CodeKind::PTX);
  EXPECT_EQ(code.ptxVersion, 70);
  EXPECT_EQ(code.entries[0].name, "fill");
  EXPECT_EQ(code.entries[0].threads, 64);
  EXPECT_EQ(code.entries[0].sharedBytes, 48);
  EXPECT_EQ(code.entries[0].cluster, 1);
  EXPECT_NE(text.find(".reqntid 64, 1, 1"), std::string::npos) << text;
}

TEST(Ptx, RolledLoopsSaySo) {
  EXPECT_EQ(ptxOf({"sm_80", "sm_80", 70, {}}).find("nounroll"), std::string::npos);
  EXPECT_EQ(ptxOf({"sm_80", "sm_80", 70, {"other"}}).find("nounroll"), std::string::npos);
  std::string rolled = ptxOf({"sm_80", "sm_80", 70, {"fill"}});
  EXPECT_NE(rolled.find(".pragma \"nounroll\""), std::string::npos) << rolled;
}

} // namespace
