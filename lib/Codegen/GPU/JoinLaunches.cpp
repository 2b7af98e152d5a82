//===- JoinLaunches.cpp - Row kernels side by side in one launch -----------===//
//
// With few rows a product has few blocks, and a launch costs as much as its work. Products that do
// not need each other then share a launch:
//
//   %v = mega.group "v" … {mega.kernels = [@k1_v_r1, @k1_v_r4, @k1_v_r128]}
//   %r = mega.group "r" … {mega.kernels = [@k2_r_r1, @k2_r_r4, @k2_r_r128]}
//   ==>
//   %v = mega.group "v" … {mega.kernels = [@k1_v_r128]}
//   %r = mega.group "r" … {mega.kernels = [@k2_r_r128],
//                          mega.joint = {kernels = [@k1_v_r_r1, @k1_v_r_r4], most_rows = 8}}
//   func @k1_v_r_r1(…) {mega.parts = [@k1_v_r1, @k2_r_r1], …}
//
// The function gets its body when its parts are at the NVVM stage (JoinKernels.cpp).
//
//===----------------------------------------------------------------------===//

#include "ProductTile.h"

#include "otodus/Codegen/GPU/Passes.h"

#include "mega/IR/MegaOps.h"
#include "otodus/Formats/Artefact.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/SymbolTable.h"

#include "llvm/ADT/SetVector.h"

namespace otodus {
#define GEN_PASS_DEF_JOINLAUNCHES
#include "otodus/Codegen/GPU/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

/// Rows of a call up to which a joint launch serves: two tiles of the largest that is joined. Beyond,
/// every product fills the chip by itself.
constexpr int64_t kMostRows = gpu::kDotRows;

/// Blocks of a row kernel beside one another on one row tile; 0 if its grid has another form.
int64_t blocksPerRowTile(func::FuncOp kernel, int64_t rowTile) {
  int64_t blocks = 1;
  for (auto [i, extent] : llvm::enumerate(
           kernel->getAttrOfType<ArrayAttr>("mega.grid").getAsRange<DenseI64ArrayAttr>())) {
    auto symbol = formats::Symbol(extent[0]);
    if (i == 0) {
      if (symbol != formats::Symbol::Rows || extent[1] != 1 || extent[2] != rowTile)
        return 0;
    } else {
      if (symbol != formats::Symbol::One)
        return 0;
      blocks *= extent[1];
    }
  }
  return blocks;
}

struct JoinLaunches : impl::JoinLaunchesBase<JoinLaunches> {
  using JoinLaunchesBase::JoinLaunchesBase;

  void runOnOperation() override {
    symbols.emplace(getOperation());
    for (auto function : llvm::to_vector(getOperation().getOps<func::FuncOp>()))
      if (!function->hasAttr("mega.grid") && !function.isExternal())
        for (Block &block : function)
          visit(block);
  }

private:
  struct Kernel {
    int64_t rowTile, threads;
    func::FuncOp function;
  };

  /// The kernels of a group that may stand beside others; none if it is not a row kernel of a
  /// product.
  SmallVector<Kernel> kernelsOf(mega::GroupOp group) {
    SmallVector<Kernel> kernels;
    auto names = group->getAttrOfType<ArrayAttr>("mega.kernels");
    if (!names || group.getBody(0)->getOps<mega::LinearOp>().empty())
      return kernels;
    for (auto name : names.getAsRange<FlatSymbolRefAttr>()) {
      auto function = symbols->lookup<func::FuncOp>(name.getValue());
      if (!function || !function->hasAttr("mega.row_kernel"))
        continue;
      auto schedule = function->getAttrOfType<mega::ScheduleAttr>("mega.schedule");
      int64_t rowTile = function->getAttrOfType<IntegerAttr>("mega.row_tile").getInt();
      if (schedule && schedule.getThreads() && rowTile <= gpu::kDotRows &&
          blocksPerRowTile(function, rowTile))
        kernels.push_back({rowTile, *schedule.getThreads(), function});
    }
    return kernels;
  }

  void visit(Block &block) {
    SmallVector<mega::GroupOp> set;
    auto close = [&] {
      if (set.size() > 1)
        join(set);
      set.clear();
    };
    for (auto group : llvm::to_vector(block.getOps<mega::GroupOp>())) {
      if (kernelsOf(group).empty())
        continue;
      if (!set.empty() && !mayRunBeside(set, group))
        close();
      set.push_back(group);
    }
    close();
  }

  /// True if nothing that stands before `group` reads what `set` computes, nor `group` itself: then
  /// all of `set` may as well stand right before it.
  static bool mayRunBeside(ArrayRef<mega::GroupOp> set, mega::GroupOp group) {
    return llvm::all_of(set, [&](mega::GroupOp member) {
      return llvm::all_of(member->getUsers(), [&](Operation *user) {
        return user != group.getOperation() && group->isBeforeInBlock(user);
      });
    });
  }

  void join(SmallVector<mega::GroupOp> set) {
    mega::GroupOp first = set.front(), last = set.back();
    SmallVector<SmallVector<Kernel>> kernels;
    for (mega::GroupOp group : set)
      kernels.push_back(kernelsOf(group));
    SmallVector<Attribute> joint;
    llvm::SmallPtrSet<Operation *, 8> parts;
    Builder b(&getContext());
    for (const Kernel &model : kernels.front()) {
      SmallVector<func::FuncOp> functions;
      for (ArrayRef<Kernel> own : kernels)
        for (const Kernel &kernel : own)
          if (kernel.rowTile == model.rowTile && kernel.threads == model.threads)
            functions.push_back(kernel.function);
      if (functions.size() != set.size())
        continue;
      joint.push_back(FlatSymbolRefAttr::get(declare(set, functions, model)));
      parts.insert(functions.begin(), functions.end());
    }
    if (joint.empty())
      return;
    for (mega::GroupOp group : set)
      if (group != last)
        group->moveBefore(last);
    last->setAttr("mega.joint",
                  b.getDictionaryAttr({b.getNamedAttr("groups", b.getI64IntegerAttr(set.size())),
                                       b.getNamedAttr("kernels", b.getArrayAttr(joint)),
                                       b.getNamedAttr("most_rows", b.getI64IntegerAttr(kMostRows))}));
    for (mega::GroupOp group : set)
      dropParts(group, parts);
    ++numJoined;
    remark::passed(last.getLoc(), remark::RemarkOpts::name("joined").category("otodus-fusion"))
        << "runs beside " << first.getName() << " in one launch of at most "
        << std::to_string(kMostRows) << " rows";
  }

  /// Kernels that calls of more rows have no use for go: they have larger tiles.
  void dropParts(mega::GroupOp group, const llvm::SmallPtrSetImpl<Operation *> &parts) {
    SmallVector<Attribute> kept;
    SmallVector<func::FuncOp> dropped;
    for (auto name : group->getAttrOfType<ArrayAttr>("mega.kernels").getAsRange<FlatSymbolRefAttr>()) {
      auto function = symbols->lookup<func::FuncOp>(name.getValue());
      if (parts.contains(function))
        dropped.push_back(function);
      else
        kept.push_back(name);
    }
    if (kept.empty())
      return;
    group->setAttr("mega.kernels", ArrayAttr::get(&getContext(), kept));
    for (func::FuncOp function : dropped)
      function->setAttr("mega.part", UnitAttr::get(&getContext()));
  }

  func::FuncOp declare(SmallVector<mega::GroupOp> set, SmallVector<func::FuncOp> functions,
                       const Kernel &model) {
    Builder b(&getContext());
    SmallVector<Type> types;
    SmallVector<Attribute> parts;
    int64_t blocks = 0;
    constexpr unsigned kSizes = 3; // batch, length, rows
    for (func::FuncOp function : functions) {
      llvm::append_range(types, function.getArgumentTypes().drop_back(kSizes));
      parts.push_back(FlatSymbolRefAttr::get(function));
      blocks += blocksPerRowTile(function, model.rowTile);
    }
    llvm::append_range(types, functions.front().getArgumentTypes().take_back(kSizes));
    std::string suffix = "_r" + std::to_string(model.rowTile);
    std::string name = functions.front().getName().str();
    name.resize(name.size() - (StringRef(name).ends_with(suffix) ? suffix.size() : 0));
    for (mega::GroupOp group : llvm::drop_begin(set))
      name += "_" + group.getName().str();
    OpBuilder at = OpBuilder::atBlockEnd(getOperation().getBody());
    auto made = func::FuncOp::create(at, set.back().getLoc(), name + suffix,
                                     b.getFunctionType(types, {}));
    made.setPrivate();
    auto extent = [&](formats::Symbol symbol, int64_t factor, int64_t divisor) -> Attribute {
      return b.getDenseI64ArrayAttr({int64_t(symbol), factor, divisor});
    };
    made->setAttr("mega.parts", b.getArrayAttr(parts));
    made->setAttr("mega.row_tile", b.getI64IntegerAttr(model.rowTile));
    made->setAttr("mega.grid", b.getArrayAttr({extent(formats::Symbol::Rows, 1, model.rowTile),
                                               extent(formats::Symbol::One, blocks, 1)}));
    made->setAttr("gpu.threads", b.getI64IntegerAttr(model.threads));
    symbols->insert(made);
    return made;
  }

  std::optional<SymbolTable> symbols;
};

} // namespace
} // namespace otodus
