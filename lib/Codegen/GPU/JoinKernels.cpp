//===- JoinKernels.cpp - Bodies of kernels that share a launch -------------===//
//
//   func @k1_v_r_r1(…) {mega.parts = [@k1_v_r1, @k2_r_r1]}
//   ==>
//   func @k1_v_r_r1(…) {
//     %tile = %block / 96, %place = %block % 96      // 64 blocks of v and 32 of r on each row tile
//     scf.if %place < 64 { v, as block %tile * 64 + %place }
//     else               { r, as block %tile * 32 + %place - 64 }
//   }
//
//===----------------------------------------------------------------------===//

#include "otodus/Codegen/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/SymbolTable.h"

namespace otodus {
#define GEN_PASS_DEF_JOINKERNELS
#include "otodus/Codegen/GPU/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

struct JoinKernels : impl::JoinKernelsBase<JoinKernels> {
  using JoinKernelsBase::JoinKernelsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    for (auto function : module.getOps<func::FuncOp>())
      if (auto parts = function->getAttrOfType<ArrayAttr>("mega.parts"))
        if (failed(fill(function, parts, symbols)))
          return signalPassFailure();
    for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>()))
      if (function->hasAttr("mega.part"))
        function.erase();
  }

private:
  /// Blocks on one row tile: the factors of the grid behind the first.
  static int64_t blocksPerRowTile(func::FuncOp kernel) {
    int64_t blocks = 1;
    for (auto extent :
         llvm::drop_begin(kernel->getAttrOfType<ArrayAttr>("mega.grid").getAsRange<DenseI64ArrayAttr>()))
      blocks *= extent[1];
    return blocks;
  }

  LogicalResult fill(func::FuncOp function, ArrayAttr names, SymbolTable &symbols) {
    if (!function.isExternal())
      return function.emitOpError("expects no body beside mega.parts");
    SmallVector<func::FuncOp> parts;
    SmallVector<Type> types;
    int64_t sharedBytes = 0;
    constexpr unsigned kSizes = 3; // batch, length, rows
    for (auto name : names.getAsRange<FlatSymbolRefAttr>()) {
      auto part = symbols.lookup<func::FuncOp>(name.getValue());
      if (!part || part.isExternal() || !part.getBody().hasOneBlock() ||
          part->getAttr("gpu.threads") != function->getAttr("gpu.threads") ||
          part->getAttr("mega.row_tile") != function->getAttr("mega.row_tile"))
        return function.emitOpError("expects kernels of one block, of as many threads and rows, as its "
                                    "parts, but ")
               << name << " is none";
      parts.push_back(part);
      llvm::append_range(types, part.getArgumentTypes().drop_back(kSizes));
      if (auto bytes = part->getAttrOfType<IntegerAttr>("gk.shared_bytes"))
        sharedBytes = std::max(sharedBytes, bytes.getInt());
    }
    if (parts.empty())
      return function.emitOpError("expects a kernel in mega.parts");
    llvm::append_range(types, parts.front().getArgumentTypes().take_back(kSizes));

    OpBuilder b(&getContext());
    Location loc = function.getLoc();
    function.setFunctionType(b.getFunctionType(types, {}));
    function.setPublic();
    function->removeAttr("mega.parts");
    function->setAttr("gk.shared_bytes", b.getI64IntegerAttr(sharedBytes));
    Block *body = function.addEntryBlock();
    b.setInsertionPointToEnd(body);
    func::ReturnOp::create(b, loc);
    b.setInsertionPointToStart(body);
    auto i32 = [&](int64_t value) -> Value {
      return arith::ConstantIntOp::create(b, loc, value, 32);
    };
    int64_t all = 0;
    for (func::FuncOp part : parts)
      all += blocksPerRowTile(part);
    auto range = LLVM::ConstantRangeAttr::get(
        b.getContext(), llvm::APInt(32, 0),
        llvm::APInt(32, static_cast<uint64_t>(std::numeric_limits<int32_t>::max())));
    Value block = NVVM::BlockIdXOp::create(b, loc, b.getI32Type(), range);
    Value tile = arith::DivUIOp::create(b, loc, block, i32(all));
    Value place = arith::RemUIOp::create(b, loc, block, i32(all));
    ValueRange arguments = body->getArguments();
    ValueRange buffers = arguments.drop_back(kSizes), sizes = arguments.take_back(kSizes);
    int64_t before = 0;
    for (auto [i, part] : llvm::enumerate(parts)) {
      int64_t own = blocksPerRowTile(part);
      if (i + 1 < parts.size()) {
        Value here = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, place,
                                           i32(before + own));
        auto choice = scf::IfOp::create(b, loc, here, /*withElseRegion=*/true);
        b.setInsertionPoint(choice.thenYield());
        take(part, b, buffers, sizes, ownBlock(b, loc, tile, place, before, own));
        b.setInsertionPoint(choice.elseYield());
      } else {
        take(part, b, buffers, sizes, ownBlock(b, loc, tile, place, before, own));
      }
      before += own;
    }
    return success();
  }

  /// The index that the block would have in a launch of the part alone.
  static Value ownBlock(OpBuilder &b, Location loc, Value tile, Value place, int64_t before,
                        int64_t own) {
    auto i32 = [&](int64_t value) -> Value {
      return arith::ConstantIntOp::create(b, loc, value, 32);
    };
    Value first = arith::MulIOp::create(b, loc, tile, i32(own));
    return arith::AddIOp::create(b, loc, first,
                                 Value(arith::SubIOp::create(b, loc, place, i32(before))));
  }

  /// Writes what `part` does as block `block`; its buffers are the next of `buffers`.
  static void take(func::FuncOp part, OpBuilder &b, ValueRange &buffers, ValueRange sizes,
                   Value block) {
    Block &body = part.getBody().front();
    unsigned count = body.getNumArguments() - unsigned(sizes.size());
    IRMapping map;
    map.map(body.getArguments().take_front(count), buffers.take_front(count));
    map.map(body.getArguments().drop_front(count), sizes);
    buffers = buffers.drop_front(count);
    for (Operation &op : body.without_terminator()) {
      if (isa<NVVM::BlockIdXOp>(op))
        map.map(op.getResult(0), block);
      else
        b.clone(op, map)->walk([&](NVVM::BlockIdXOp id) { id.replaceAllUsesWith(block); });
    }
  }
};

} // namespace
} // namespace otodus
