//===- PhiloxTest.cpp - Random numbers of kernels and of the host ----------===//

#include "Codegen/Common/Philox.h"

#include "otodus/Formats/Random.h"
#include "otodus/Target/ObjectCode.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>

#include <cstring>
#include <sys/mman.h>

using namespace otodus;
using namespace mlir;

namespace {

constexpr int kLanes = 8;

/// Words of kLanes counters: word w of lane i at [w][i].
struct Words {
  alignas(64) uint32_t at[4][kLanes];
};

/// A function (const Words *counters, const uint32_t *key, Words *out): the emitted code as it runs
/// on this machine. `vectors`: all lanes at once, or lane 0 alone.
class Compiled {
public:
  explicit Compiled(bool vectors) {
    MLIRContext context;
    context.loadDialect<arith::ArithDialect, cf::ControlFlowDialect, LLVM::LLVMDialect,
                        scf::SCFDialect, vector::VectorDialect>();
    OpBuilder b(&context);
    Location loc = b.getUnknownLoc();
    OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
    b.setInsertionPointToEnd(module->getBody());
    Type pointer = LLVM::LLVMPointerType::get(&context), i32 = b.getI32Type();
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&context),
                                            {pointer, pointer, pointer});
    auto function = LLVM::LLVMFuncOp::create(b, loc, "words", type);
    Block *body = function.addEntryBlock(b);
    b.setInsertionPointToStart(body);
    Type word = vectors ? Type(VectorType::get({kLanes}, i32)) : i32;
    auto at = [&](int argument, int element) -> Value {
      return LLVM::GEPOp::create(b, loc, pointer, i32, body->getArgument(unsigned(argument)),
                                 ArrayRef<LLVM::GEPArg>{element});
    };
    std::array<Value, 4> counter;
    for (int w = 0; w < 4; ++w)
      counter[size_t(w)] = LLVM::LoadOp::create(b, loc, word, at(0, w * kLanes));
    std::array<Value, 2> key{LLVM::LoadOp::create(b, loc, i32, at(1, 0)),
                             LLVM::LoadOp::create(b, loc, i32, at(1, 1))};
    std::array<Value, 4> result = emitPhilox(b, loc, counter, key);
    for (int w = 0; w < 4; ++w)
      LLVM::StoreOp::create(b, loc, result[size_t(w)], at(2, w * kLanes));
    LLVM::ReturnOp::create(b, loc, ValueRange());

    PassManager passes(&context);
    passes.addPass(createSCFToControlFlowPass());
    passes.addPass(createConvertVectorToLLVMPass());
    passes.addPass(createArithToLLVMConversionPass());
    passes.addPass(createConvertControlFlowToLLVMPass());
    passes.addPass(createReconcileUnrealizedCastsPass());
    if (failed(passes.run(*module))) {
      ADD_FAILURE() << "the module does not lower";
      return;
    }
    auto code = emitCode(*module, {"cpu:x86-64-v3", "x86-64-v3", "", {}}, 1);
    if (!code.isOk()) {
      ADD_FAILURE() << code.status().message();
      return;
    }
    bytes = code->blob.size();
    blob = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memcpy(blob, code->blob.data(), bytes);
    mprotect(blob, code->textBytes, PROT_READ | PROT_EXEC);
    run = reinterpret_cast<Function *>(static_cast<uint8_t *>(blob) + code->entries[0].offset);
  }
  ~Compiled() {
    if (blob)
      munmap(blob, bytes);
  }

  using Function = void(const Words *, const uint32_t *, Words *);
  Function *run = nullptr;

private:
  void *blob = nullptr;
  size_t bytes = 0;
};

TEST(Philox, EmittedCodeEqualsTheHostsVectorsAndScalars) {
  const std::array<uint32_t, 2> keys[] = {{0, 0}, {~0u, ~0u}, {0xa4093822, 0x299f31d0}};
  Compiled scalars(false), vectors(true);
  ASSERT_NE(scalars.run, nullptr);
  ASSERT_NE(vectors.run, nullptr);
  for (std::array<uint32_t, 2> key : keys) {
    // Lanes 0 to 2 are the published counters (test/Formats/RandomTest.cpp).
    Words counters = {{{0, ~0u, 0x243f6a88, 1, 2, 3, 0x80000000u, 77},
                       {0, ~0u, 0x85a308d3, 0, 0, 0, 0x80000000u, 5},
                       {0, ~0u, 0x13198a2e, 9, 9, 9, 0x7fffffffu, 0},
                       {0, ~0u, 0x03707344, 1, 1, 1, 0x7fffffffu, 1}}};
    Words all = {}, one = {};
    vectors.run(&counters, key.data(), &all);
    for (int i = 0; i < kLanes; ++i) {
      std::array<uint32_t, 4> expected = formats::philox(
          {counters.at[0][i], counters.at[1][i], counters.at[2][i], counters.at[3][i]}, key);
      Words single = {};
      for (int w = 0; w < 4; ++w)
        single.at[w][0] = counters.at[w][i];
      scalars.run(&single, key.data(), &one);
      for (int w = 0; w < 4; ++w) {
        EXPECT_EQ(all.at[w][i], expected[size_t(w)]) << "lane " << i << ", word " << w;
        EXPECT_EQ(one.at[w][0], expected[size_t(w)]) << "counter " << i << ", word " << w;
      }
    }
  }
}

} // namespace
