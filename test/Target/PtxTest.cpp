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

/// `kLoop` with one more argument that is a tensor map, and what `gk.tensor_maps` says of it.
std::string mapped(const std::string &maps) {
  std::string text = kLoop;
  text.replace(text.find("%n: i64)"), 8,
               "%n: i64, %map: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, "
               "nvvm.grid_constant})");
  return text.replace(text.find("gk.shared_bytes"), 0, maps.empty() ? "" : "gk.tensor_maps = " + maps + ", ");
}

Result<std::vector<formats::Code::Entry>> entriesOf(const std::string &text) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::LLVM::LLVMDialect, mlir::NVVM::NVVMDialect>();
  mlir::MLIRContext context(registry);
  context.allowUnregisteredDialects();
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  if (!module)
    return Status(Code::Input, "no MLIR");
  return kernelEntries(*module);
}

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

TEST(Ptx, EntryDescribesTensorMaps) {
  auto entries = entriesOf(mapped("[{buffer = 0 : i64, dtype = bf16, extents = [array<i64: 0, 96, 1>, "
                                  "array<i64: 3, 2, 1>], strides = [array<i64: 0, 192, 1>], "
                                  "box = array<i64: 64, 128>, swizzle = 128 : i64}]"));
  ASSERT_TRUE(entries.isOk()) << entries.status().message();
  formats::TensorMap expected;
  expected.dtype = formats::DType::BF16;
  expected.extents = {{formats::Symbol::One, 96, 1}, {formats::Symbol::Rows, 2, 1}};
  expected.strides = {{formats::Symbol::One, 192, 1}};
  expected.box = {64, 128};
  expected.swizzle = 128;
  ASSERT_EQ((*entries)[0].tensorMaps.size(), 1u);
  EXPECT_EQ((*entries)[0].tensorMaps[0], expected);
}

TEST(Ptx, TensorMapsThatAreNone) {
  auto fails = [](const std::string &maps, const std::string &what) {
    auto entries = entriesOf(mapped(maps));
    ASSERT_FALSE(entries.isOk());
    EXPECT_EQ(entries.status().code(), Code::Input);
    EXPECT_NE(entries.status().message().find(what), std::string::npos)
        << entries.status().message();
  };
  fails("", "kernel 'fill' takes 1 tensor maps, but its gk.tensor_maps describes 0");
  fails("[7 : i64]", "kernel 'fill': gk.tensor_maps expects {buffer, dtype,");
  fails("[{buffer = 0 : i64, dtype = f64, extents = [], strides = [], box = array<i64>, swizzle = 0 : i64}]",
        "but got {");
  fails("[{buffer = 0 : i64, dtype = f32, extents = [array<i64: 9, 1, 1>], strides = [], "
        "box = array<i64: 4>, swizzle = 0 : i64}]",
        "but got {");
}

TEST(Ptx, RolledLoopsSaySo) {
  EXPECT_EQ(ptxOf({"sm_80", "sm_80", 70, {}}).find("nounroll"), std::string::npos);
  EXPECT_EQ(ptxOf({"sm_80", "sm_80", 70, {"other"}}).find("nounroll"), std::string::npos);
  std::string rolled = ptxOf({"sm_80", "sm_80", 70, {"fill"}});
  EXPECT_NE(rolled.find(".pragma \"nounroll\""), std::string::npos) << rolled;
}

} // namespace
